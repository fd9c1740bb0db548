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
import type { ListLoraAdapters } from "../llm/lora-listing.ts";
import type { AdminOptions } from "./admin-calls.ts";
import type { CorsOptions } from "./cors-policy.ts";
import type { RequestLimits } from "./generation-request.ts";
import type { MediaHosts } from "./media-policy.ts";
import type { ServedModels } from "./model-catalog.ts";
import type { SessionKeyOptions } from "./session-key.ts";

/** Arguments of `OpenAiIngress`; all but the deployments are the builders' `ingressExtraKwargs`. */
export interface OpenAiIngressArguments extends SessionKeyOptions {
  /** The models to serve: deployments, or deployments by model id. */
  readonly llmDeployments: ServedModels;
  /** Largest request body in bytes; more is answered with 413. @default 33554432 (32 MiB) */
  readonly maxBodyBytes?: number | undefined;
  /** Milliseconds a client may take to send its body; more is answered with 408. @default 60000 */
  readonly bodyTimeoutMs?: number | undefined;
  /** What one request may ask for. @default no limits */
  readonly limits?: RequestLimits | undefined;
  /** Hosts from which engines may be told to fetch media. @default names that look public */
  readonly mediaHosts?: MediaHosts | undefined;
  /** Which web pages may call from a browser. @default none: no CORS header is sent */
  readonly cors?: CorsOptions | undefined;
  /** Finds the LoRA adapters that `GET /v1/models` shows. @default adapters are served but not listed */
  readonly listLoraAdapters?: ListLoraAdapters | undefined;
  /**
   * Path under which `GET` answers with the application's metrics, for example `/metrics`. Whoever reaches the ingress
   * reads them, unless `admit` refuses. @default not served
   */
  readonly metricsPath?: string | undefined;
  /**
   * Tells clients in `x-serve-llm-route` how a request was served: mode, reason, and names of replicas, never their
   * URLs. @default false
   */
  readonly routeHeader?: boolean | undefined;
  /**
   * Adds routes that go to every engine: `/sleep`, `/wake_up`, `/is_sleeping`, `/pause`, `/resume`, `/is_paused`,
   * `/reset_prefix_cache`, `/start_profile`, `/stop_profile`. @default none of them is served
   */
  readonly admin?: AdminOptions | undefined;
}

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
