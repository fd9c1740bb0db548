import type { Agent } from "undici";
import { request } from "undici";

/** What a client got. */
export interface ClientAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly text: string;
  /** Set when the connection broke before the answer was whole. */
  readonly broken: Error | undefined;
}

/** Posts JSON and reads everything, also of an answer that breaks off. */
export async function post(
  url: string,
  body: unknown,
  options: {
    readonly headers?: Record<string, string>;
    readonly signal?: AbortSignal;
    readonly dispatcher?: Agent;
  } = {},
): Promise<ClientAnswer> {
  const response = await request(url, {
    method: "POST",
    headers: { "content-type": "application/json", ...options.headers },
    body: typeof body === "string" ? body : JSON.stringify(body),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
    ...(options.dispatcher === undefined ? {} : { dispatcher: options.dispatcher }),
  });
  const chunks: Buffer[] = [];
  let broken: Error | undefined;
  try {
    for await (const chunk of response.body) chunks.push(chunk as Buffer);
  } catch (error) {
    broken = error as Error;
  }
  return {
    status: response.statusCode,
    headers: response.headers,
    text: Buffer.concat(chunks).toString(),
    broken,
  };
}

/** A stream as a careful client understands it. */
export interface StreamReading {
  readonly content: string;
  readonly finishReason: string | undefined;
  readonly done: boolean;
  /** An `{"error":...}` event. */
  readonly error: { readonly message: string; readonly code: unknown } | undefined;
  readonly usage: unknown;
}

/** Reads the events of a chat or completions stream. */
export function readStream(text: string): StreamReading {
  let content = "";
  let finishReason: string | undefined;
  let done = false;
  let error: StreamReading["error"];
  let usage: unknown;
  for (const event of text.split("\n\n")) {
    if (event === "") continue;
    const data = event.replace(/^data: /, "");
    if (data === "[DONE]") {
      done = true;
      continue;
    }
    const chunk = JSON.parse(data) as {
      error?: StreamReading["error"];
      usage?: unknown;
      choices?: { delta?: { content?: string }; text?: string; finish_reason?: string | null }[];
    };
    if (chunk.error !== undefined) error = chunk.error;
    if (chunk.usage !== undefined) usage = chunk.usage;
    for (const choice of chunk.choices ?? []) {
      content += choice.delta?.content ?? choice.text ?? "";
      finishReason = choice.finish_reason ?? finishReason;
    }
  }
  return { content, finishReason, done, error, usage };
}
