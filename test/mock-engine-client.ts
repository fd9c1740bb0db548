import { Agent, request, type IncomingHttpHeaders, type RequestOptions } from "node:http";

import type { MockVLLMEngine } from "../src/testing/index.ts";

/** An answer as it came over the wire. */
export interface RawAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  readonly text: string;
  /** The body in the pieces it arrived in. */
  readonly pieces: readonly Buffer[];
}

/** A request that is under way. */
export interface PendingAnswer {
  readonly answer: Promise<RawAnswer>;
  /** Resolves with the pieces so far once the body contains `text`. */
  until(text: string): Promise<string>;
  /** Closes the connection. */
  leave(): void;
}

export interface SendOptions {
  readonly method?: string;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly agent?: Agent;
}

/** Sends a request with node:http, so that what comes back is what was written. Strings go out as they are. */
export function send(url: string, options: SendOptions = {}): PendingAnswer {
  const { body } = options;
  const text = body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body);
  const settings: RequestOptions = {
    method: options.method ?? (text === undefined ? "GET" : "POST"),
    headers: { ...(text === undefined ? {} : { "content-type": "application/json" }), ...options.headers },
    agent: options.agent ?? new Agent({ keepAlive: false }),
  };
  const outgoing = request(url, settings);
  const watchers: { readonly text: string; readonly resolve: (soFar: string) => void }[] = [];
  const pieces: Buffer[] = [];
  const notify = (): void => {
    const soFar = Buffer.concat(pieces).toString();
    for (const watcher of watchers) if (soFar.includes(watcher.text)) watcher.resolve(soFar);
  };
  const answer = new Promise<RawAnswer>((resolve, reject) => {
    outgoing.on("error", reject);
    outgoing.on("response", (incoming) => {
      incoming.on("data", (piece: Buffer) => {
        pieces.push(piece);
        notify();
      });
      incoming.on("error", reject);
      incoming.on("end", () => {
        const whole = Buffer.concat(pieces);
        const { statusCode = 0, headers } = incoming;
        resolve({ status: statusCode, headers, body: whole, text: whole.toString(), pieces });
      });
    });
  });
  // Tests that leave do not wait for the answer.
  answer.catch(() => {});
  outgoing.end(text);
  return {
    answer,
    until: async (wanted) =>
      new Promise<string>((resolve) => {
        watchers.push({ text: wanted, resolve });
        notify();
      }),
    leave: () => outgoing.destroy(),
  };
}

/** `messages` with one user message. */
export function ask(text: string): readonly { readonly role: string; readonly content: string }[] {
  return [{ role: "user", content: text }];
}

/** The JSON text of the handle in prefill's answer. */
export function handleOf(answer: RawAnswer): string {
  const found = /"kv_transfer_params":(null|\{[^}]*\})/.exec(answer.text)?.[1];
  if (found === undefined) throw new Error(`no kv_transfer_params in ${answer.text}`);
  return found;
}

/** Content of all frames of a chat or completions stream. */
export function contentOf(stream: string): string {
  let content = "";
  for (const line of stream.split("\n")) {
    if (!line.startsWith("data: {")) continue;
    const frame = JSON.parse(line.slice("data: ".length)) as {
      choices?: { text?: string; delta?: { content?: string } }[];
    };
    for (const choice of frame.choices ?? []) content += choice.text ?? choice.delta?.content ?? "";
  }
  return content;
}

/** Prefill's request, as a correct proxy sends it. */
export async function prefill(
  engine: MockVLLMEngine,
  messages: unknown,
  fields: object = {},
): Promise<RawAnswer> {
  const kv_transfer_params = { do_remote_decode: true, do_remote_prefill: false };
  return send(`${engine.url}/v1/chat/completions`, {
    body: { messages, max_tokens: 1, kv_transfer_params, ...fields },
  }).answer;
}

/** Decode with the handle's text copied as it is, as a correct proxy does. */
export function decode(
  engine: MockVLLMEngine,
  messages: unknown,
  handle: string,
  fields: object = {},
): PendingAnswer {
  const body = JSON.stringify({ messages, ...fields });
  return send(`${engine.url}/v1/chat/completions`, {
    body: `${body.slice(0, -1)},"kv_transfer_params":${handle}}`,
  });
}
