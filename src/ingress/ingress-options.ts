import type * as z from "zod";

import { camelCased } from "../config/casing.ts";
import {
  anything,
  boolean,
  integer,
  listOf,
  number,
  objectOf,
  openObjectOf,
  optional,
  text,
  withDefault,
} from "../config/lax-schema.ts";
import { suggestion } from "../config/nearest-name.ts";
import { parseConfig } from "../config/parse-config.ts";
import type { OpenAiIngressArguments } from "./openai-ingress.ts";

/** What an ingress is made from, beside its models, with defaults filled in. */
export interface IngressOptions extends Omit<OpenAiIngressArguments, "llmDeployments"> {
  readonly maxBodyBytes: number;
  readonly bodyTimeoutMs: number;
  readonly routeHeader: boolean;
}

const atLeastOne = optional(integer({ atLeast: 1 }));

/** What is `anything` here is checked by who uses it. */
const shape = {
  maxBodyBytes: withDefault(integer({ atLeast: 1 }), 32 * 1024 * 1024),
  bodyTimeoutMs: withDefault(number({ greaterThan: 0 }), 60_000),
  limits: optional(
    objectOf("RequestLimits", {
      maxChoices: atLeastOne,
      maxMessages: atLeastOne,
      maxOutputTokens: atLeastOne,
    }),
  ),
  cors: optional(
    openObjectOf("CorsOptions", {
      origins: anything(),
      credentials: optional(boolean()),
      headers: optional(listOf(text())),
      maxAgeS: optional(number({ atLeast: 0 })),
    }),
  ),
  mediaHosts: optional(anything()),
  listLoraAdapters: optional(anything()),
  metricsPath: optional(anything()),
  routeHeader: withDefault(boolean(), false),
  admin: optional(anything()),
  sessionField: optional(anything()),
  sessionKey: optional(anything()),
};
const schema: z.ZodType = openObjectOf("OpenAiIngress", shape);

/**
 * Reads the arguments of an ingress, in either spelling. What it does not know is left to subclasses, and warned of:
 * Ray takes it here too and fails when the ingress starts.
 *
 * @throws ConfigurationError naming every bad option
 */
export function readIngressOptions(
  { llmDeployments: _models, ...given }: OpenAiIngressArguments,
  warn: (message: string) => void,
): IngressOptions {
  for (const name of Object.keys(camelCased(schema, given).value as object)) {
    if (!Object.hasOwn(shape, name))
      warn(`OpenAiIngress does not read the argument "${name}"${suggestion(name, Object.keys(shape))}`);
  }
  return parseConfig(schema, given, "OpenAiIngress") as IngressOptions;
}
