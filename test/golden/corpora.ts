import type { Check } from "./golden-case.ts";

/** How to load the check of each corpus; the name is that of its `.jsonl` file. Add a line for a new one. */
export const corpora: Readonly<Record<string, () => Promise<{ readonly check: Check }>>> = {
  "llm-config": () => import("./corpora/llm-config.ts"),
  "pd-serving-args": () => import("./corpora/pd-serving-args.ts"),
  placement: () => import("./corpora/placement.ts"),
  "lora-ids": () => import("./corpora/lora-ids.ts"),
  "deployment-options": () => import("./corpora/deployment-options.ts"),
  "serve-options": () => import("./corpora/serve-options.ts"),
  autoscaling: () => import("./corpora/autoscaling.ts"),
  "connector-requests": () => import("./corpora/connector-requests.ts"),
  "kv-setup": () => import("./corpora/kv-setup.ts"),
  "ingress-http": () => import("./corpora/ingress-http.ts"),
  "prefix-tree": () => import("./corpora/prefix-tree.ts"),
};
