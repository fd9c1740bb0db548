import { describe, expect, it } from "vitest";

import { ConfigurationError } from "../errors/configuration-error.ts";
import { parseDeploymentOptions } from "./deployment-options.ts";
import { mergeDeploymentOptions } from "./deployment-override.ts";
import { validateRoutePrefix } from "./route-prefix.ts";
import { exportServeDeployConfig, parseServeDeployConfig } from "./serve-deploy-schema.ts";
import { unusedOptionWarnings } from "./unused-options.ts";

const application = {
  name: "pd",
  import_path: "ray.serve.llm:build_pd_openai_app",
  args: { prefill_config: { engine_kwargs: { kv_transfer_config: { kv_role: "kv_both" } } } },
};

function messages(read: () => unknown): readonly string[] {
  try {
    read();
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    return error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`);
  }
  return [];
}

function parseOne(over: object): () => unknown {
  return () => parseServeDeployConfig({ applications: [{ ...application, ...over }] });
}

describe("parseServeDeployConfig", () => {
  it("reads back what it exports, arguments of the builder untouched", () => {
    const config = parseServeDeployConfig({
      http_options: { port: 9000, keep_alive_timeout_s: "5" },
      logging_config: { encoding: "JSON" },
      target_capacity: 50,
      applications: [
        {
          ...application,
          runtime_env: { env_vars: { HF_TOKEN: "x" } },
          deployments: [
            { name: "Prefill:m", num_replicas: "auto", autoscaling_config: { max_replicas: 3 } },
            { name: "Decode:m", ray_actor_options: { num_cpus: 2 }, logging_config: { log_level: 10 } },
          ],
        },
      ],
    });
    expect(parseServeDeployConfig(exportServeDeployConfig(config))).toEqual(config);
    expect(config.applications[0]?.args).toEqual(application.args);
  });

  it.each([
    [{ import_path: "a." }, "An import path may not start or end with a dot."],
    [{ runtime_env: { py_modules: ["./local"] } }, "Expected URI but received path ./local"],
    [
      { runtime_env: { working_dir: "ftp://x/y.zip" } },
      'Invalid protocol for runtime_env URI "ftp://x/y.zip"',
    ],
    [{ route_prefx: "/" }, 'did you mean "route_prefix"?'],
    [{ name: "" }, "Application names must be nonempty."],
    [{ deployments: [{ name: "d", num_replicas: 0 }] }, "Input should be greater than 0"],
    [
      {
        deployments: [
          { name: "d", gang_scheduling_config: { gang_size: 2 }, autoscaling_config: { max_replicas: 5 } },
        ],
      },
      "autoscaling_config.max_replicas (5) must be a multiple of gang_size (2).",
    ],
  ])("refuses %j", (over, words) => {
    expect(messages(parseOne(over)).join()).toContain(words);
  });

  it("refuses two applications at one place", () => {
    const two = { applications: [application, { ...application, name: "other" }] };
    expect(messages(() => parseServeDeployConfig(two))).toEqual([
      'applications: Found duplicate applications for route prefix "/". ' +
        "Please ensure each application's route_prefix is unique.",
    ]);
  });

  it("tells which options are not used", () => {
    const input = {
      applications: [
        {
          ...application,
          deployments: [
            {
              name: "d",
              max_constructor_retry_count: 3,
              ray_actor_options: { max_restarts: 1, num_cpus: 1 },
            },
          ],
        },
      ],
    };
    expect(parseServeDeployConfig(input).applications[0]?.deployments).toEqual([
      { name: "d", rayActorOptions: { numCpus: 1 } },
    ]);
    expect(unusedOptionWarnings(input).map((warning) => warning.message)).toEqual([
      "Deployment 'd': max_constructor_retry_count is not used; set it in code.",
      "Deployment 'd': ray_actor_options.max_restarts is not used; Serve does not allow it.",
    ]);
    expect(unusedOptionWarnings("nonsense")).toEqual([]);
  });
});

describe("mergeDeploymentOptions", () => {
  const code = new Map([
    [
      "A",
      parseDeploymentOptions({
        name: "A",
        autoscaling_config: { max_replicas: 7 },
        ray_actor_options: { num_gpus: 1, runtime_env: { env_vars: { X: "1" } } },
      }),
    ],
  ]);
  const merge = (deployment: Readonly<Record<string, unknown>>, runtime_env: object = {}) => {
    const config = parseServeDeployConfig({
      applications: [{ ...application, runtime_env, deployments: [{ name: "A", ...deployment }] }],
    });
    const [first] = config.applications;
    if (first === undefined) throw new Error("no application");
    const merged = mergeDeploymentOptions(code, first);
    return { warnings: merged.warnings, deployment: merged.deployments.get("A") };
  };

  it("joins environments and keeps the rest of the code", () => {
    const { deployment } = merge({ max_ongoing_requests: 9 }, { env_vars: { X: "0", Y: "2" } });
    expect(deployment?.config).toMatchObject({
      maxOngoingRequests: 9,
      autoscalingConfig: { maxReplicas: 7 },
    });
    expect(deployment?.replica.rayActorOptions).toEqual({
      numCpus: 1,
      numGpus: 1,
      runtimeEnv: { envVars: { X: "1", Y: "2" } },
    });
  });

  it("removes autoscaling with null, and replaces it whole", () => {
    expect(merge({ autoscaling_config: null }).deployment?.config.autoscalingConfig).toBeNull();
    const replaced = merge({ autoscaling_config: { minReplicas: 1 } }).deployment?.config;
    expect(replaced?.autoscalingConfig?.maxReplicas).toBe(1);
  });

  it("warns when the limit of a replica is below its target", () => {
    const { warnings } = merge({ max_ongoing_requests: 1 });
    expect(warnings.map((warning) => warning.message)).toEqual([
      "Autoscaling will never happen, because 'max_ongoing_requests' is less than 'target_ongoing_requests' now.",
    ]);
  });

  it("reads routers and strategies", () => {
    const { deployment } = merge({
      request_router_config: { request_router_class: "round-robin" },
      placement_group_bundles: [{ CPU: 1, GPU: 1 }],
      placement_group_strategy: "SPREAD",
    });
    expect(deployment?.config.requestRouterConfig.requestRouterClass).toBe("round-robin");
    expect(deployment?.replica.placementGroupStrategy).toBe("SPREAD");
    expect(merge({ placement_group_strategy: null }).deployment?.replica.placementGroupStrategy).toBeNull();
  });

  it.each([
    [
      { autoscaling_config: { min_replicas: 3, max_replicas: 2 } },
      "deployments.0.autoscaling_config: max_replicas",
    ],
    [{ request_router_config: { max_backoff_s: 0 } }, "deployments.0.request_router_config.max_backoff_s: "],
    [{ placement_group_strategy: "ROUND" }, "deployments.0.placement_group_strategy: Input should be"],
    [{ max_replicas_per_node: 101 }, "deployments.0: Invalid max_replicas_per_node 101."],
  ])("refuses %j", (deployment, words) => {
    expect(messages(() => merge(deployment)).join()).toContain(words);
  });
});

describe("validateRoutePrefix", () => {
  it("names the option and the words of Ray", () => {
    expect(messages(() => validateRoutePrefix("/a/"))).toEqual([
      "route_prefix: Invalid route_prefix '/a/', may not end with a trailing '/'.",
    ]);
  });
});
