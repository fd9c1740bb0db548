import { ConfigurationError } from "../errors/configuration-error.ts";
import { describeValue } from "./describe-value.ts";

/** How the ranks of a data-parallel model lie on nodes. */
export interface DataParallelLayout {
  /** Ranks in all: `data_parallel_size`, 1 or more. */
  readonly size: number;
  /** Ranks on each node: `experimental_configs.dp_size_per_node`; undefined when it is not said. */
  readonly perNode: number | undefined;
}

/**
 * Reads how the ranks of a model lie on nodes.
 *
 * @throws {ConfigurationError} when `dp_size_per_node` is no whole number that divides `data_parallel_size`
 */
export function dataParallelLayout(config: {
  readonly dataParallelSize: number;
  readonly experimentalConfigs: Readonly<Record<string, unknown>>;
}): DataParallelLayout {
  const size = config.dataParallelSize;
  const given = config.experimentalConfigs["dp_size_per_node"] ?? undefined;
  if (given === undefined) return { size, perNode: undefined };
  const perNode = typeof given === "boolean" ? Number.NaN : Number(given);
  if (Number.isInteger(perNode) && perNode >= 1 && size % perNode === 0) return { size, perNode };
  throw new ConfigurationError("LLMConfig", [
    {
      path: ["experimental_configs", "dp_size_per_node"],
      type: "value_error",
      message: "The ranks do not fill whole nodes",
      expected: `a whole number that divides data_parallel_size (${size})`,
      received: describeValue(given, []),
    },
  ]);
}
