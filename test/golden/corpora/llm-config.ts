import { toSnakeCase } from "../../../src/config/casing.ts";
import { LLMConfig } from "../../../src/config/llm-config.ts";
import type { LLMConfigInit } from "../../../src/config/llm-config-init.ts";
import { accepted, attempt, type Outcome, type RecordedError, refused, same, sameError } from "../compare.ts";
import { checkDeviation, type Deviation, forDefect } from "../deviations.ts";
import type { GoldenCase } from "../golden-case.ts";
import { engineConfigDump, initializationOutcome } from "./engine-config-dump.ts";

type Subject = Outcome<LLMConfig>;

interface RecordedConfig {
  readonly ok: true;
  readonly dump: unknown;
  readonly model_id: unknown;
  readonly max_request_context_length: unknown;
  readonly input_modality: unknown;
  readonly supports_vision: unknown;
  readonly model_architecture: unknown;
  readonly accelerator_kind: unknown;
  readonly multiplex_config: unknown;
  readonly engine_config?: RecordedEngineConfig;
}

type RecordedEngineConfig = RecordedError | (Readonly<Record<string, unknown>> & { readonly ok: true });

const deviations: readonly Deviation<Subject>[] = [
  forDefect(/model_id accepted/, "A model id must be a name.", (subject) =>
    refused(subject, /model_id must not be/),
  ),
  forDefect(
    /^late validation$/,
    "Wrong engine arguments are refused when the configuration is made.",
    (subject) => refused(subject, /Unknown engine argument|Invalid data_parallel_size/),
  ),
  forDefect(/num_devices becomes a repeated string/, "A numeric string is a number.", (subject) =>
    same(Number.isInteger(accepted(subject).getEngineConfig().numDevices), true, "numDevices is an integer"),
  ),
  forDefect(/device count accepted|zero devices/, "Sizes are positive.", (subject) =>
    refused(subject, /should be a positive integer/),
  ),
  forDefect(/overwritten silently/, "An executor that would not run is refused, not replaced.", (subject) =>
    refused(
      attempt(() => accepted(subject).getEngineConfig().initializationKwargs()),
      /distributed_executor_backend != 'mp' is not allowed/,
    ),
  ),
  forDefect(/extra keys ignored/, "Unknown keys are errors.", (subject) =>
    refused(subject, /Extra inputs are not permitted/),
  ),
  forDefect(/not cross-checked/, "Accepted as Ray does, but said in notes().", (subject) =>
    noted(subject, /bundles of placement_group_config ask for/),
  ),
  forDefect(
    /placement_group_config is validated only when/,
    "Malformed bundles are refused at once; a group without bundles is noted, and refused when its engine is built.",
    (subject) => {
      if ("error" in subject) {
        refused(subject, /placement_group_config/i);
        return;
      }
      noted(subject, /must specify either 'bundle_per_worker' or 'bundles'/);
      refused(
        attempt(() => subject.value.getEngineConfig()),
        /must specify either 'bundle_per_worker' or 'bundles'/,
      );
    },
  ),
  forDefect(
    /raw \w+ instead of a validation error/,
    "Numeric strings are numbers; every refusal is a ConfigurationError.",
    (subject) => {
      if ("error" in subject) refused(subject, /placement_group_config/);
      else
        same(Object.values(subject.value.placementGroupConfig?.bundles?.[0] ?? {}).map(Number.isFinite), [
          true,
        ]);
    },
  ),
  forDefect(/'s3:\/\/' is accepted/, "A URI without a bucket is refused.", (subject) =>
    refused(subject, /names no bucket/),
  ),
  forDefect(/negative timeout|(zero|negative) tries/, "Times and tries are positive.", (subject) =>
    refused(subject, /Invalid lora_config: Input should be greater than/),
  ),
  forDefect(/conflict is detected late/, "Refused when the configuration is made.", (subject) =>
    refused(subject, /Manually setting num_replicas is not allowed/),
  ),
  forDefect(
    /unknown (autoscaling|deployment_config) keys/,
    "Unknown keys are errors; camelCase is not unknown here.",
    (subject, { input }) => {
      if ("error" in subject) {
        refused(subject, /Extra inputs are not permitted/);
        return;
      }
      const { deployment_config: given } = input as { deployment_config: Readonly<Record<string, unknown>> };
      same(subject.value.deploymentConfig, given, "deploymentConfig");
      same(
        Object.keys(given).some((key) => toSnakeCase(key) !== key),
        true,
        "some key is in camelCase",
      );
    },
  ),
  forDefect(/documented but has no effect/, "notes() says that it has no effect.", (subject) =>
    noted(subject, /num_ingress_replicas has no effect/),
  ),
  forDefect(/raw Python \w+ escapes/, "Every refusal is a ConfigurationError.", (subject) =>
    refused(subject, /is not valid/),
  ),
  forDefect(/unhelpful error for a string/, "The error says what an import path looks like.", (subject) =>
    refused(subject, /Got invalid import path/),
  ),
  {
    reason:
      "Unknown keys of autoscaling_config are errors, also those that Ray had long ago and now ignores.",
    applies: ({ input }) => {
      const { deployment_config: deployment } = input as { deployment_config?: Record<string, unknown> };
      const autoscaling = deployment?.["autoscaling_config"] as
        | Readonly<Record<string, unknown>>
        | null
        | undefined;
      return autoscaling !== null && "target_num_ongoing_requests_per_replica" in Object(autoscaling ?? {});
    },
    expect: (subject) => refused(subject, /Extra inputs are not permitted/),
  },
  {
    reason: "server_cls must be a class or a path; Ray takes any value and fails when it builds.",
    applies: ({ input }) => {
      const given = (input as { server_cls?: unknown }).server_cls;
      return given !== undefined && given !== null && typeof given !== "string";
    },
    expect: (subject) => refused(subject, /Input should be a class, or the import path of one/),
  },
];

function noted(subject: Subject, pattern: RegExp): void {
  const notes = accepted(subject).notes();
  if (!notes.some((note) => pattern.test(note)))
    throw new Error(`no note like ${String(pattern)} in ${notes.join(" | ")}`);
}

/** Checks one case of `llm-config.jsonl`. */
export function check(kase: GoldenCase): void {
  const subject = attempt(() => new LLMConfig(kase.input as LLMConfigInit));
  if (checkDeviation(deviations, kase, subject)) return;
  const expected = kase.expect as RecordedConfig | RecordedError;
  if (expected.ok !== true) {
    sameError(subject, expected);
    return;
  }
  const config = accepted(subject);
  same(config.toPython(), expected.dump, "dump");
  same(config.modelId, expected.model_id, "model_id");
  same(
    config.maxRequestContextLength ?? null,
    expected.max_request_context_length,
    "max_request_context_length",
  );
  same(config.inputModality, expected.input_modality, "input_modality");
  same(config.supportsVision, expected.supports_vision, "supports_vision");
  same(config.modelArchitecture, expected.model_architecture, "model_architecture");
  same(config.acceleratorConfig.kind, expected.accelerator_kind, "accelerator_kind");
  same(multiplexDump(config), expected.multiplex_config, "multiplex_config");
  if (expected.engine_config !== undefined) checkEngineConfig(config, expected.engine_config);
}

function checkEngineConfig(config: LLMConfig, expected: RecordedEngineConfig): void {
  const engine = attempt(() => config.getEngineConfig());
  if (!expected.ok) {
    sameError(engine, expected);
    return;
  }
  const {
    ok: _ok,
    initialization_kwargs: kwargs,
    initialization_error: error,
    ...fields
  } = expected as Readonly<Record<string, unknown>>;
  same(engineConfigDump(accepted(engine)), fields, "engine_config");
  const initialization = initializationOutcome(accepted(engine));
  if (error === undefined) same(accepted(initialization), kwargs, "initialization_kwargs");
  else sameError(initialization, error as RecordedError);
}

function multiplexDump(config: LLMConfig): unknown {
  const multiplex = config.multiplexConfig();
  if (multiplex === undefined) return null;
  return {
    max_num_models_per_replica: multiplex.maxNumModelsPerReplica,
    download_timeout_s: multiplex.downloadTimeoutS ?? null,
    max_download_tries: multiplex.maxDownloadTries,
  };
}
