import type { OpenAIErrorBody } from "./openai-types.ts";

const encoder = new TextEncoder();

/**
 * The event that tells a client within a stream that it failed: `data: {"error":...}` and a blank line.
 *
 * JSON escapes line breaks, so nothing in the message can start an event of its own.
 */
export function errorEvent(body: OpenAIErrorBody): Uint8Array {
  return encoder.encode(`data: ${JSON.stringify(body)}\n\n`);
}

/** The event by which an engine, and this library, say that a stream is complete. */
export const doneText = "data: [DONE]\n\n";
const done = encoder.encode(doneText);

/** The end of a complete stream: `data: [DONE]` and a blank line. A fresh copy, because sockets may keep it. */
export function doneEvent(): Uint8Array {
  return done.slice();
}
