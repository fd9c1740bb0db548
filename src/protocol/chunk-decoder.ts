import { createParser } from "eventsource-parser";
import type { EngineErrorBody } from "../errors/engine-response-error.ts";
import { engineErrorFromValue, errorEventStatus } from "./engine-error-body.ts";
import { asJsonObject, parseEngineJson } from "./engine-json.ts";

/** Options of {@link decodeEventStream}. */
export interface ChunkDecoderOptions {
  /** The error to throw for an error event. `status` is the HTTP status it stands for. */
  readonly errorFromEvent: (body: EngineErrorBody, status: number) => Error;
  /** The error to throw for an event that is no JSON object, or larger than {@link maxEventLength}. */
  readonly errorFromMalformed: (cause: unknown) => Error;
  /** The largest event, in UTF-16 units. @default 67108864 (64 Mi) */
  readonly maxEventLength?: number | undefined;
}

const defaultMaxEventLength = 64 * 1024 * 1024;

/**
 * The chunks of an OpenAI event stream as parsed objects, for callers without HTTP between. Ends at `[DONE]` or at
 * the end of the source; whether the answer was complete is the source's to say (by throwing).
 *
 * The source is closed (`return()`) when the consumer stops early. 64-bit integers lose precision here.
 *
 * @throws what the two callbacks of the options build, and what the source throws
 */
export async function* decodeEventStream<Chunk = unknown>(
  source: AsyncIterable<Uint8Array>,
  options: ChunkDecoderOptions,
): AsyncGenerator<Chunk, void, undefined> {
  const decoder = new TextDecoder();
  let pending: { readonly data: string; readonly isError: boolean }[] = [];
  let overflow: unknown;
  const parser = createParser({
    onEvent: ({ data, event }) => pending.push({ data, isError: event === "error" }),
    onError: (error) => {
      if (error.type === "max-buffer-size-exceeded") overflow = error;
    },
    maxBufferSize: options.maxEventLength ?? defaultMaxEventLength,
  });

  /** True when `[DONE]` was among the events. */
  function* drain(): Generator<Chunk, boolean, undefined> {
    const events = pending;
    pending = [];
    for (const { data, isError } of events) {
      if (data === "[DONE]") return true;
      yield readChunk(data, isError, options) as Chunk;
    }
    if (overflow !== undefined) throw options.errorFromMalformed(overflow);
    return false;
  }

  for await (const bytes of source) {
    parser.feed(decoder.decode(bytes, { stream: true }));
    if (yield* drain()) return;
  }
  // A last event without its blank line is still an event.
  parser.feed(`${decoder.decode()}\n\n`);
  yield* drain();
}

function readChunk(data: string, isError: boolean, options: ChunkDecoderOptions): object {
  let value: unknown;
  try {
    value = parseEngineJson(data);
  } catch (error) {
    if (!isError) throw options.errorFromMalformed(error);
    value = data;
  }
  const chunk = asJsonObject(value);
  if (isError || (chunk?.["error"] !== undefined && chunk["error"] !== null)) {
    const status = errorEventStatus(value);
    throw options.errorFromEvent(engineErrorFromValue(status, value), status);
  }
  if (chunk === undefined)
    throw options.errorFromMalformed(new TypeError("Expected an event with a JSON object."));
  return chunk;
}
