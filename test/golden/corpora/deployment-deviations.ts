import { accepted, type Outcome, refused, same } from "../compare.ts";
import { type Deviation, forDefect } from "../deviations.ts";
import type { GoldenCase } from "../golden-case.ts";
import type { Plan } from "./deployment-options.ts";

type Json = Readonly<Record<string, unknown>>;
type Subject = Outcome<Plan>;

/** Where this library's deployments differ from Ray's on purpose. */
export const deploymentDeviations: readonly Deviation<Subject>[] = [
  forDefect(
    /raw (Python )?TypeError|slips through|bool is accepted/,
    "Every refusal is a ConfigurationError.",
    (subject, kase) => {
      // PDProxyServer's options depend on nothing, so one configuration too few is no error.
      if ((kase.input as Json)["class"] === "PDProxyServer") {
        same(accepted(subject).options, { max_ongoing_requests: 1e9 });
        return;
      }
      refused(subject, /is not valid/);
    },
  ),
  forDefect(
    /autoscaling_config keeps|dict and object forms/,
    "Without a target, Serve's default of 2 holds.",
    (subject) => {
      const targets = accepted(subject).deployments.flatMap(({ name, deployment_config: config }) => {
        const autoscaling = config["autoscaling_config"] as Json | null;
        return name.includes("Ingress") ? [] : [autoscaling?.["target_ongoing_requests"]];
      });
      same(new Set(targets).size, 1);
      same(targets[0], 2);
    },
  ),
  forDefect(/cannot switch the prefix off/, "An empty prefix is no prefix.", (subject) => {
    const [deployment] = accepted(subject).deployments;
    same(deployment?.name.includes("LLMServer:"), false);
  }),
  forDefect(
    /max_replicas_per_node can never be used/,
    "Refused as in Ray: bundles are always there.",
    (subject) =>
      refused(subject, /max_replicas_per_node is not allowed when placement_group_bundles is provided/),
  ),
  forDefect(
    /fails at start: it requires gang|then cannot start/,
    "One rank needs no gang: a plain server.",
    (subject) => {
      const [server] = accepted(subject).deployments;
      same(server?.deployment_config["gang_scheduling_config"], null);
      same(server?.name.startsWith("DPServer:"), true);
    },
  ),
  forDefect(/env_vars of ray_actor_options are lost/, "Variables of both are kept.", (subject) => {
    const [server] = accepted(subject).deployments;
    const actor = server?.replica_config["ray_actor_options"] as { runtime_env: Json } | undefined;
    same(actor?.runtime_env["env_vars"], { A: "actor", B: "llm" });
  }),
  forDefect(
    /server_cls is ignored by the P\/D builder/,
    "The configuration keeps it for the builder.",
    (subject) => same(accepted(subject).deployments.length, 3),
  ),
  forDefect(/LoRA on the prefill side only/, "notes() says that both sides need the adapters.", (subject) =>
    noted(subject, /lora_config differs/),
  ),
  forDefect(
    /fails for DP only/,
    "All builders take a fixed number of ingress replicas.",
    (subject, { input }) => {
      const { args } = input as { args: { ingress_deployment_config: Json } };
      const ingress = accepted(subject).deployments.at(-1);
      same(ingress?.deployment_config["num_replicas"], args.ingress_deployment_config["num_replicas"]);
      same(ingress?.deployment_config["autoscaling_config"], null);
    },
  ),
  forDefect(
    /keeps target_ongoing_requests=1e9 with 'auto'/,
    "`auto` means the same everywhere.",
    (subject) => {
      const autoscaling = accepted(subject).deployments.at(-1)?.deployment_config[
        "autoscaling_config"
      ] as Json;
      same([autoscaling["max_replicas"], autoscaling["target_ongoing_requests"]], [100, 2]);
    },
  ),
  forDefect(/documented but has no effect/, "notes() says that it has no effect.", (subject) =>
    noted(subject, /num_ingress_replicas has no effect/),
  ),
  forDefect(/same deployment name/, "Two deployments of one name are refused.", (subject) =>
    refused(subject, /Two deployments are named/),
  ),
  forDefect(/numeric string is not recognised as 0/, "A numeric string is a number.", (subject) =>
    same((accepted(subject).options?.["autoscaling_config"] as Json | undefined)?.["min_replicas"], 0),
  ),
  {
    reason:
      "Direct streaming is Ray's HAProxy: here an ingress in this process is the only way to the engines, and says so by being there.",
    applies: ({ input }) =>
      (input as { env?: Json }).env?.["RAY_SERVE_LLM_ENABLE_DIRECT_STREAMING"] === "1" &&
      (input as Json)["app"] !== undefined,
    expect: (subject, { input, expect }) => {
      const { deployments } = accepted(subject);
      same(deployments.at(-1)?.name.includes("Ingress"), true, "the ingress");
      for (const recorded of ((expect as Json)["deployments"] ?? []) as readonly Json[]) {
        const planned = deployments.find(({ name }) => name === recorded["name"]);
        const { deployment_config: config, replica_config } = asRecordedHere(recorded, input) as {
          readonly deployment_config: Json;
          readonly replica_config: Json;
        };
        // Only behind HAProxy is round robin Ray's default.
        const without = (each: Json | undefined): Json => ({ ...each, request_router_config: null });
        same(
          without(planned?.deployment_config),
          without(config),
          `${String(recorded["name"])}.deployment_config`,
        );
        same(planned?.replica_config, replica_config, `${String(recorded["name"])}.replica_config`);
      }
    },
  },
  {
    reason: "JavaScript has no 2.0 beside 2: a whole number is an integer.",
    applies: ({ expect }) => {
      const words = (expect as Json)["message_contains"] as readonly string[] | undefined;
      return words?.some((each) => /^Invalid data_parallel_size: [1-9]\d*\.0,/.test(each)) === true;
    },
    expect: (subject, { input }) => {
      const size = ((input as { llm_config: Json }).llm_config["engine_kwargs"] as Json)[
        "data_parallel_size"
      ];
      same(accepted(subject).deployments[0]?.deployment_config["num_replicas"], size);
    },
  },
  {
    reason:
      "The project's rule for data parallelism: num_replicas is data_parallel_size, and nothing scales.",
    applies: scalesDataParallel,
    expect: (subject, { input }) => {
      const [config] = dataParallelConfigs(input);
      const { num_replicas: replicas, autoscaling_config: autoscaling } = deploymentOptions(config);
      if (autoscaling === null && replicas !== "auto") {
        // Null is no autoscaling here; in Ray it counts as given.
        const size = (config?.["engine_kwargs"] as Json | undefined)?.["data_parallel_size"];
        same(accepted(subject).deployments[0]?.deployment_config["num_replicas"], size);
        return;
      }
      refused(
        subject,
        /Autoscaling is not supported for data-parallel deployments|num_replicas \(\d+\) must match data_parallel_size/,
      );
    },
  },
];

function noted(subject: Subject, pattern: RegExp): void {
  const { notes } = accepted(subject);
  if (!notes.some((note) => pattern.test(note))) throw new Error(`no note like ${String(pattern)}`);
}

/** The configurations of a case whose deployment would be data-parallel. */
function dataParallelConfigs(input: unknown): readonly Json[] {
  const { builder, app, args, llm_config: config, class: cls, llm_configs: configs } = input as Json;
  const all: readonly unknown[] =
    app === "build_pd_openai_app"
      ? [(args as Json)["prefill_config"], (args as Json)["decode_config"]]
      : app === "build_dp_openai_app"
        ? [(args as Json)["llm_config"]]
        : builder === "build_dp_deployment"
          ? [config]
          : typeof cls === "string" && cls.startsWith("DP")
            ? ((configs ?? []) as readonly unknown[])
            : [];
  return all.filter((each): each is Json => {
    const kwargs = (each as Json | undefined)?.["engine_kwargs"] as Json | undefined;
    const size = kwargs?.["data_parallel_size"];
    return typeof size === "number" && size > 1;
  });
}

function deploymentOptions(config: Json | undefined): Json {
  return (config?.["deployment_config"] ?? {}) as Json;
}

function scalesDataParallel({ input }: GoldenCase): boolean {
  return dataParallelConfigs(input).some((config) => {
    const { num_replicas: replicas, autoscaling_config: autoscaling } = deploymentOptions(config);
    const size = (config["engine_kwargs"] as Json)["data_parallel_size"];
    if (replicas === "auto" || autoscaling !== undefined) return true;
    // Zero is refused by Ray too, in words of its own.
    return replicas !== undefined && replicas !== null && replicas !== 0 && Number(replicas) !== size;
  });
}

/** Instances of Ray's classes become what they were made from. */
export function withoutInstances(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(withoutInstances);
  if ("$AutoscalingConfig" in value) return withoutInstances(value.$AutoscalingConfig);
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, withoutInstances(part)]));
}

/**
 * A recorded value without what only Ray's runtime has: the hook of its worker processes, the bookkeeping of which
 * options came from the builder, and the actor options that hold nothing but that hook. An `autoscaling_config`
 * without a target has Serve's default target instead of one that is never reached.
 */
export function asRecordedHere(value: unknown, input?: unknown): unknown {
  if (Array.isArray(value)) return value.map((each) => asRecordedHere(each, input));
  if (typeof value !== "object" || value === null) return value;
  const result: Record<string, unknown> = {};
  const { name } = value as { name?: unknown };
  for (const [key, part] of Object.entries(value)) {
    if (key === "worker_process_setup_hook" || key === "user_configured_option_names" || key === "version")
      continue;
    const inner = asRecordedHere(part, input);
    if (key === "runtime_env" && isEmpty(inner)) continue;
    if (key === "ray_actor_options" && isEmpty(inner)) continue;
    result[key] = inner;
  }
  if (
    input !== undefined &&
    typeof name === "string" &&
    !name.includes("ngress") &&
    scalesWithoutTarget(input, name)
  ) {
    const config = result["deployment_config"] as Json;
    const autoscaling = config["autoscaling_config"] as Json | null;
    if (autoscaling !== null) {
      result["deployment_config"] = {
        ...config,
        autoscaling_config: { ...autoscaling, target_ongoing_requests: 2 },
      };
    }
  }
  return result;
}

/** Whether the deployment's configuration has an `autoscaling_config`, but no target in it. */
function scalesWithoutTarget(input: unknown, name: string): boolean {
  const { llm_config: single, args } = input as { llm_config?: Json; args?: Json };
  const several = (args?.["llm_configs"] ?? []) as readonly Json[];
  const model = (config: Json): string => String((config["model_loading_config"] as Json)["model_id"]);
  const found = name.startsWith("Prefill:")
    ? args?.["prefill_config"]
    : name.startsWith("Decode:")
      ? args?.["decode_config"]
      : (single ?? args?.["llm_config"] ?? several.find((config) => name.endsWith(`:${model(config)}`)));
  const options = (found as Json | undefined)?.["deployment_config"] as Json | undefined;
  const autoscaling = options?.["autoscaling_config"] as Json | null | undefined;
  return (
    autoscaling !== undefined && autoscaling !== null && autoscaling["target_ongoing_requests"] === undefined
  );
}

function isEmpty(value: unknown): boolean {
  return typeof value === "object" && value !== null && Object.keys(value).length === 0;
}
