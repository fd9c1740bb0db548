import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { ConfigurationError } from "../errors/configuration-error.ts";
import { autoscalingWarnings, parseAutoscalingPolicy, resolveNumReplicasAuto } from "./autoscaling-config.ts";
import { parseBackpressureConfig } from "./backpressure-config.ts";
import { exportDeploymentConfig, parseDeploymentConfig } from "./deployment-config.ts";
import { parseDeploymentOptions, withDeploymentOptions } from "./deployment-options.ts";
import { parseGangSchedulingConfig } from "./gang-scheduling-config.ts";
import { jsonProblem } from "./json-value.ts";
import { parseLoggingConfig } from "./logging-config.ts";
import { parseRequestRouterConfig } from "./request-router-config.ts";

/** The problems found, as `path: message`. */
function problems(read: () => unknown): readonly string[] {
  try {
    read();
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    return error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`);
  }
  return [];
}

/** Names that would reach an object's prototype are refused everywhere. */
const json = fc
  .jsonValue()
  .filter((value) => !/"(?:__proto__|constructor|prototype)":/.test(JSON.stringify(value)));
const kwargs = fc.dictionary(fc.stringMatching(/^[a-z]_[A-Za-z_]{0,8}$/), json);
const seconds = fc.double({ min: 0.001, max: 1e6, noNaN: true });
const optionsInput = fc.record(
  {
    numReplicas: fc.option(fc.integer({ min: 0, max: 50 })),
    max_ongoing_requests: fc.oneof(fc.integer({ min: 1, max: 1e9 }), fc.constant("7")),
    maxQueuedRequests: fc.constantFrom(-1, 1, 200),
    backpressureConfig: fc.record({ status_code: fc.constantFrom(429, 503) }, { requiredKeys: [] }),
    userConfig: json,
    healthCheckPeriodS: seconds,
    health_check_timeout_s: seconds,
    autoscaling_config: fc.option(
      fc.record(
        {
          min_replicas: fc.integer({ min: 0, max: 3 }),
          maxReplicas: fc.integer({ min: 3, max: 9 }),
          aggregationFunction: fc.constantFrom("MEAN", "max"),
          policy: fc.constantFrom({}, { policyKwargs: { keepMe: 1 } }),
        },
        { requiredKeys: ["maxReplicas"] },
      ),
    ),
    requestRouterConfig: fc.record({ request_router_kwargs: kwargs }),
    loggingConfig: fc.option(fc.record({ logLevel: fc.constantFrom(10, "ERROR") })),
    rollingUpdatePercentage: fc.double({ min: 0.01, max: 1, noNaN: true }),
  },
  { requiredKeys: [] },
);

describe("parseDeploymentConfig", () => {
  it("reads back what it exports", () => {
    fc.assert(
      fc.property(optionsInput, (input) => {
        const { config } = parseDeploymentConfig(input);
        const again = parseDeploymentConfig(exportDeploymentConfig(config));
        expect(again.config).toEqual(config);
      }),
    );
  });

  it("tells what was given from what was filled in", () => {
    const { config, given, explicitlySet } = parseDeploymentConfig({
      name: "decode",
      num_replicas: "auto",
      autoscaling_config: { maxReplicas: 4 },
    });
    expect([...explicitlySet]).toEqual(expect.arrayContaining(["name", "numReplicas", "autoscalingConfig"]));
    expect(given).toEqual({
      numReplicas: null,
      autoscalingConfig: { minReplicas: 1, maxReplicas: 4, targetOngoingRequests: 2 },
    });
    expect(config.autoscalingConfig?.downscaleDelayS).toBe(600);
  });

  it("names every problem in the user's spelling", () => {
    const input = { numReplicas: -1, autoscalingConfig: { maxReplica: 2, minReplicas: "x" } };
    expect(problems(() => parseDeploymentConfig(input))).toEqual([
      "numReplicas: Input should be greater than or equal to 0",
      expect.stringContaining("autoscalingConfig.minReplicas: Input should be a valid integer"),
      expect.stringContaining('did you mean "maxReplicas"?'),
    ]);
  });

  it("finds actors of one name", () => {
    const actors = [{ name: "a" }, { name: "b" }, { name: "a" }];
    expect(problems(() => parseDeploymentConfig({ deployment_actors: actors }))).toEqual([
      ": deployment_actors must have unique names. Duplicate name(s): ['a']",
    ]);
    expect(problems(() => parseDeploymentConfig({ deployment_actors: [{}, 3, { name: 4 }] }))).toHaveLength(
      3,
    );
  });

  it("refuses what is no JSON", () => {
    expect(problems(() => parseDeploymentConfig({ user_config: { f: () => 1 } }))[0]).toContain(
      "user_config is not JSON-serializable",
    );
  });
});

describe("parseDeploymentOptions", () => {
  it("gives Ray's defaults for nothing", () => {
    const { config, replica, name } = parseDeploymentOptions({});
    expect([config.numReplicas, config.maxOngoingRequests, config.maxQueuedRequests, name]).toEqual([
      1,
      5,
      -1,
      undefined,
    ]);
    expect(replica.rayActorOptions).toEqual({ numCpus: 1 });
  });

  it.each([
    [{ placementGroupStrategy: "PACK" }, "If `placement_group_strategy` is provided"],
    [{ placementGroupBundleLabelSelector: [{ a: "b" }] }, "If `placement_group_bundle_label_selector` is"],
    [{ placementGroupBundles: [] }, "Bundles must be a non-empty list of resource dictionaries."],
    [{ placementGroupBundles: [{ CPU: 1 }, { GPU: 0 }] }, "Bundles cannot be an empty dictionary"],
    [
      { placementGroupBundles: [{ CPU: 1 }], placementGroupBundleLabelSelector: [{}, {}] },
      "Invalid bundle label selector",
    ],
    [
      { placementGroupBundles: [{ CPU: 2 }], rayActorOptions: { numGpus: 1 } },
      "`num_gpus` for the actor is 1, but the bundle only has 0 `GPU` specified.",
    ],
    [
      { placementGroupBundles: [{ CPU: 2 }], rayActorOptions: { resources: { tpu: 3 } } },
      "`tpu` requirement for the actor is 3, but the bundle only has 0 `tpu` specified.",
    ],
    [
      { gangSchedulingConfig: { gangSize: 1 }, maxReplicasPerNode: 2 },
      "Setting max_replicas_per_node is not allowed when gang_scheduling_config is provided.",
    ],
  ])("refuses %j", (input, words) => {
    expect(problems(() => parseDeploymentOptions(input)).join()).toContain(words);
  });

  it("gives one label selector to every bundle", () => {
    const { replica } = parseDeploymentOptions({
      placementGroupBundles: [{ CPU: 1 }, { GPU: 1 }],
      placementGroupBundleLabelSelector: [{ zone: "a" }],
    });
    expect(replica.placementGroupBundleLabelSelector).toEqual([{ zone: "a" }, { zone: "a" }]);
  });

  it("puts later options over earlier ones", () => {
    const first = parseDeploymentOptions({ numReplicas: 3, userConfig: { a: 1 } });
    const second = withDeploymentOptions(first, { num_replicas: null, user_config: null });
    expect([second.config.numReplicas, second.config.userConfig]).toEqual([3, null]);
    expect(second.config.userConfiguredOptionNames).toEqual(["num_replicas", "user_config"]);
    const third = withDeploymentOptions(second, { num_replicas: "auto" });
    expect(third.config.autoscalingConfig?.maxReplicas).toBe(100);
  });

  it("has no rolling_update_percentage later, as Ray", () => {
    const first = parseDeploymentOptions({ rollingUpdatePercentage: 0.5 });
    expect(problems(() => withDeploymentOptions(first, { rolling_update_percentage: 0.5 }))).toHaveLength(1);
  });
});

describe("the parts", () => {
  it("warns of intervals that Ray warns of", () => {
    expect(autoscalingWarnings({ metricsIntervalS: 2, lookBackPeriodS: 1.5 })).toEqual([
      expect.objectContaining({ category: "DeprecationWarning" }),
      expect.objectContaining({
        category: "FutureWarning",
        message: expect.stringContaining("(1.5) must be greater than `metrics_interval_s` (2.0)"),
      }),
    ]);
  });

  it("takes functions where Ray takes callables", () => {
    const policy = () => ({ replicas: 1 });
    expect(parseAutoscalingPolicy({ policy_function: policy }).policyFunction).toBe(policy);
    const router = () => ({});
    expect(parseRequestRouterConfig({ requestRouterClass: router }).requestRouterClass).toBe(router);
  });

  it.each([
    "PowerOfTwoChoicesRequestRouter",
    "ray.serve.experimental.round_robin_router.RoundRobinRouter",
    "ray.serve.llm.request_router:KVAwareRouter",
    "least-loaded",
  ])("knows the router %s", (name) => {
    expect(parseRequestRouterConfig({ request_router_class: name }).requestRouterClass).toBe(name);
  });

  it.each(["my.module:RoundRobinRouter", "ray.serve.llm.request_router:Nope", "ray.x:", "Round Robin"])(
    "does not know the router %s",
    (name) => {
      expect(problems(() => parseRequestRouterConfig({ request_router_class: name }))).toHaveLength(1);
    },
  );

  it("reads an empty router class as the default", () => {
    expect(parseRequestRouterConfig({ request_router_class: "" }).requestRouterClass).toContain("PowerOfTwo");
  });

  it("fills in the small ones", () => {
    expect(parseBackpressureConfig({ retry_after_s: 2 })).toEqual({ statusCode: 503, retryAfterS: 2 });
    expect(parseGangSchedulingConfig({ gang_size: 4 }).gangPlacementStrategy).toBe("PACK");
    const logging = parseLoggingConfig({ log_level: 30, additionalLogStandardAttrs: ["name", "name"] });
    expect([logging.logLevel, logging.additionalLogStandardAttrs]).toEqual(["WARNING", ["name"]]);
    expect(problems(() => parseLoggingConfig({ log_level: true }))[0]).toContain('Got "true" for log_level');
  });

  it("refuses a minimum above what auto allows", () => {
    expect(problems(() => resolveNumReplicasAuto({ min_replicas: 101 }))).toEqual([
      ": max_replicas (100) must be greater than or equal to min_replicas (101)!",
    ]);
  });
});

describe("jsonProblem", () => {
  it("accepts everything that is JSON", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(jsonProblem(value)).toBeUndefined();
      }),
    );
  });

  it("refuses the rest", () => {
    const circular: unknown[] = [];
    circular.push(circular);
    expect(
      [1n, undefined, Symbol.iterator, new Date(0), circular, { a: [() => 1] }].map((each) =>
        jsonProblem(each),
      ),
    ).toEqual([
      "a bigint is not JSON",
      "a undefined is not JSON",
      "a symbol is not JSON",
      "an instance of Date is not JSON",
      "it contains itself",
      "a function is not JSON",
    ]);
  });
});
