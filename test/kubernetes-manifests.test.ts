import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parseAllDocuments, parse } from "yaml";
import { loadConfig } from "../src/builders/load-config.ts";
import { runCommand } from "../src/cli/run-command.ts";
import { LLMConfig } from "../src/config/llm-config.ts";
import type { RayLLMConfigInit } from "../src/config/llm-config-init.ts";

const folder = join(import.meta.dirname, "..", "examples");
const text = (name: string): string => readFileSync(join(folder, name), "utf8");

interface Container {
  readonly command: readonly string[];
  readonly args: readonly string[];
  readonly env?: readonly { readonly name: string; readonly value?: string; readonly valueFrom?: object }[];
  readonly ports: readonly { readonly name: string; readonly containerPort: number }[];
  readonly resources: { readonly limits?: Readonly<Record<string, number>> };
}

interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly data?: Readonly<Record<string, string>>;
  readonly spec: {
    readonly replicas: number;
    readonly serviceName?: string;
    readonly clusterIP?: string;
    readonly selector: Readonly<Record<string, unknown>>;
    readonly template: {
      readonly metadata: { readonly labels: object };
      readonly spec: { readonly containers: readonly [Container] };
    };
  };
}

const manifests = parseAllDocuments(text("kubernetes.yaml")).map((document) => {
  expect(document.errors).toEqual([]);
  return document.toJS() as Manifest;
});

function manifest(kind: string, name: string): Manifest {
  const found = manifests.filter((each) => each.kind === kind && each.metadata.name === name);
  expect(found, `${kind} ${name}`).toHaveLength(1);
  return found[0]!;
}

const serveYaml = manifest("ConfigMap", "serve-llm").data!["serve.yaml"]!;
const serveConfig = parse(serveYaml) as {
  applications: [{ args: Record<"prefill_config" | "decode_config", object> }];
};
const router = manifest("Deployment", "serve-llm").spec.template.spec.containers[0];
const option = (name: string): string =>
  router.args.find((arg) => arg.startsWith(`--${name}=`))!.slice(name.length + 3);

describe("kubernetes.yaml", () => {
  it("holds Ray's YAML as it is", () => {
    expect(serveYaml).toBe(text("serve_pd_config.yaml"));
  });

  describe.each(["prefill", "decode"] as const)("the %s engines", (role) => {
    const { spec } = manifest("StatefulSet", role);
    const [container] = spec.template.spec.containers;
    const config = new LLMConfig(serveConfig.applications[0].args[`${role}_config`] as RayLLMConfigInit);
    const expected = config.toVllmCommand({ role, nodeIp: "10.0.0.1" });

    it("are started as the configuration asks", () => {
      const flags = [...container.command, ...container.args];
      const kvFlag = flags.indexOf("--kv-transfer-config") + 1;
      const withoutKv = (command: readonly string[]): readonly string[] =>
        command.filter((_, index) => index !== command.indexOf("--kv-transfer-config") + 1);
      expect(withoutKv(flags)).toEqual(withoutKv(expected.command));
      const wanted = JSON.parse(
        expected.command[expected.command.indexOf("--kv-transfer-config") + 1]!,
      ) as object;
      // Two engines must not have one id.
      expect(JSON.parse(flags[kvFlag]!)).toEqual({ ...wanted, engine_id: "$(POD_NAME)" });
    });

    it("have the environment and the devices that it needs", () => {
      const env = Object.fromEntries(container.env!.map((each) => [each.name, each.value ?? each.valueFrom]));
      const { CUDA_VISIBLE_DEVICES: devices, ...wanted } = expected.env;
      expect(env).toEqual({
        ...wanted,
        POD_NAME: { fieldRef: { fieldPath: "metadata.name" } },
        VLLM_NIXL_SIDE_CHANNEL_HOST: { fieldRef: { fieldPath: "status.podIP" } },
      });
      expect(container.resources.limits!["nvidia.com/gpu"]).toBe(devices!.split(",").length);
      expect(container.ports.map(({ containerPort }) => String(containerPort))).toEqual([
        expected.command[expected.command.indexOf("--port") + 1],
        expected.env["VLLM_NIXL_SIDE_CHANNEL_PORT"],
      ]);
    });

    it("are all known to the application, by names that exist", () => {
      expect(manifest("Service", spec.serviceName!).spec.clusterIP).toBe("None");
      const names = Array.from(
        { length: spec.replicas },
        (_, index) => `${role}-${index}.${spec.serviceName}`,
      );
      expect(option(role).split(",")).toEqual(names.map((name) => `http://${name}:8000`));
    });
  });

  it.each([
    ["StatefulSet", "prefill"],
    ["StatefulSet", "decode"],
    ["Deployment", "serve-llm"],
  ])("the %s %s and its service select its pods", (kind, name) => {
    const { selector, template } = manifest(kind, name).spec;
    expect(selector["matchLabels"]).toEqual(template.metadata.labels);
    expect(manifest("Service", name).spec.selector).toEqual(template.metadata.labels);
  });

  it("starts the application as the command understands it", () => {
    const options = router.args.map((arg) => arg.split("=")[0]!);
    const known = runCommand().options.map(({ long }) => long);
    expect(options.filter((each) => !known.includes(each))).toEqual([]);
    const { applications, notes } = loadConfig(serveYaml, {
      prefill: option("prefill").split(","),
      decode: option("decode").split(","),
    });
    expect(applications).toHaveLength(1);
    // The application here is the same; what scales pods is Kubernetes'.
    expect(notes.filter((note) => !note.includes("autoscaling_config has no effect"))).toEqual([]);
  });
});
