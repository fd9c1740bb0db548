import type * as z from "zod";

import { readImportPath, type AnyFunction } from "./import-path.ts";
import { jsonProblem } from "./json-value.ts";
import { number, objectOf, opaqueMap, reading, report, withDefault } from "./lax-schema.ts";
import { parseConfig } from "./parse-config.ts";

/** Ray's routers, by class name. */
const rayRouterClasses = [
  "PowerOfTwoChoicesRequestRouter",
  "PrefixCacheAffinityRouter",
  "KVAwareRouter",
  "RoundRobinRouter",
  "ConsistentHashRouter",
  "CapacityQueueRouter",
];

/** Router options as a user gives them. Ray's `RequestRouterConfig`, keys in camelCase. */
export interface RequestRouterOptions {
  /**
   * Ray's import path of a router, its class name alone, the kebab-case name of a registered router, or a factory.
   * Default: power of two choices.
   */
  readonly requestRouterClass?: string | AnyFunction | undefined;
  /** Given to the router; keys stay as they are. Must be JSON. Default: empty. */
  readonly requestRouterKwargs?: Readonly<Record<string, unknown>> | undefined;
  /** Seconds between two reads of routing statistics; more than 0. Default 10. */
  readonly requestRoutingStatsPeriodS?: number | undefined;
  /** Seconds such a read may take; more than 0. Default 30. */
  readonly requestRoutingStatsTimeoutS?: number | undefined;
  /** Seconds before the second try when no replica has a free slot; more than 0. Default 0.025. */
  readonly initialBackoffS?: number | undefined;
  /** How that wait grows; more than 0. Default 2. */
  readonly backoffMultiplier?: number | undefined;
  /** The longest such wait in seconds; more than 0. Default 0.5. */
  readonly maxBackoffS?: number | undefined;
}

/** Router options with every default filled in. */
export type RequestRouterConfig = {
  readonly [Key in keyof RequestRouterOptions]-?: Exclude<RequestRouterOptions[Key], undefined>;
};

const defaultRouterClass = "ray.serve._private.request_router:PowerOfTwoChoicesRequestRouter";

const requestRouterDefaults: RequestRouterConfig = {
  requestRouterClass: defaultRouterClass,
  requestRouterKwargs: {},
  requestRoutingStatsPeriodS: 10,
  requestRoutingStatsTimeoutS: 30,
  initialBackoffS: 0.025,
  backoffMultiplier: 2,
  maxBackoffS: 0.5,
};

// Names of routers that are registered here; whether one is, shows when the router is made.
const registeredName = /^[a-z][a-z0-9]*(?:-[a-z0-9]+)*$/;

function isRouterName(name: string): boolean {
  const path = readImportPath(name);
  if (path === undefined) return registeredName.test(name) || rayRouterClasses.includes(name);
  return path.module.startsWith("ray.") && rayRouterClasses.includes(path.name);
}

function requestRouterClass(): z.ZodType<string | AnyFunction> {
  return reading<string | AnyFunction>((input) => {
    if (typeof input === "function") return { value: input as AnyFunction };
    if (typeof input !== "string") {
      return {
        type: "string_type",
        message: "Input should be a valid string",
        expected: "a router factory, an import path or a name",
      };
    }
    // Ray reads an empty string as "not given".
    if (input === "") return { value: defaultRouterClass };
    if (isRouterName(input)) return { value: input };
    return {
      type: "value_error",
      message: `There is no request router "${input}"; Python code does not run here`,
      expected: `a router factory, the name of a registered router, or one of Ray's: ${rayRouterClasses.join(", ")}`,
    };
  });
}

const positive = { greaterThan: 0 } as const;

/**
 * Reads Ray's `RequestRouterConfig`. Its output has only what was given, coerced, and the router's class always, as
 * Ray's has.
 */
export const requestRouterSchema = objectOf("RequestRouterConfig", {
  requestRouterClass: withDefault(requestRouterClass(), defaultRouterClass),
  requestRouterKwargs: opaqueMap()
    .check((context) => {
      const problem = jsonProblem(context.value);
      if (problem === undefined) return;
      report(context, {
        type: "value_error",
        message: `request_router_kwargs is not JSON-serializable: ${problem}.`,
      });
    })
    .optional(),
  requestRoutingStatsPeriodS: number(positive).optional(),
  requestRoutingStatsTimeoutS: number(positive).optional(),
  initialBackoffS: number(positive).optional(),
  backoffMultiplier: number(positive).optional(),
  maxBackoffS: number(positive).optional(),
});

/**
 * Reads router options in either spelling and fills in Ray's defaults.
 *
 * @throws ConfigurationError naming every problem
 */
export function parseRequestRouterConfig(input: unknown): RequestRouterConfig {
  return resolveRequestRouter(parseConfig(requestRouterSchema, input, "request_router_config"));
}

/** Fills in Ray's defaults. `options` must have been parsed. */
export function resolveRequestRouter(options: RequestRouterOptions): RequestRouterConfig {
  return { ...requestRouterDefaults, ...options } as RequestRouterConfig;
}
