import { inspect } from "node:util";

import * as fc from "fast-check";
import { describe, expect, it } from "vitest";

import { ConfigurationError } from "../errors/configuration-error.ts";
import { LLMConfig } from "./llm-config.ts";
import type { LLMConfigInit } from "./llm-config-init.ts";

const minimal = { modelLoadingConfig: { modelId: "m" } } as const;

describe("LLMConfig", () => {
  it("takes the seed's configuration in either spelling, to the same effect", () => {
    const camel = new LLMConfig({
      modelLoadingConfig: { modelId: "llama-8b", modelSource: "meta-llama/Llama-3.1-8B-Instruct" },
      acceleratorType: "A100",
      deploymentConfig: { autoscalingConfig: { minReplicas: 1, maxReplicas: 2 } },
      engineKwargs: { tensor_parallel_size: 2, kv_transfer_config: { kv_connector: "NixlConnector" } },
    });
    const snake = new LLMConfig({
      model_loading_config: { model_id: "llama-8b", model_source: "meta-llama/Llama-3.1-8B-Instruct" },
      accelerator_type: "A100",
      deployment_config: { autoscaling_config: { min_replicas: 1, max_replicas: 2 } },
      engine_kwargs: { tensor_parallel_size: 2, kv_transfer_config: { kv_connector: "NixlConnector" } },
    });
    expect(snake.toPython()).toEqual(camel.toPython());
    expect(snake.deploymentConfig).toEqual({ autoscalingConfig: { minReplicas: 1, maxReplicas: 2 } });
    expect(snake.kvTransferConfig?.kvConnector).toBe("NixlConnector");
    expect(snake.dataParallelSize).toBe(1);
  });

  it("comes back from its own export", () => {
    const config = new LLMConfig({
      ...minimal,
      experimentalConfigs: { streamBatchingIntervalMs: 0, custom_key: { a_b: 1 } },
      loraConfig: { dynamicLoraLoadingPath: "s3://b/l/", downloadTimeoutS: null },
      placementGroupConfig: { bundlePerWorker: { GPU: 1 } },
      runtimeEnv: { envVars: { UCX_NET_DEVICES: "mlx5_0:1" }, pip: ["x"] },
    });
    const python = config.toPython();
    expect(new LLMConfig(python as unknown as LLMConfigInit).toPython()).toEqual(python);
    expect(python["experimental_configs"]).toEqual({
      stream_batching_interval_ms: 0,
      custom_key: { a_b: 1 },
    });
    expect(python["runtime_env"]).toEqual({ env_vars: { UCX_NET_DEVICES: "mlx5_0:1" }, pip: ["x"] });
    expect(config.streamBatchingIntervalMs(50)).toBe(0);
  });

  it("copies what it was made from", () => {
    const engineKwargs: Record<string, unknown> = { max_model_len: 4096, hf_overrides: { a: 1 } };
    const config = new LLMConfig({ ...minimal, engineKwargs });
    engineKwargs["max_model_len"] = 1;
    (engineKwargs["hf_overrides"] as Record<string, unknown>)["a"] = 2;
    expect(config.engineKwargs).toEqual({ max_model_len: 4096, hf_overrides: { a: 1 } });
    const copy = new LLMConfig(config);
    copy.updateEngineKwargs({ max_model_len: 8192 });
    expect([config.maxRequestContextLength, copy.maxRequestContextLength]).toEqual([4096, 8192]);
    expect(new LLMConfig(copy).maxRequestContextLength).toBe(8192);
  });

  it("changes nothing when an update is refused, and forgets the engine's configuration when it is not", () => {
    const config = new LLMConfig(minimal);
    const before = config.getEngineConfig();
    expect(() => config.updateEngineKwargs({ tensor_paralel_size: 2 })).toThrow(
      /Unknown engine argument: tensor_paralel_size; did you mean "tensor_parallel_size"\?/,
    );
    expect(config.getEngineConfig()).toBe(before);
    config.updateEngineKwargs({ tensor_parallel_size: 2 });
    expect(config.getEngineConfig().numDevices).toBe(2);
  });

  it("learns from a checkpoint, and its copies know too", () => {
    const config = new LLMConfig(minimal);
    expect([config.inputModality, config.modelArchitecture]).toEqual(["text", "UNSPECIFIED"]);
    config.applyCheckpointInfo({ architectures: ["LlavaForCausalLM"], vision_config: {} });
    for (const each of [config, new LLMConfig(config), config.with({ acceleratorType: "L4" })]) {
      expect([each.inputModality, each.modelArchitecture]).toEqual(["image", "LlavaForCausalLM"]);
    }
  });

  it("normalises endpoints, and says what is wrong with them where they stand", () => {
    const config = new LLMConfig({
      ...minimal,
      endpoints: [
        "http://a:8000/v1/",
        { url: "https://b/base/v1", rank: 1, pairGroup: "g", headers: { "X-A": "1" } },
      ],
    });
    expect(config.endpoints).toEqual([
      { url: "http://a:8000" },
      { url: "https://b/base", rank: 1, pairGroup: "g", headers: { "x-a": "1" } },
    ]);
    const refused = (endpoints: unknown): string => {
      try {
        return `accepted ${JSON.stringify(new LLMConfig({ ...minimal, endpoints } as LLMConfigInit))}`;
      } catch (error) {
        return String(error);
      }
    };
    expect(refused(["ftp://a"])).toContain("endpoints[0].url: URL scheme should be http or https");
    expect(refused(["http://user:hunter2@a"])).toContain("must not carry credentials");
    expect(refused(["http://user:hunter2@a"])).not.toContain("hunter2");
    expect(refused(["http://a?x=1"])).toContain("must not have a query");
    expect(refused(["http://a", "http://a/"])).toContain("endpoints[1]: The same endpoint as number 0");
    expect(refused([{ url: "http://a", ranks: 1 }])).toContain('did you mean "rank"?');
    expect(refused("http://a")).toContain("Input should be a list of URLs");
    expect(refused([{ url: "http://a", headers: { "x-a": "1\r\nx-b: 2" } }])).toContain(
      "HTTP does not allow",
    );
  });

  it("fills in the client's timeouts and bounds them", () => {
    expect(new LLMConfig(minimal).client).toMatchObject({
      connectTimeoutMs: 5_000,
      prefillTimeoutMs: 300_000,
      firstByteTimeoutMs: 300_000,
      interTokenTimeoutMs: 180_000,
      totalTimeoutMs: 3_600_000,
    });
    expect(() => new LLMConfig({ ...minimal, client: { prefillTimeoutMs: 0 } })).toThrow(
      /client\.prefillTimeoutMs: Input should be greater than 0; got 0/,
    );
    expect(() => new LLMConfig({ ...minimal, client: { tls: { cert: "PEM" } } })).toThrow(/cert and key/);
  });

  it("shows no secret when it is written out", () => {
    const config = new LLMConfig({
      ...minimal,
      endpoints: [{ url: "http://a", apiKey: "sk-endpoint", headers: { "x-key": "sk-header" } }],
      client: { apiKey: "sk-client", tls: { cert: "C", key: "sk-private" } },
    });
    expect(JSON.stringify(config) + inspect(config, { depth: 9 })).not.toContain("sk-");
    expect(config.toJSON()["endpoints"]).toEqual([{ url: "http://a" }]);
  });

  it("notes what is accepted without effect", () => {
    const config = new LLMConfig({
      ...minimal,
      experimentalConfigs: { num_ingress_replicas: 2, pd_tokenise_once: true },
      engineKwargs: { kv_transfer_config: { kv_connector: "nixlconnector" } },
    });
    expect(config.notes().join("\n")).toMatch(
      /pd_tokenise_once is not read .*did you mean "pd_tokenize_once"/,
    );
    expect(config.notes().join("\n")).toMatch(/did you mean "NixlConnector"/);
    expect(config.notes()).toHaveLength(3);
  });

  it("notes that nothing scales without something that scales", () => {
    const notesOf = (init: object): readonly string[] => new LLMConfig({ ...minimal, ...init }).notes();
    const scaled = { deploymentConfig: { autoscalingConfig: { minReplicas: 1, maxReplicas: 2 } } };
    expect(notesOf(scaled)).toEqual([
      expect.stringMatching(/autoscaling_config has no effect without a scalingTarget/),
    ]);
    expect(notesOf({ deploymentConfig: { numReplicas: "auto" } })).toEqual([
      expect.stringMatching(/num_replicas "auto" has no effect/),
    ]);
    const scalingTarget = { setReplicas: () => Promise.resolve() };
    expect(notesOf({ ...scaled, scalingTarget })).toEqual([]);
    expect(notesOf({ deploymentConfig: { autoscalingConfig: null, numReplicas: 2 } })).toEqual([]);
  });

  it("says that a flag or interval is not what it should be when it is read", () => {
    const config = new LLMConfig({ ...minimal, experimentalConfigs: { stream_batching_interval_ms: "x" } });
    expect(() => config.streamBatchingIntervalMs(50)).toThrow(ConfigurationError);
    expect(
      new LLMConfig({ ...minimal, experimentalConfigs: { pdTokenizeOnce: "yes" as never } }).pdTokenizeOnce,
    ).toBe(true);
  });

  it("throws nothing but ConfigurationError, whatever JSON comes", () => {
    const fields = [
      "model_loading_config",
      "modelLoadingConfig",
      "engine_kwargs",
      "accelerator_config",
      "placement_group_config",
      "lora_config",
      "deploymentConfig",
      "experimental_configs",
      "callback_config",
      "runtime_env",
      "server_cls",
      "endpoints",
      "client",
      "__proto__",
    ];
    const anyJson = fc.jsonValue();
    const anyInit = fc.oneof(
      anyJson,
      fc.dictionary(fc.constantFrom(...fields), anyJson),
      fc.record({
        modelLoadingConfig: fc.constant({ modelId: "m" }),
        engineKwargs: anyJson,
        placementGroupConfig: anyJson,
      }),
    );
    fc.assert(
      fc.property(anyInit, (init) => {
        try {
          new LLMConfig(init as unknown as LLMConfigInit).toPython();
        } catch (error) {
          if (!(error instanceof ConfigurationError)) throw error;
        }
      }),
      { numRuns: 500 },
    );
  });
});
