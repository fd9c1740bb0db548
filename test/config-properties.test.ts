import * as fc from "fast-check";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";

import { buildPdOpenaiApp } from "../src/builders/build-pd-openai-app.ts";
import { loadConfig } from "../src/builders/load-config.ts";
import { LLMConfig } from "../src/config/llm-config.ts";
import { parsePDServingArgs, pdServingArgsToPython } from "../src/config/pd-serving-args.ts";
import { parseServeConfig } from "../src/config/serve-config.ts";
import {
  parseDPOpenAiServingArgs,
  parseLLMServingArgs,
  servingArgsToPython,
} from "../src/config/serving-args.ts";
import { ConfigurationError } from "../src/errors/configuration-error.ts";
import { yamlText } from "../src/serve/yaml-text.ts";
import { readCorpus } from "./golden/run-corpus.ts";

const polluting = ["__proto__", "constructor", "prototype"];
const payload = '{"polluted":true}';

afterEach(() => {
  expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
});

/** JSON text with keys a schema knows, unknown ones, and those that reach a prototype; read as a client's would be. */
function anyJson(keys: readonly string[]): fc.Arbitrary<unknown> {
  const key = fc.oneof(fc.constantFrom(...keys), fc.constantFrom(...polluting), fc.string({ maxLength: 6 }));
  const { node } = fc.letrec<{ node: string }>((tie) => ({
    node: fc.oneof(
      { maxDepth: 4, withCrossShrink: true },
      fc.jsonValue({ maxDepth: 0 }).map((value) => JSON.stringify(value)),
      fc.constant(payload),
      fc.array(tie("node"), { maxLength: 3 }).map((items) => `[${items.join(",")}]`),
      fc
        .array(fc.tuple(key, tie("node")), { maxLength: 5 })
        .map((pairs) => `{${pairs.map(([name, value]) => `${JSON.stringify(name)}:${value}`).join(",")}}`),
    ),
  }));
  return node.map((text) => JSON.parse(text) as unknown);
}

const llmKeys = [
  "model_loading_config",
  "modelLoadingConfig",
  "model_id",
  "modelId",
  "model_source",
  "engine_kwargs",
  "kv_transfer_config",
  "data_parallel_size",
  "accelerator_type",
  "accelerator_config",
  "placement_group_config",
  "bundles",
  "lora_config",
  "deployment_config",
  "deploymentConfig",
  "num_replicas",
  "autoscaling_config",
  "ray_actor_options",
  "request_router_config",
  "experimental_configs",
  "runtime_env",
  "env_vars",
  "callback_config",
  "server_cls",
  "endpoints",
  "client",
];
const argumentKeys = [
  ...llmKeys,
  "prefill_config",
  "decodeConfig",
  "llm_configs",
  "llm_config",
  "proxy_cls_config",
  "ingress_cls_config",
  "ingress_deployment_config",
  "ingress_extra_kwargs",
];
const serveKeys = [
  "applications",
  "name",
  "route_prefix",
  "import_path",
  "args",
  "deployments",
  "http_options",
  "port",
  "logging_config",
  "runtime_env",
];

/** A configuration that is valid except for a part of it. */
function damaged(keys: readonly string[]): fc.Arbitrary<unknown> {
  return fc
    .tuple(fc.constantFrom(...keys), anyJson(keys))
    .map(([key, value]) => ({ model_loading_config: { model_id: "m" }, [key]: value }));
}

function throwsOnlyTyped(input: fc.Arbitrary<unknown>, parse: (input: never) => unknown): void {
  fc.assert(
    fc.property(input, (value) => {
      try {
        parse(value as never);
      } catch (error) {
        if (!(error instanceof ConfigurationError)) throw error;
      }
      expect(Object.hasOwn(Object.prototype, "polluted")).toBe(false);
    }),
    { numRuns: 400 },
  );
}

describe("no JSON makes the configuration throw anything but its own error", () => {
  it("LLMConfig", () => {
    const input = fc.oneof(anyJson(llmKeys), damaged(llmKeys));
    throwsOnlyTyped(input, (value) => {
      const config = new LLMConfig(value);
      return [config.toPython(), config.toServeArgs(), config.notes()];
    });
    throwsOnlyTyped(input, (value) => new LLMConfig(value).toVllmCommand());
  });

  it("parsePDServingArgs and the other builders' arguments", () => {
    // No string, which would be the path of a file.
    const side = fc.oneof(
      damaged(llmKeys),
      anyJson(llmKeys).filter((value) => typeof value !== "string"),
    );
    const rest = anyJson(argumentKeys);
    const args = fc.tuple(side, side, rest).map(([prefill, decode, more]) => ({
      prefill_config: prefill,
      decode_config: decode,
      ingress_cls_config: more,
    }));
    throwsOnlyTyped(fc.oneof(args, rest), (value) => parsePDServingArgs(value, { readFile }).toRay());
    const llms = fc.tuple(fc.array(side, { maxLength: 2 }), rest);
    throwsOnlyTyped(
      llms.map(([configs, more]) => ({ llm_configs: configs, ingress_deployment_config: more })),
      (value) => parseLLMServingArgs(value, { readFile }).toRay(),
    );
    throwsOnlyTyped(
      side.map((config) => ({ llm_config: config })),
      (value) => parseDPOpenAiServingArgs(value, { readFile }).toRay(),
    );
  });

  it("parseServeConfig", () => {
    const file = anyJson(serveKeys);
    throwsOnlyTyped(file, parseServeConfig);
    const application = fc
      .tuple(fc.constantFrom(...serveKeys), file)
      .map(([key, value]) => ({ import_path: "ray.serve.llm:build_openai_app", [key]: value }));
    throwsOnlyTyped(
      application.map((each) => ({ applications: [each] })),
      parseServeConfig,
    );
    throwsOnlyTyped(fc.string(), parseServeConfig);
  });

  it("names that reach a prototype are refused, at any depth", () => {
    for (const name of polluting) {
      const part = JSON.parse(`{"${name}":${payload}}`) as object;
      const model = { model_loading_config: { model_id: "m" } };
      for (const key of ["engine_kwargs", "deployment_config", "experimental_configs", "runtime_env"]) {
        expect(() => new LLMConfig({ ...model, [key]: part }), `${key}.${name}`).toThrow(ConfigurationError);
      }
    }
  });
});

function readFile(path: string): string {
  throw new ConfigurationError("LLMConfig", [{ path: [], type: "value_error", message: `no file ${path}` }]);
}

describe("what is exported reads back as what it was", () => {
  it("for every configuration that Ray was asked to read, and that is valid", () => {
    let count = 0;
    for (const { id, input } of readCorpus(join(import.meta.dirname, "golden", "llm-config.jsonl"))) {
      const config = parsed(() => new LLMConfig(input as never));
      if (config === undefined) continue;
      const exported = config.toServeArgs();
      const again = new LLMConfig(exported as never);
      expect(again.toPython(), id).toEqual(config.toPython());
      expect(again.toServeArgs(), id).toEqual(exported);
      count += 1;
    }
    expect(count).toBeGreaterThan(200);
  });

  it("for the arguments of every builder", () => {
    let count = 0;
    for (const { id, input } of readCorpus(join(import.meta.dirname, "golden", "deployment-options.jsonl"))) {
      const { app, args } = input as { readonly app?: string; readonly args?: unknown };
      const read = parsed(() => argumentsOf(app, args));
      if (read === undefined) continue;
      const again = argumentsOf(app, read.ray);
      expect(again?.python, id).toEqual(read.python);
      expect(again?.ray, id).toEqual(read.ray);
      count += 1;
    }
    expect(count).toBeGreaterThan(25);
  });

  it("for any valid configuration, also through YAML", () => {
    fc.assert(
      fc.property(validConfigs(), (init) => {
        const one = new LLMConfig(init);
        const exported = one.toServeArgs();
        expect(JSON.stringify(exported)).not.toContain("hunter2");
        expect(new LLMConfig(exported as never).toPython()).toEqual(one.toPython());
        expect(LLMConfig.parseYaml(yamlText(exported)).toPython()).toEqual(one.toPython());
      }),
      { numRuns: 300 },
    );
  });

  it("for words that mean something to YAML", () => {
    const userConfig = { "<<": "", on: "no", "~": null, "=": "1_000", "1:30": "0o7", y: ".5" };
    const init = { modelLoadingConfig: { modelId: "m" }, deploymentConfig: { userConfig } };
    const one = new LLMConfig(init);
    expect(LLMConfig.parseYaml(yamlText(one.toServeArgs())).toPython()).toEqual(one.toPython());
  });

  it("for any prefill/decode application, as an object and as YAML", () => {
    fc.assert(
      fc.property(applications(), ({ prefill, decode, args, options }) => {
        const app = buildPdOpenaiApp({ prefillConfig: prefill, decodeConfig: decode, ...args });
        const document = app.toServeConfig(options);
        const text = app.toServeConfig({ ...options, format: "yaml" });
        expect(text).not.toMatch(/hunter2|http:/);
        for (const source of [document as unknown as Readonly<Record<string, unknown>>, text]) {
          const [loaded] = loadConfig(source, {
            prefill: ["http://p:1"],
            decode: ["http://d:1"],
          }).applications;
          const { name, routePrefix } = loaded!;
          expect(loaded!.app.toServeConfig({ ...options, name, routePrefix })).toEqual(document);
        }
      }),
      { numRuns: 150 },
    );
  });
});

/** Configurations that are valid, with values that YAML, Python and JSON read differently. */
function validConfigs() {
  const text = fc.string({ minLength: 1, maxLength: 12 }).filter((word) => word.trim() !== "");
  const plainJson = fc
    .dictionary(
      fc.string({ minLength: 1 }).filter((key) => !polluting.includes(key)),
      fc.oneof(fc.string(), fc.integer(), fc.boolean(), fc.constant(null)),
    )
    .map((value) => JSON.parse(JSON.stringify(value)) as Record<string, unknown>);
  return fc.record(
    {
      modelLoadingConfig: fc.record(
        { modelId: text, modelSource: text.map((name) => `org/${name}`), tokenizerSource: text },
        { requiredKeys: ["modelId"] },
      ),
      acceleratorType: fc.constantFrom("A100", "L4", "A10"),
      engineKwargs: fc.record(
        { tensor_parallel_size: fc.integer({ min: 1, max: 8 }), hf_overrides: plainJson },
        { requiredKeys: [] },
      ),
      deploymentConfig: fc.record(
        {
          maxOngoingRequests: fc.integer({ min: 1 }),
          healthCheckPeriodS: fc.integer({ min: 1 }),
          userConfig: plainJson,
        },
        { requiredKeys: [] },
      ),
      runtimeEnv: fc.record({
        envVars: fc.dictionary(fc.constantFrom("A", "yes", "UCX_TLS"), fc.string()),
      }),
      experimentalConfigs: fc.record(
        { streamBatchingIntervalMs: fc.nat(), NIXL_SIDE_CHANNEL_PORT_BASE: fc.nat() },
        { requiredKeys: [] },
      ),
      logEngineMetrics: fc.boolean(),
      client: fc.constant({ apiKey: "hunter2" }),
    },
    { requiredKeys: ["modelLoadingConfig"] },
  );
}

/** Two sides of one model, with all that the builder takes. */
function applications() {
  const number = fc.integer({ min: 1, max: 64 });
  const side = validConfigs().map((config) => ({
    ...config,
    engineKwargs: {
      ...config.engineKwargs,
      kv_transfer_config: { kv_connector: "NixlConnector", kv_role: "kv_both" },
    },
  }));
  return fc
    .record({
      prefill: side,
      decode: side,
      args: fc.record(
        {
          ingressDeploymentConfig: fc.record({ maxOngoingRequests: number }),
          proxyDeploymentConfig: fc.record({ maxOngoingRequests: number, numReplicas: number }),
          ingressClsConfig: fc.record({ ingressExtraKwargs: fc.record({ max_body_bytes: number }) }),
        },
        { requiredKeys: [] },
      ),
      options: fc.record({ name: fc.constantFrom("default", "no", "llm-app") }),
    })
    .map(({ prefill, decode, ...rest }) => ({
      ...rest,
      prefill: { ...prefill, endpoints: ["http://p:1"] },
      decode: {
        ...decode,
        modelLoadingConfig: prefill.modelLoadingConfig,
        endpoints: ["http://d:1"],
      },
    }));
}

function parsed<Value>(read: () => Value): Value | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof ConfigurationError) return undefined;
    throw error;
  }
}

function argumentsOf(app: string | undefined, args: unknown): { python: unknown; ray: unknown } | undefined {
  if (app === "build_pd_openai_app") {
    const read = parsePDServingArgs(args as never);
    return { python: pdServingArgsToPython(read), ray: read.toRay() };
  }
  if (app === "build_openai_app") {
    const read = parseLLMServingArgs(args as never);
    return { python: servingArgsToPython(read), ray: read.toRay() };
  }
  if (app !== "build_dp_openai_app") return undefined;
  const read = parseDPOpenAiServingArgs(args as never);
  return { python: servingArgsToPython(read), ray: read.toRay() };
}
