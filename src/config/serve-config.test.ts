import { describe, expect, it } from "vitest";

import { ConfigurationError } from "../errors/configuration-error.ts";
import { readEnvironment } from "./environment.ts";
import { LLMConfig } from "./llm-config.ts";
import { parsePDServingArgs, type PDServingArgsInit } from "./pd-serving-args.ts";
import { parseServeConfig } from "./serve-config.ts";

const yaml = `
applications:
  - name: llm_pd_app
    route_prefix: /
    import_path: ray.serve.llm:build_pd_openai_app
    args:
      prefill_config:
        model_loading_config: {model_id: llama-8b, model_source: meta-llama/Llama-3.1-8B-Instruct}
        accelerator_type: A100
        deployment_config: {autoscaling_config: {min_replicas: 1, max_replicas: 2}}
        engine_kwargs:
          tensor_parallel_size: 2
          kv_transfer_config: {kv_connector: NixlConnector, kv_role: kv_both}
      decode_config:
        model_loading_config: {model_id: llama-8b, model_source: meta-llama/Llama-3.1-8B-Instruct}
        accelerator_type: A100
        deployment_config: {autoscaling_config: {min_replicas: 2, max_replicas: 8}}
        engine_kwargs:
          gpu_memory_utilization: 0.95
          kv_transfer_config: {kv_connector: NixlConnector, kv_role: kv_both}
`;

describe("parseServeConfig", () => {
  it("loads the prefill/decode file as Ray's users write it", () => {
    const [application] = parseServeConfig(yaml).applications;
    expect(application).toMatchObject({ name: "llm_pd_app", routePrefix: "/", builder: "buildPdOpenaiApp" });
    const { prefillConfig, decodeConfig } = parsePDServingArgs(
      application?.args as unknown as PDServingArgsInit,
    );
    expect(prefillConfig.modelId).toBe("llama-8b");
    expect(prefillConfig.kvTransferConfig).toEqual({
      kvConnector: "NixlConnector",
      kvRole: "kv_both",
      extraConfig: {},
    });
    expect(decodeConfig.deploymentConfig.autoscalingConfig).toEqual({ minReplicas: 2, maxReplicas: 8 });
    expect(decodeConfig.experimentalConfigs).toEqual({ NIXL_SIDE_CHANNEL_PORT_BASE: 22_000 });
  });

  it("takes this library's own builder names, and leaves other paths to the caller", () => {
    const builder = (importPath: string): unknown =>
      parseServeConfig({ applications: [{ importPath }] }).applications[0]?.builder;
    expect(builder("serve-llm:buildOpenaiApp")).toBe("buildOpenaiApp");
    expect(builder("my_app:app")).toBeUndefined();
    expect(() => builder("ray.serve.llm:build_openai_ap")).toThrow(/did you mean "build_openai_app"/);
  });

  it("refuses route prefixes and broken YAML with the place", () => {
    expect(() => parseServeConfig(yaml.replace("route_prefix: /", "route_prefix: llm"))).toThrow(
      /applications\[0\]\.route_prefix: Invalid route_prefix 'llm', must start with a forward slash/,
    );
    expect(() => parseServeConfig("applications: [")).toThrow(/Not valid YAML \(line 1/);
    expect(() => parseServeConfig("[]")).toThrow(ConfigurationError);
    expect(() => parseServeConfig("")).toThrow(ConfigurationError);
  });
});

describe("parsePDServingArgs", () => {
  const side = {
    modelLoadingConfig: { modelId: "m" },
    engineKwargs: { kv_transfer_config: { kv_connector: "NixlConnector" } },
  };

  it("refuses a side channel port set by hand, in either spelling", () => {
    for (const runtimeEnv of [
      { envVars: { VLLM_NIXL_SIDE_CHANNEL_PORT: "5600" } },
      { env_vars: { VLLM_NIXL_SIDE_CHANNEL_PORT: "5600" } },
    ]) {
      expect(() =>
        parsePDServingArgs({ prefillConfig: { ...side, runtimeEnv }, decodeConfig: side }),
      ).toThrow(/VLLM_NIXL_SIDE_CHANNEL_PORT is managed/);
    }
  });

  it("copies LLMConfig objects", () => {
    const config = new LLMConfig({ ...side, endpoints: ["http://a:8000/v1/"] });
    const { decodeConfig } = parsePDServingArgs({ prefill_config: config, decode_config: config });
    expect(config.experimentalConfigs).toEqual({});
    expect(decodeConfig).not.toBe(config);
    expect(decodeConfig.endpoints).toEqual([{ url: "http://a:8000" }]);
  });
});

describe("readEnvironment", () => {
  it("has Ray's defaults", () => {
    expect(readEnvironment({})).toMatchObject({
      routerHttpTimeoutS: 600,
      sessionIdHeader: "x-session-id",
      deploymentDefaults: { maxOngoingRequests: 1e9, healthCheckPeriodS: 10 },
    });
  });

  it("names every variable that is wrong", () => {
    const variables = {
      RAY_SERVE_LLM_ROUTER_HTTP_TIMEOUT: "soon",
      RAYLLM_MODEL_RESPONSE_BATCH_TIMEOUT_MS: "-1",
    };
    expect(() => readEnvironment(variables)).toThrow(
      /RAY_SERVE_LLM_ROUTER_HTTP_TIMEOUT: .*\n.*RAYLLM_MODEL_RESPONSE_BATCH_TIMEOUT_MS: Should be a number of at least 0/,
    );
  });
});
