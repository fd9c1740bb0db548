import type { ProbeGeneration } from "../config/client-config.ts";
import { EngineTimeoutError } from "../errors/engine-timeout-error.ts";
import type { CancelToken } from "../internal/cancel-token.ts";
import type { Clock } from "../internal/clock.ts";
import type { Random } from "../internal/random.ts";
import { asJsonObject, parseEngineJson } from "../protocol/engine-json.ts";
import { type BufferedResponse, callBuffered } from "./buffered-call.ts";
import type { Replica } from "./replica.ts";

/** How a probe is made. */
export interface GenerationProbeOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly cancel: CancelToken;
  readonly probe: ProbeGeneration;
  readonly modelId: string | undefined;
}

/** What a probe found. */
export type GenerationProbeOutcome =
  | { readonly verdict: "generated" }
  /** An error, or an answer without a token. */
  | { readonly verdict: "failed" }
  /** No answer in time. */
  | { readonly verdict: "late" }
  /** The engine sheds load (429). */
  | { readonly verdict: "busy" }
  /** The engine did not accept the request (another 4xx): the probe is wrong, not the engine. */
  | { readonly verdict: "refused"; readonly reason: string };

const maxAnswerBytes = 1024 * 1024;

/** Asks an engine for one token. Never throws: whatever happens is an outcome. */
export async function probeGeneration(
  replica: Replica,
  options: GenerationProbeOptions,
): Promise<GenerationProbeOutcome> {
  const { clock, random, cancel, probe, modelId } = options;
  const body = probe.body ?? { model: modelId, prompt: "1", max_tokens: 1, temperature: 0 };
  const path = "messages" in body ? "/v1/chat/completions" : "/v1/completions";
  const id = `probe-${random.id()}`;
  let response: BufferedResponse;
  try {
    response = await callBuffered(
      replica.http,
      {
        method: "POST",
        path,
        headers: ["content-type", "application/json", "x-request-id", id],
        body: [Buffer.from(JSON.stringify({ ...body, stream: false }))],
        phase: "check",
      },
      {
        clock,
        cancel,
        replica: replica.fullName,
        timeoutMs: probe.timeoutMs,
        timeoutOption: "probeGeneration.timeoutMs",
        maxBytes: maxAnswerBytes,
      },
    );
  } catch (error) {
    return { verdict: error instanceof EngineTimeoutError ? "late" : "failed" };
  }
  const { status } = response;
  if (status === 429) return { verdict: "busy" };
  if (status >= 400 && status < 500) {
    return { verdict: "refused", reason: `status ${status}, ${response.body.toString("utf8", 0, 300)}` };
  }
  return { verdict: status === 200 && hasToken(response.body) ? "generated" : "failed" };
}

function hasToken(body: Buffer): boolean {
  let answer: Readonly<Record<string, unknown>> | undefined;
  try {
    answer = asJsonObject(parseEngineJson(body.toString()));
  } catch {
    return false;
  }
  const choices = answer?.["choices"];
  if (!Array.isArray(choices) || choices.length === 0) return false;
  const { error } = answer ?? {};
  if (error !== undefined && error !== null) return false;
  // Its text may well be empty: an end token, or one that is no whole character.
  return asJsonObject(answer?.["usage"])?.["completion_tokens"] !== 0;
}
