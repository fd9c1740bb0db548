import { request as httpRequest } from "node:http";
import type { Random } from "../../src/internal/random.ts";
import { mockAnswer } from "../../src/testing/index.ts";
import { readStream } from "../support/client.ts";

/** How one request of a chaos run ended, as its client sees it. */
export type ChaosVerdict =
  | "right"
  /** A status other than 200 with an OpenAI error, or an error event and a cut connection. */
  | "explicit-error"
  /** We left. */
  | "aborted"
  /** Anything else: what this library must never do. */
  | { readonly lie: string };

export interface ChaosRequest {
  readonly path: string;
  readonly body: Readonly<Record<string, unknown>>;
  /** The client leaves after so many bytes of the answer, or so many milliseconds. */
  readonly abortAfterBytes: number | undefined;
  readonly abortAfterMs: number | undefined;
}

const words = ["amber", "birch", "cobalt", "delta", "ember", "日本", "fjord", "🙂", "glyph", "harbor"];

/** A random request: chat or completions, streamed or not, sometimes with a client that leaves. */
export function randomRequest(random: Random, model: string): ChaosRequest {
  const pick = (limit: number): number => Math.floor(random.next() * limit);
  const prompt = Array.from({ length: 1 + pick(40) }, () => words[pick(words.length)]).join(" ");
  const stream = random.next() < 0.6;
  const shared = { model, max_tokens: 2 + pick(10), ...(stream ? { stream: true } : {}) };
  const leaves = random.next();
  return {
    ...(random.next() < 0.7
      ? { path: "/v1/chat/completions", body: { ...shared, messages: [{ role: "user", content: prompt }] } }
      : { path: "/v1/completions", body: { ...shared, prompt } }),
    abortAfterBytes: leaves < 0.08 ? pick(900) : undefined,
    abortAfterMs: leaves >= 0.08 && leaves < 0.16 ? pick(30) : undefined,
  };
}

interface RawAnswer {
  readonly status: number;
  readonly contentType: string;
  readonly text: string;
  readonly whole: boolean;
  readonly aborted: boolean;
}

/** Sends it over a socket of its own kind and judges what came back. */
export async function sendAndJudge(url: string, request: ChaosRequest): Promise<ChaosVerdict> {
  const answer = await send(url, request);
  if (answer.aborted) return "aborted";
  // An engine that answers a streamed request with plain JSON is relayed as just that.
  return answer.contentType.startsWith("text/event-stream")
    ? judgeStream(answer, request)
    : judgeComplete(answer, request);
}

function judgeComplete(answer: RawAnswer, request: ChaosRequest): ChaosVerdict {
  if (!answer.whole) return { lie: `status ${answer.status} was cut off without being a stream` };
  let body: {
    error?: { message?: unknown; type?: unknown };
    choices?: { message?: { content: string }; text?: string }[];
  };
  try {
    body = JSON.parse(answer.text) as typeof body;
  } catch {
    return { lie: `status ${answer.status} with a body that is no JSON: ${answer.text.slice(0, 80)}` };
  }
  if (answer.status !== 200) {
    return typeof body.error?.message === "string" && typeof body.error.type === "string"
      ? "explicit-error"
      : { lie: `status ${answer.status} without an OpenAI error` };
  }
  if (answer.text.includes("kv_transfer_params")) return { lie: "kv_transfer_params reached the client" };
  const choice = body.choices?.[0];
  return expectText(choice?.message?.content ?? choice?.text, request);
}

function judgeStream(answer: RawAnswer, request: ChaosRequest): ChaosVerdict {
  let reading;
  try {
    reading = readStream(answer.text);
  } catch {
    return { lie: `an event that is no JSON: ${answer.text.slice(-80)}` };
  }
  const { content, done, error, finishReason } = reading;
  if (error !== undefined) {
    if (done || finishReason !== undefined) return { lie: "an error event in a stream that looks finished" };
    return answer.whole ? { lie: "an error event, but the connection ended cleanly" } : "explicit-error";
  }
  if (!done || finishReason === undefined) {
    return {
      lie: `a stream without end, and without an error (${answer.whole ? "whole" : "cut"}): ${answer.text.slice(-200)}`,
    };
  }
  if (!answer.whole) return { lie: "a complete stream on a connection that was cut" };
  return expectText(content, request);
}

function expectText(content: string | undefined, request: ChaosRequest): ChaosVerdict {
  const expected = mockAnswer(request.body, request.body["max_tokens"] as number);
  return content?.trim() === expected.trim() ? "right" : { lie: `wrong text: ${content?.slice(0, 60)}` };
}

function send(url: string, { path, body, abortAfterBytes, abortAfterMs }: ChaosRequest): Promise<RawAnswer> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let size = 0;
    let status = 0;
    let contentType = "";
    let settled = false;
    const finish = (whole: boolean, aborted: boolean): void => {
      if (settled) return;
      settled = true;
      clearTimeout(timer);
      if (aborted) request.destroy();
      resolve({ status, contentType, text: Buffer.concat(chunks).toString(), whole, aborted });
    };
    const request = httpRequest(url + path, {
      method: "POST",
      agent: false,
      headers: { "content-type": "application/json" },
    });
    const timer =
      abortAfterMs === undefined ? undefined : setTimeout(() => finish(false, true), abortAfterMs);
    request.on("error", () => finish(false, false));
    request.on("response", (response) => {
      status = response.statusCode ?? 0;
      contentType = response.headers["content-type"] ?? "";
      if (abortAfterBytes === 0) return finish(false, true);
      response.on("data", (chunk: Buffer) => {
        chunks.push(chunk);
        size += chunk.length;
        if (abortAfterBytes !== undefined && size >= abortAfterBytes) finish(false, true);
      });
      response.on("end", () => finish(response.complete, false));
      response.on("error", () => finish(false, false));
      response.on("close", () => finish(response.complete, false));
    });
    request.end(JSON.stringify(body));
  });
}
