import type { ServeLLMError } from "../errors/serve-llm-error.ts";
import type { ByteSink, ByteSource } from "./byte-stream.ts";

/**
 * Pulls the bytes of a source one chunk at a time: while nobody asks, the source is paused.
 *
 * @param onStop called when the consumer stops before the end
 */
export async function* iterateBytes(
  source: ByteSource,
  onStop: () => void,
): AsyncGenerator<Uint8Array, void, undefined> {
  const sink = new QueueingSink();
  source.pipe(sink);
  let finished = false;
  try {
    for (;;) {
      const chunk = sink.take();
      if (chunk !== undefined) {
        yield chunk;
        continue;
      }
      if (sink.failure !== undefined) throw sink.failure;
      if (sink.ended) {
        finished = true;
        return;
      }
      const more = sink.more();
      source.resume();
      await more;
    }
  } finally {
    if (!finished) onStop();
  }
}

class QueueingSink implements ByteSink {
  readonly #chunks: Uint8Array[] = [];
  #wake: (() => void) | undefined;
  ended = false;
  failure: ServeLLMError | undefined;

  take(): Uint8Array | undefined {
    return this.#chunks.shift();
  }

  /** Resolves when there is something to take, or the end. */
  more(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  write(chunk: Uint8Array): boolean {
    this.#chunks.push(chunk);
    this.#notify();
    return false;
  }

  end(): void {
    this.ended = true;
    this.#notify();
  }

  fail(error: ServeLLMError): void {
    this.failure = error;
    this.#notify();
  }

  #notify(): void {
    this.#wake?.();
    this.#wake = undefined;
  }
}
