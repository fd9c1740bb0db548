import { describe, expect, it } from "vitest";

import { parseAutoscalingConfig } from "../config/autoscaling-config.ts";
import { decideApplicationReplicas } from "./application-policy.ts";

const config = parseAutoscalingConfig({
  minReplicas: 0,
  maxReplicas: 20,
  upscaleDelayS: 0,
  downscaleDelayS: 0,
});

describe("decideApplicationReplicas", () => {
  it("decides together what each deployment gets alone", () => {
    const inputs = new Map([
      ["prefill", { config, currentReplicas: 1, targetReplicas: 1, totalRequests: 8, nowS: 0 }],
      ["decode", { config, currentReplicas: 2, targetReplicas: 2, totalRequests: 8, nowS: 0, gangSize: 4 }],
      ["idle", { config, currentReplicas: 1, targetReplicas: 1, totalRequests: 0, nowS: 0 }],
    ]);
    const { decisions, states } = decideApplicationReplicas(inputs, (contexts) => {
      const prefill = (contexts.get("prefill")?.totalRequests ?? 0) / 4;
      return {
        replicas: new Map([
          ["prefill", prefill],
          ["decode", prefill * 3],
        ]),
        state: new Map([["idle", { seen: true }]]),
      };
    });
    expect([...decisions].map(([id, decision]) => [id, decision.replicas])).toEqual([
      ["prefill", 2],
      ["decode", 8],
    ]);
    expect(states.get("idle")?.custom).toEqual({ seen: true });
  });

  it("starts at once when nothing runs", () => {
    const inputs = new Map([
      ["a", { config, currentReplicas: 0, targetReplicas: 0, totalRequests: 1, nowS: 0 }],
    ]);
    const { decisions } = decideApplicationReplicas(inputs, () => ({ replicas: new Map([["a", 0]]) }));
    expect(decisions.get("a")?.replicas).toBe(1);
  });

  it("refuses a deployment nobody knows", () => {
    expect(() => decideApplicationReplicas(new Map(), () => ({ replicas: new Map([["ghost", 1]]) }))).toThrow(
      "Deployment ghost is not registered",
    );
  });
});
