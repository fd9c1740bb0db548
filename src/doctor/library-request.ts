import { createParser } from "eventsource-parser";

import { buildPdOpenaiApp } from "../builders/build-pd-openai-app.ts";
import type { Clock } from "../internal/clock.ts";
import type { Random } from "../internal/random.ts";
import { channels } from "../observability/channels.ts";
import type { RequestTrace } from "../observability/request-trace.ts";
import { asJsonObject, parseEngineJson } from "../protocol/engine-json.ts";
import type { DoctorSubject } from "./doctor-subject.ts";
import type { EngineQuestions } from "./engine-questions.ts";
import { type ProbeBody, shortText } from "./probe-prompt.ts";

/** What a request is sent with. */
export interface LibraryRequestOptions {
  readonly subject: DoctorSubject;
  readonly modelId: string;
  readonly clock: Clock;
  readonly random: Random;
  /** Milliseconds for the whole request. */
  readonly timeoutMs: number;
}

/** A trace is published at the end of its stream. */
const tracePatienceMs = 1_000;

/** How a request through the library went. */
export interface LibraryAnswer {
  readonly trace: RequestTrace | undefined;
  readonly text: string | undefined;
  readonly promptTokens: number | undefined;
  /** Why there is no answer. */
  readonly failure: string | undefined;
}

/** Streams a request through an application of its own over this pair. Never throws for what engines do. */
export async function sendThroughLibrary(
  prefill: EngineQuestions,
  decode: EngineQuestions,
  body: ProbeBody,
  { subject, modelId, clock, random, timeoutMs }: LibraryRequestOptions,
): Promise<LibraryAnswer> {
  const app = buildPdOpenaiApp(subject.pair(prefill.endpoint, decode.endpoint, modelId)).withEnvironment({
    clock,
    random,
    warn: () => undefined,
  });
  const requestId = `doctor-${random.id()}`;
  const traced = waitForTrace(requestId, clock);
  const limit = new AbortController();
  const timer = clock.setTimer(() => limit.abort(), timeoutMs, { keepAlive: true });
  try {
    const response = await app.fetch(
      new Request("http://doctor.invalid/v1/completions", {
        method: "POST",
        headers: { "content-type": "application/json", "x-request-id": requestId },
        body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
        signal: limit.signal,
      }),
    );
    const answer = await response.text();
    if (response.status !== 200) {
      const failure = `answered ${response.status}: ${shortText(answer)}`;
      return { trace: await traced.result(), text: undefined, promptTokens: undefined, failure };
    }
    return { trace: await traced.result(), ...readStream(answer) };
  } catch (error) {
    const failure = limit.signal.aborted ? `not answered within ${timeoutMs} ms` : String(error);
    return { trace: await traced.result(), text: undefined, promptTokens: undefined, failure };
  } finally {
    timer.cancel();
    traced.stop();
    await app.shutdown({ graceMs: 0 });
  }
}

/** The trace of one request, from the channel on which all are published. */
function waitForTrace(
  requestId: string,
  clock: Clock,
): { result(): Promise<RequestTrace | undefined>; stop(): void } {
  let found: RequestTrace | undefined;
  let onFound: (() => void) | undefined;
  const listener = (message: unknown): void => {
    const trace = message as RequestTrace;
    if (trace.requestId !== requestId) return;
    found = trace;
    onFound?.();
  };
  channels.request.subscribe(listener);
  return {
    async result() {
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => {
        const timer = clock.setTimer(resolve, tracePatienceMs, { keepAlive: true });
        onFound = () => {
          timer.cancel();
          resolve();
        };
      });
      return found;
    },
    stop() {
      channels.request.unsubscribe(listener);
    },
  };
}

function readStream(stream: string): Pick<LibraryAnswer, "text" | "promptTokens" | "failure"> {
  let text = "";
  let promptTokens: number | undefined;
  let failure: string | undefined;
  const parser = createParser({
    onEvent({ data }) {
      if (data === "[DONE]") return;
      const chunk = asJsonObject(parseEngineJson(data));
      if (chunk?.["error"] !== undefined) failure = `broken off: ${shortText(data)}`;
      const [choice] = Array.isArray(chunk?.["choices"]) ? (chunk["choices"] as unknown[]) : [];
      const piece = asJsonObject(choice)?.["text"];
      if (typeof piece === "string") text += piece;
      const tokens = asJsonObject(chunk?.["usage"])?.["prompt_tokens"];
      if (typeof tokens === "number") promptTokens = tokens;
    },
  });
  parser.feed(stream);
  return { text, promptTokens, failure };
}
