import type * as z from "zod";

import { headersSchema } from "./endpoint.ts";
import {
  boolean,
  isPlainObject,
  listOf,
  number,
  objectOf,
  opaqueMap,
  optional,
  reading,
  text,
  withDefault,
} from "./lax-schema.ts";
import { nested, parseConfig } from "./parse-config.ts";

/** TLS towards the engines. PEM text, not paths. */
export interface ClientTlsConfig {
  /** Certificate authorities to trust instead of the system's. */
  readonly ca?: string | readonly string[] | undefined;
  /** Client certificate, for mutual TLS; needs `key`. */
  readonly cert?: string | undefined;
  /** Private key of `cert`. */
  readonly key?: string | undefined;
  /** Name to ask for and verify instead of the URL's host. */
  readonly servername?: string | undefined;
  /** False accepts any certificate: only for trials. @default true */
  readonly rejectUnauthorized?: boolean | undefined;
}

/** How this library talks to the engines of one deployment. Ours; Ray has no such thing. */
export interface ClientConfigInit {
  /** Sent as `Authorization: Bearer ...` to endpoints that have no key of their own. */
  readonly apiKey?: string | undefined;
  /** Headers added to every request. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** TLS towards the engines. @default the system's certificate authorities */
  readonly tls?: ClientTlsConfig | undefined;
  /** Milliseconds to open a connection, > 0. @default 5000 */
  readonly connectTimeoutMs?: number | undefined;
  /** Milliseconds for the whole prefill call, > 0. @default 300000 */
  readonly prefillTimeoutMs?: number | undefined;
  /** Milliseconds until decode's first byte, > 0. @default 300000 */
  readonly firstByteTimeoutMs?: number | undefined;
  /** Milliseconds between two chunks of a stream, > 0. @default 180000 */
  readonly interTokenTimeoutMs?: number | undefined;
  /** Milliseconds for a request from start to end, > 0. @default 3600000 */
  readonly totalTimeoutMs?: number | undefined;
  /** Milliseconds a request may wait for a free slot, > 0. @default 60000 */
  readonly queueTimeoutMs?: number | undefined;
  /** Milliseconds a request may wait while the deployment has no replica at all, > 0. @default 10000 */
  readonly unavailableTimeoutMs?: number | undefined;
  /**
   * The same for a deployment with a `scalingTarget`, where a replica is on its way; how long a request is held while
   * the deployment scales up from zero, > 0. @default 600000
   */
  readonly coldStartTimeoutMs?: number | undefined;
  /** Milliseconds a client may leave a full stream unread before both engines are told to stop, > 0. @default 60000 */
  readonly slowClientTimeoutMs?: number | undefined;
  /**
   * Where LoRA adapters lie as the engines see it, when that is not `dynamicLoraLoadingPath`: a folder, for example a
   * mount `/mnt/loras`, or a function for anything else. vLLM itself reads folders and Hugging Face names, no buckets.
   *
   * @default `dynamicLoraLoadingPath` of `loraConfig`
   */
  readonly loraAdapterPath?: string | LoraAdapterPath | undefined;
  /**
   * Now and then asks every engine for one token, to find one that answers its health check but generates nothing.
   * True for the defaults of {@link ProbeGenerationInit}. @default false
   */
  readonly probeGeneration?: boolean | ProbeGenerationInit | undefined;
}

/**
 * Where an adapter lies, as a path that engines understand.
 *
 * @param modelId its full id, `model:adapter`
 */
export type LoraAdapterPath = (modelId: string) => string | Promise<string>;

/** How `probeGeneration` asks for a token. */
export interface ProbeGenerationInit {
  /** Milliseconds between two probes of one engine at least, > 0. @default 60000 */
  readonly intervalMs?: number | undefined;
  /** Milliseconds a probe may take, > 0. @default 30000 */
  readonly timeoutMs?: number | undefined;
  /**
   * Body of the request; with `messages` it goes to chat completions, else to completions.
   * @default one token for a short prompt, `{ model: modelId, prompt: "1", max_tokens: 1, temperature: 0 }`
   */
  readonly body?: Readonly<Record<string, unknown>> | undefined;
}

/** {@link ProbeGenerationInit} with its defaults filled in; the default body depends on the model. */
export interface ProbeGeneration extends ProbeGenerationInit {
  readonly intervalMs: number;
  readonly timeoutMs: number;
}

/** {@link ClientConfigInit} with its defaults filled in. */
export interface ClientConfig extends ClientConfigInit {
  readonly connectTimeoutMs: number;
  readonly prefillTimeoutMs: number;
  readonly firstByteTimeoutMs: number;
  readonly interTokenTimeoutMs: number;
  readonly totalTimeoutMs: number;
  readonly queueTimeoutMs: number;
  readonly unavailableTimeoutMs: number;
  readonly coldStartTimeoutMs: number;
  readonly slowClientTimeoutMs: number;
  /** Undefined when it is off. */
  readonly probeGeneration?: ProbeGeneration | undefined;
}

const certificate = text({ minLength: 1 });
const positive = number({ greaterThan: 0 });

const tlsSchema = objectOf("ClientTlsConfig", {
  ca: optional(
    reading<string | readonly string[]>((input) => {
      const parsed = (Array.isArray(input) ? listOf(certificate) : certificate).safeParse(input);
      return parsed.success
        ? { value: parsed.data }
        : { type: "string_type", message: "Input should be PEM text, or a list of PEM texts" };
    }),
  ),
  cert: optional(certificate),
  key: optional(certificate),
  servername: optional(text({ minLength: 1 })),
  rejectUnauthorized: optional(boolean()),
}).superRefine((tls, context) => {
  if ((tls.cert === undefined) === (tls.key === undefined)) return;
  context.addIssue({ code: "custom", message: "cert and key must be given together" });
});

const probeSchema = objectOf("ProbeGeneration", {
  intervalMs: withDefault(positive, 60_000),
  timeoutMs: withDefault(positive, 30_000),
  body: optional(opaqueMap()),
});

function probeGeneration(): z.ZodType<ProbeGeneration | undefined> {
  return reading<ProbeGeneration | undefined>((input) => {
    if (input === false) return { value: undefined };
    if (input === true) return { value: parseConfig(probeSchema, {}, "probeGeneration") };
    if (isPlainObject(input)) return nested(() => parseConfig(probeSchema, input, "probeGeneration"));
    return {
      type: "bool_type",
      message: "Input should be true, false, or an object with intervalMs, timeoutMs and body",
    };
  });
}

function loraAdapterPath(): z.ZodType<string | LoraAdapterPath> {
  return reading<string | LoraAdapterPath>((input) => {
    if (typeof input === "function") return { value: input as LoraAdapterPath };
    if (typeof input === "string" && input !== "") return { value: input.replace(/(?<=.)\/+$/, "") };
    return { type: "string_type", message: "Input should be a folder, or a function from an id to a path" };
  });
}

/** Schema of {@link ClientConfig}. */
export const clientConfigSchema: z.ZodType<ClientConfig> = objectOf("ClientConfig", {
  apiKey: optional(text({ minLength: 1 })),
  headers: optional(headersSchema()),
  tls: optional(tlsSchema),
  connectTimeoutMs: withDefault(positive, 5_000),
  prefillTimeoutMs: withDefault(positive, 300_000),
  firstByteTimeoutMs: withDefault(positive, 300_000),
  interTokenTimeoutMs: withDefault(positive, 180_000),
  totalTimeoutMs: withDefault(positive, 3_600_000),
  queueTimeoutMs: withDefault(positive, 60_000),
  unavailableTimeoutMs: withDefault(positive, 10_000),
  coldStartTimeoutMs: withDefault(positive, 600_000),
  slowClientTimeoutMs: withDefault(positive, 60_000),
  loraAdapterPath: optional(loraAdapterPath()),
  probeGeneration: optional(probeGeneration()),
});
