import type * as z from "zod";

import { integer, objectOf, oneOf, reading } from "./lax-schema.ts";
import { parseConfig } from "./parse-config.ts";

/** How the replicas of a gang are spread. Ray's `GangPlacementStrategy`. */
export type GangPlacementStrategy = "PACK" | "SPREAD";

/** Gang scheduling as a user gives it. Ray's `GangSchedulingConfig` (alpha), keys in camelCase. */
export interface GangSchedulingOptions {
  /** Replicas that start and stop together; at least 1. */
  readonly gangSize: number;
  /** Default `PACK`. */
  readonly gangPlacementStrategy?: GangPlacementStrategy | undefined;
  /** What happens when one of them fails. Default and only value: `RESTART_GANG`. */
  readonly runtimeFailurePolicy?: "RESTART_GANG" | undefined;
}

/** Gang scheduling with every default filled in. */
export interface GangSchedulingConfig {
  readonly gangSize: number;
  readonly gangPlacementStrategy: GangPlacementStrategy;
  readonly runtimeFailurePolicy: "RESTART_GANG";
}

function runtimeFailurePolicy(): z.ZodType<"RESTART_GANG"> {
  return reading((input) => {
    if (input === "RESTART_GANG") return { value: input };
    if (input === "RESTART_REPLICA") {
      return {
        type: "value_error",
        message:
          "RESTART_REPLICA policy is not yet implemented. File a GitHub issue if you need this feature.",
        expected: "RESTART_GANG",
      };
    }
    return { type: "enum", message: "Input should be 'RESTART_GANG' or 'RESTART_REPLICA'" };
  });
}

/** Reads Ray's `GangSchedulingConfig`. Its output has only what was given, coerced. */
export const gangSchedulingSchema = objectOf("GangSchedulingConfig", {
  gangSize: integer({ atLeast: 1 }),
  gangPlacementStrategy: oneOf(["PACK", "SPREAD"], "enum").optional(),
  runtimeFailurePolicy: runtimeFailurePolicy().optional(),
});

/**
 * Reads gang scheduling options in either spelling and fills in Ray's defaults.
 *
 * @throws ConfigurationError naming every problem
 */
export function parseGangSchedulingConfig(input: unknown): GangSchedulingConfig {
  return resolveGangScheduling(parseConfig(gangSchedulingSchema, input, "gang_scheduling_config"));
}

/** Fills in Ray's defaults. `options` must have been parsed. */
export function resolveGangScheduling(options: GangSchedulingOptions): GangSchedulingConfig {
  return {
    gangSize: options.gangSize,
    gangPlacementStrategy: options.gangPlacementStrategy ?? "PACK",
    runtimeFailurePolicy: options.runtimeFailurePolicy ?? "RESTART_GANG",
  };
}
