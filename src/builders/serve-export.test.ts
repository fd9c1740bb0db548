import { describe, expect, it } from "vitest";

import { LLMConfig } from "../config/llm-config.ts";
import type { LLMConfigInit } from "../config/llm-config-init.ts";
import { parseYaml } from "../config/read-yaml.ts";
import { OpenAiIngress } from "../ingress/openai-ingress.ts";
import { LLMServer } from "../llm/llm-server.ts";
import { deployment } from "../serve/deployment.ts";
import { buildDpOpenaiApp } from "./build-dp-openai-app.ts";
import { buildLlmDeployment } from "./build-llm-deployment.ts";
import { buildOpenaiApp } from "./build-openai-app.ts";
import { buildPdOpenaiApp } from "./build-pd-openai-app.ts";
import { exportConfig, loadConfig } from "./load-config.ts";
import { seedYaml } from "./seed-yaml.fixture.ts";

const modelLoadingConfig = { modelId: "m" };

describe("toServeConfig", () => {
  it("gives the file back that an application was loaded from, text and all", () => {
    const [application] = loadConfig(seedYaml, {
      prefill: ["http://p:1"],
      decode: ["http://d:1"],
    }).applications;
    const yaml = application!.app.toServeConfig({ format: "yaml" });
    expect(yaml).toBe(seedYaml);
    expect(application!.app.toServeConfig()).toEqual(parseYaml(seedYaml, "seed"));
    expect(loadConfig(yaml).applications[0]!.app.toServeConfig({ format: "yaml" })).toBe(yaml);
  });

  it("gives the same from the Python API's way of building it", () => {
    const { prefill_config, decode_config } = (
      parseYaml(seedYaml, "seed") as { applications: readonly { args: Readonly<Record<string, never>> }[] }
    ).applications[0]!.args;
    const app = buildPdOpenaiApp({
      prefillConfig: new LLMConfig(prefill_config as never).with({ endpoints: ["http://p:1"] }),
      decodeConfig: new LLMConfig(decode_config as never).with({ client: { apiKey: "hunter2" } }),
    });
    expect(app.toServeConfig({ name: "llm_pd_app", format: "yaml" })).toBe(seedYaml);
  });

  it("turns camelCase and our names into Ray's, and leaves out what only this library has", () => {
    const app = buildOpenaiApp({
      llmConfigs: [
        {
          modelLoadingConfig: { modelId: "m", modelSource: { bucketUri: "s3://b/m", extraFiles: [] } },
          serverCls: LLMServer,
          loraConfig: { dynamicLoraLoadingPath: "s3://b/lora", maxNumAdaptersPerReplica: 4 },
          placementGroupConfig: { bundlePerWorker: { GPU: 1 } },
          runtimeEnv: { envVars: { keepMe: "1" } },
          experimentalConfigs: { streamBatchingIntervalMs: 5 },
          deploymentConfig: {
            numReplicas: 2,
            rayActorOptions: { numCpus: 2 },
            requestRouterConfig: {
              requestRouterClass: "prefix-cache-affinity",
              requestRouterKwargs: { imbalanced_threshold: 5 },
            },
          },
          callbackConfig: { callbackKwargs: { keepMe: true } },
          endpoints: ["http://e:1"],
          client: { apiKey: "hunter2" },
        },
      ],
      ingressClsConfig: { ingressCls: OpenAiIngress, ingressExtraKwargs: { maxBodyBytes: 5, other: 1 } },
      ingressDeploymentConfig: { maxOngoingRequests: 5 },
    });
    const [application] = app.toServeConfig().applications;
    expect(application).toEqual({
      name: "default",
      route_prefix: "/",
      import_path: "ray.serve.llm:build_openai_app",
      args: {
        llm_configs: [
          {
            model_loading_config: {
              model_id: "m",
              model_source: { bucket_uri: "s3://b/m", extra_files: [] },
            },
            server_cls: "ray.serve.llm.deployment:LLMServer",
            lora_config: { dynamic_lora_loading_path: "s3://b/lora", max_num_adapters_per_replica: 4 },
            placement_group_config: { bundle_per_worker: { GPU: 1 } },
            runtime_env: { env_vars: { keepMe: "1" } },
            experimental_configs: { stream_batching_interval_ms: 5 },
            deployment_config: {
              num_replicas: 2,
              ray_actor_options: { num_cpus: 2 },
              request_router_config: {
                request_router_class: "ray.serve.llm.request_router:PrefixCacheAffinityRouter",
                request_router_kwargs: { imbalanced_threshold: 5 },
              },
            },
            callback_config: { callback_kwargs: { keepMe: true } },
          },
        ],
        ingress_cls_config: {
          ingress_cls: "ray.serve.llm.ingress:OpenAiIngress",
          ingress_extra_kwargs: { other: 1 },
        },
        ingress_deployment_config: { max_ongoing_requests: 5 },
      },
    });
  });

  it("keeps what a file says beside its applications", () => {
    const file = {
      proxy_location: "HeadOnly",
      http_options: { port: 9000, request_timeout_s: 5 },
      applications: [
        {
          name: "one",
          import_path: "ray.serve.llm:build_dp_openai_app",
          runtime_env: { env_vars: { A: "1" } },
          args: {
            llm_config: { model_loading_config: { model_id: "m" }, engine_kwargs: { data_parallel_size: 2 } },
          },
          deployments: [{ name: "DPServer:m", max_ongoing_requests: 7 }],
        },
      ],
    };
    expect(exportConfig(file)).toEqual(file);
    const ours = structuredClone(file);
    ours.applications[0]!.import_path = "serve-llm:buildDpOpenaiApp";
    Object.assign(ours.applications[0]!.args.llm_config, { endpoints: ["http://a:1", "http://b:1"] });
    expect(exportConfig(ours)).toEqual(file);
  });

  it("says what can't be exported", () => {
    class OwnServer extends LLMServer {}
    const refuse = (config: Partial<LLMConfigInit>, pattern: RegExp): void => {
      const app = buildOpenaiApp({ llmConfigs: [{ modelLoadingConfig, ...config }] });
      expect(() => app.toServeConfig()).toThrow(pattern);
    };
    refuse({ serverCls: OwnServer }, /server_cls: Ray imports classes by a path.*got OwnServer/);
    const router = (requestRouterClass: string) => ({
      deploymentConfig: { requestRouterConfig: { requestRouterClass } },
    });
    refuse(router("kv-pressure"), /request_router_class: Ray has no such request router/);
    const ingress = deployment(OpenAiIngress).bind({
      llmDeployments: [buildLlmDeployment({ modelLoadingConfig })],
    });
    expect(() => ingress.toServeConfig()).toThrow(
      /put together by hand can't be exported.*buildPdOpenaiApp, buildOpenaiApp or buildDpOpenaiApp/,
    );
    expect(() => buildLlmDeployment({ modelLoadingConfig }).toRayService({ name: "x" })).toThrow(/by hand/);
  });
});

describe("toRayService", () => {
  it("holds the Serve config, and pods for the engines of each pool", () => {
    const [application] = loadConfig(seedYaml).applications;
    const manifest = application!.app.toRayService({ name: "pd", namespace: "llm", image: "ray:1" });
    expect(manifest).toMatchObject({
      apiVersion: "ray.io/v1",
      kind: "RayService",
      metadata: { name: "pd", namespace: "llm" },
      spec: {
        serveConfigV2: seedYaml,
        rayClusterConfig: {
          rayVersion: "2.58.0",
          enableInTreeAutoscaling: true,
          headGroupSpec: { template: { spec: { containers: [{ image: "ray:1" }] } } },
          workerGroupSpecs: [
            {
              groupName: "prefill",
              replicas: 1,
              minReplicas: 1,
              maxReplicas: 2,
              template: {
                spec: { containers: [{ image: "ray:1", resources: { limits: { "nvidia.com/gpu": "2" } } }] },
              },
            },
            {
              groupName: "decode",
              replicas: 2,
              minReplicas: 2,
              maxReplicas: 8,
              template: { spec: { containers: [{ resources: { limits: { "nvidia.com/gpu": "1" } } }] } },
            },
          ],
        },
      },
    });
    const yaml = application!.app.toRayService({
      name: "pd",
      namespace: "llm",
      image: "ray:1",
      format: "yaml",
    });
    expect(parseYaml(yaml, "RayService")).toEqual(manifest);
  });

  it("has one pod for each data-parallel rank, and takes other pods", () => {
    const app = buildDpOpenaiApp({
      llmConfig: { modelLoadingConfig: { modelId: "org/M.1" }, engineKwargs: { data_parallel_size: 4 } },
    });
    expect(app.toRayService({ name: "dp" }).spec.rayClusterConfig["workerGroupSpecs"]).toMatchObject([
      { groupName: "org-m-1", replicas: 4, maxReplicas: 4 },
    ]);
    const workerGroups = [{ groupName: "big", accelerators: 8, minReplicas: 1, maxReplicas: 1 }];
    const own = app.toRayService({ name: "dp", workerGroups }).spec.rayClusterConfig;
    expect(own).not.toHaveProperty("enableInTreeAutoscaling");
    expect(own["workerGroupSpecs"]).toHaveLength(1);
  });

  it("refuses what Kubernetes would", () => {
    const app = buildOpenaiApp({ llmConfigs: [{ modelLoadingConfig }] });
    expect(() => app.toRayService({ name: "Not_A_Name" })).toThrow(/name: Not a name that Kubernetes takes/);
    const group = { groupName: "g", accelerators: 1, minReplicas: 2, maxReplicas: 1 };
    expect(() => app.toRayService({ name: "x", workerGroups: [group, group] })).toThrow(
      /workerGroups\[0\]\.maxReplicas|workerGroups\.0\.maxReplicas/,
    );
  });
});
