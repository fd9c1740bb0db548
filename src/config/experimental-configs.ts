import type * as z from "zod";

import { ConfigurationError } from "../errors/configuration-error.ts";
import { toCamelCase } from "./casing.ts";
import { describeValue } from "./describe-value.ts";
import { boolean, isPlainObject, number, reading, type SchemaProblem } from "./lax-schema.ts";
import { nearestName } from "./nearest-name.ts";

/** `experimental_configs` as it is kept: Ray's own key for known options, anything else as it came. */
export type ExperimentalConfigs = Readonly<Record<string, unknown>>;

/** Keys Ray 2.58 reads, and those its documents name. */
export const experimentalKeys = [
  "stream_batching_interval_ms",
  "num_ingress_replicas",
  "dp_size_per_node",
  "pd_tokenize_once",
  "_prewarm_prefill_decode",
  "NIXL_SIDE_CHANNEL_PORT_BASE",
  "MORI_HANDSHAKE_PORT_BASE",
  "MORI_NOTIFY_PORT_BASE",
  "KV_EVENTS_PORT_BASE",
  "KV_TOKEN_PORT_BASE",
  "KV_INDEXER_THREADS",
] as const;

/** How each key may be written: as it is, and in camelCase. `ALL_CAPS` keys have one spelling. */
const spellings: ReadonlyMap<string, string> = new Map(
  experimentalKeys.flatMap((key) => {
    const camel = toCamelCase(key.replace(/^_/, ""));
    const others = key.startsWith("_") ? [camel, `_${camel}`] : [camel];
    return [key, ...(key.toUpperCase() === key ? [] : others)].map((spelling) => [spelling, key] as const);
  }),
);

/** Reads `experimental_configs`. Known keys may come in either spelling; unknown keys stay as they are. */
export function experimentalConfigsSchema(): z.ZodType<ExperimentalConfigs> {
  return reading((input) => {
    if (!isPlainObject(input)) return { type: "dict_type", message: "Input should be a valid dictionary" };
    const result: Record<string, unknown> = {};
    const givenAs = new Map<string, string>();
    const problems: SchemaProblem[] = [];
    for (const [key, value] of Object.entries(input)) {
      if (key === "num_router_replicas" || key === "numRouterReplicas") problems.push(renamed);
      const name = spellings.get(key) ?? key;
      const other = givenAs.get(name);
      if (other !== undefined) {
        problems.push({
          type: "value_error",
          message: `Given twice, as "${other}" and as "${key}"; keep one`,
          path: [key],
        });
      }
      givenAs.set(name, key);
      result[name] = value;
    }
    return problems.length > 0 ? problems : { value: result };
  });
}

const renamed: SchemaProblem = {
  type: "value_error",
  message:
    "The 'num_router_replicas' key in experimental_configs has been renamed to 'num_ingress_replicas'. " +
    "Please update your configuration to use 'num_ingress_replicas' instead.",
};

/** What the unknown keys of a configuration were probably meant to be. */
export function experimentalNotes(configs: ExperimentalConfigs): readonly string[] {
  const notes: string[] = [];
  for (const key of Object.keys(configs)) {
    if (spellings.has(key)) continue;
    const nearest = nearestName(key, experimentalKeys);
    const hint = nearest === undefined ? "" : `; did you mean "${nearest}"?`;
    notes.push(`experimental_configs.${key} is not read by anything${hint}`);
  }
  if (configs["num_ingress_replicas"] !== undefined) {
    notes.push(
      "experimental_configs.num_ingress_replicas has no effect (in Ray 2.58 neither): the ingress runs in the process " +
        "that serves HTTP",
    );
  }
  return notes;
}

/**
 * Milliseconds for which tokens of a stream are gathered; 0 sends each at once. Absent and null mean `fallback`.
 *
 * @throws {ConfigurationError} when it is no number, or negative
 */
export function streamBatchingIntervalMs(configs: ExperimentalConfigs, fallback: number): number {
  return read(configs, "stream_batching_interval_ms", number({ atLeast: 0 })) ?? fallback;
}

/** A flag such as `pd_tokenize_once`; absent and null mean false. @throws {ConfigurationError} when it is none */
export function experimentalFlag(
  configs: ExperimentalConfigs,
  key: "pd_tokenize_once" | "_prewarm_prefill_decode",
): boolean {
  return read(configs, key, boolean()) ?? false;
}

function read<T>(configs: ExperimentalConfigs, key: string, schema: z.ZodType<T>): T | undefined {
  const value = configs[key];
  if (value === undefined || value === null) return undefined;
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new ConfigurationError("LLMConfig", [
    {
      path: ["experimental_configs", key],
      type: "value_error",
      message: parsed.error.issues[0]?.message ?? "Input is not valid",
      received: describeValue(value, [key]),
    },
  ]);
}
