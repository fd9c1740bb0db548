import type * as z from "zod";

import { boolean, listOf, nullable, objectOf, reading, report, text } from "./lax-schema.ts";
import { parseConfig } from "./parse-config.ts";

/** The form of log lines. Ray's `EncodingType`. */
export type LogEncoding = "TEXT" | "JSON";

const levelNames = ["CRITICAL", "FATAL", "ERROR", "WARN", "WARNING", "INFO", "DEBUG", "NOTSET"] as const;

/** Python's names of log levels. */
export type LogLevel = (typeof levelNames)[number];

const levelsByNumber: ReadonlyMap<number, LogLevel> = new Map([
  [50, "CRITICAL"],
  [40, "ERROR"],
  [30, "WARNING"],
  [20, "INFO"],
  [10, "DEBUG"],
  [0, "NOTSET"],
]);

/** Logging options as a user gives them. Ray's `LoggingConfig`, keys in camelCase. */
export interface LoggingOptions {
  /** Default `TEXT`. */
  readonly encoding?: LogEncoding | undefined;
  /** A name, or Python's number of one (10 for `DEBUG`). Default `INFO`. */
  readonly logLevel?: LogLevel | undefined;
  /** A directory for log files, kept for export; `null` for none. Default null. */
  readonly logsDir?: string | null | undefined;
  /** Whether each request is logged. Default true. */
  readonly enableAccessLog?: boolean | undefined;
  /** Further attributes of a Python `LogRecord`, kept for export. Default: none. */
  readonly additionalLogStandardAttrs?: readonly string[] | undefined;
}

/** Logging options with every default filled in. */
export type LoggingConfig = {
  readonly [Key in keyof LoggingOptions]-?: Exclude<LoggingOptions[Key], undefined>;
};

const loggingDefaults: LoggingConfig = {
  encoding: "TEXT",
  logLevel: "INFO",
  logsDir: null,
  enableAccessLog: true,
  additionalLogStandardAttrs: [],
};

// Attributes of Python's `LogRecord`.
const recordAttributes = (
  "args asctime created exc_info exc_text filename funcName levelname levelno lineno message module msecs msg " +
  "name pathname process processName relativeCreated stack_info taskName thread threadName"
).split(" ");

function encoding(): z.ZodType<LogEncoding> {
  return reading((input) => {
    if (input === "TEXT" || input === "JSON") return { value: input };
    if (typeof input !== "string") return { type: "string_type", message: "Input should be a valid string" };
    return {
      type: "value_error",
      message: `Got '${input}' for encoding. Encoding must be one of ['TEXT', 'JSON'].`,
    };
  });
}

function logLevel(): z.ZodType<LogLevel> {
  return reading((input) => {
    if (typeof input === "number") {
      const name = levelsByNumber.get(input);
      if (name !== undefined) return { value: name };
      return unknownLevel(input, `[${[...levelsByNumber.keys()].join(", ")}]`);
    }
    const name = levelNames.find((known) => known === input);
    if (name !== undefined) return { value: name };
    return unknownLevel(input, `[${levelNames.map((known) => `'${known}'`).join(", ")}]`);
  });
}

function unknownLevel(given: unknown, known: string) {
  return {
    type: "value_error",
    message: `Got "${describe(given)}" for log_level. log_level must be one of ${known}.`,
  };
}

function describe(given: unknown): string {
  return typeof given === "string" ? given : JSON.stringify(given);
}

function recordAttributeList(): z.ZodType<readonly string[]> {
  return listOf(text())
    .check((context) => {
      const unknown = context.value.find((name) => !recordAttributes.includes(name));
      if (unknown === undefined) return;
      const known = recordAttributes.map((name) => `'${name}'`).join(", ");
      report(context, {
        type: "value_error",
        message: `Unknown attribute '${unknown}'. Additional log standard attributes must be one of [${known}].`,
      });
    })
    .transform((names) => [...new Set(names)]);
}

/** Reads Ray's `LoggingConfig`. Its output has only what was given, coerced. */
export const loggingSchema = objectOf("LoggingConfig", {
  encoding: encoding().optional(),
  logLevel: logLevel().optional(),
  logsDir: nullable(text()),
  enableAccessLog: boolean().optional(),
  additionalLogStandardAttrs: recordAttributeList().optional(),
});

/**
 * Reads logging options in either spelling and fills in Ray's defaults.
 *
 * @throws ConfigurationError naming every problem
 */
export function parseLoggingConfig(input: unknown): LoggingConfig {
  return resolveLogging(parseConfig(loggingSchema, input, "logging_config"));
}

/** Fills in Ray's defaults. `options` must have been parsed. */
export function resolveLogging(options: LoggingOptions): LoggingConfig {
  return { ...loggingDefaults, ...options } as LoggingConfig;
}
