import { camelCased, snakeCased } from "../../../src/config/casing.ts";
import { readClassPath } from "../../../src/config/class-reference.ts";
import { LLMConfig } from "../../../src/config/llm-config.ts";
import type { LLMConfigInit } from "../../../src/config/llm-config-init.ts";
import { deploymentOptionsShape } from "../../../src/config/llm-config-schema.ts";
import { deepMerge, mergeDeploymentDefaults, type OptionTree } from "../../../src/config/merge-options.ts";
import {
  adapterConfigFile,
  adapterFolder,
  adapterMetadata,
  missingAdapterMessage,
  modelCard,
} from "../../../src/config/model-card.ts";
import {
  adapterModelIds,
  baseModelId,
  cleanModelId,
  deploymentNameOfModel,
  loraId,
  modelIdFromPath,
} from "../../../src/config/model-id.ts";
import { modelLoadingConfigSchema } from "../../../src/config/model-loading-config.ts";
import { parseConfig } from "../../../src/config/parse-config.ts";
import { isRemoteUri, storageType } from "../../../src/config/remote-uri.ts";
import { accepted, attempt, type RecordedError, refused, same, sameError } from "../compare.ts";
import type { Check, GoldenCase, SkipReason } from "../golden-case.ts";
import { checkBatching } from "./stream-batches.ts";
import { checkRequestId, checkRetries, checkSession } from "./wire-habits.ts";

type Input = Readonly<Record<string, unknown>>;
type GroupCheck = (
  input: Input,
  expected: Input,
  kase: GoldenCase,
) => void | SkipReason | Promise<void | SkipReason>;

/** The kinds of cases, by a key that only their input has; the first that is there decides. */
const groups: readonly (readonly [key: string, check: GroupCheck])[] = [
  ["bucket_uri", checkRemotePath],
  ["llm_config", checkModelCard],
  ["subfolders", checkList],
  ["files", checkMetadata],
  ["model_id", checkIds],
  ["path", checkLoadClass],
  ["override", ({ base, override }, { merged }) => same(deepMerge(base as Input, override as Input), merged)],
  ["defaults", checkDefaults],
  ["request_id", checkRequestId],
  ["headers", checkSession],
  ["interval_ms", checkBatching],
  // Ids of Ray's actors.
  ["unique_id", () => "python-only"],
  ["max_tries", checkRetries],
];

/** Checks one case of `lora-ids.jsonl`. */
export function check(kase: GoldenCase): ReturnType<Check> {
  const input = kase.input as Input;
  const found = groups.find(([key]) => key in input);
  if (found === undefined) throw new Error("no check for this kind of case");
  return found[1](input, kase.expect as Input, kase);
}

function checkIds({ model_id: id }: Input, expected: Input, kase: GoldenCase): void {
  const modelId = id as string;
  const actual = {
    ok: true,
    base_model_id: baseModelId(modelId),
    lora_id: loraId(modelId),
    clean_model_id: cleanModelId(modelId),
    replace_prefix: modelIdFromPath(modelId),
    deployment_name: deploymentNameOfModel(modelId),
    is_remote_path: isRemoteUri(modelId),
  };
  if (kase.ray_defect === undefined) {
    same(actual, expected);
    return;
  }
  // "the bucket scheme is cut at its colon": here the scheme stays with the base id.
  same(isRemoteUri(actual.base_model_id), true, "the base id is a URI");
  same([actual.base_model_id, actual.lora_id].filter((part) => part !== "").join(":"), modelId);
}

function checkRemotePath({ bucket_uri: uri }: Input, expected: Input, kase: GoldenCase): void {
  const bucketUri = uri as string;
  const outcome = attempt(() =>
    parseConfig(
      modelLoadingConfigSchema,
      { modelId: "m", modelSource: { bucketUri } },
      "model_loading_config",
    ),
  );
  if (kase.ray_defect !== undefined) {
    // "pyarrow URIs have no storage type": they have that of what follows, and nothing after the prefix is no URI.
    const bare = bucketUri.slice("pyarrow-".length);
    same(isRemoteUri(bucketUri), isRemoteUri(bare));
    same(storageType(bucketUri), storageType(bare));
    return;
  }
  if (expected["ok"] !== true) {
    const { errors, ...rest } = expected as unknown as RecordedError;
    const below = ["model_source"];
    sameError(outcome, {
      ...rest,
      errors: (errors ?? []).map((problem) => ({ ...problem, loc: [...below, ...problem.loc] })),
    });
    return;
  }
  accepted(outcome);
  same(isRemoteUri(bucketUri), expected["is_remote_path"]);
  same(storageType(bucketUri), expected["storage_type"]);
}

function checkModelCard(input: Input, expected: Input): void {
  const config = new LLMConfig(input["llm_config"] as LLMConfigInit);
  same(modelCard(input["model_id"] as string, config, (input["overrides"] ?? {}) as Input), expected["card"]);
}

function checkList({ base_model_id: base, subfolders }: Input, expected: Input): void {
  same(adapterModelIds(base as string, subfolders as readonly string[]), expected["model_ids"]);
}

function checkMetadata(input: Input, expected: Input, kase: GoldenCase): void {
  const {
    model_id: modelId,
    base_path: basePath,
    files,
  } = input as {
    readonly model_id: string;
    readonly base_path: string;
    readonly files: Readonly<Record<string, string>>;
  };
  const folder = adapterFolder(basePath, modelId);
  const text = files[adapterConfigFile(folder)];
  if (text === undefined) {
    same(expected["http_status"], 404);
    same([missingAdapterMessage(folder)], expected["message_contains"]);
    return;
  }
  const outcome = attempt(() => adapterMetadata(modelId, basePath, text));
  if (kase.ray_defect === undefined) same(accepted(outcome), expected["metadata"]);
  else refused(outcome, /is not a JSON object/);
}

function checkLoadClass({ path }: Input, expected: Input, kase: GoldenCase): void | SkipReason {
  // Python's own modules can't be loaded here.
  if (expected["ok"] === true) return "python-only";
  const read = readClassPath(path as string);
  if ("value" in read) throw new Error(`expected ${String(path)} to be refused`);
  if (kase.ray_defect !== undefined) {
    same(/Could not import|Got invalid import path/.test(read.message), true, read.message);
    return;
  }
  for (const words of expected["message_contains"] as readonly string[]) {
    same(read.message.includes(words), true, read.message);
  }
}

function checkDefaults({ defaults, user }: Input, { merged }: Input, kase: GoldenCase): void {
  const camel = (options: unknown): OptionTree =>
    camelCased(deploymentOptionsShape, options).value as OptionTree;
  const actual = snakeCased(deploymentOptionsShape, mergeDeploymentDefaults(camel(defaults), camel(user)));
  if (kase.ray_defect === undefined) {
    same(actual, merged);
    return;
  }
  // "num_replicas: null drops the default target": here null says nothing, and the target stays.
  same(actual, { ...(defaults as Input), num_replicas: null });
}
