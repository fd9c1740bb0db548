import type { ServeLLMError } from "../errors/serve-llm-error.ts";
import type { ByteSink, ByteSource } from "../internal/byte-stream.ts";
import type { Clock, Timer } from "../internal/clock.ts";

/**
 * Gathers what comes within an interval into one write, when `stream_batching_interval_ms` asks for it. The first
 * token is never held back (in Ray it waits for one interval).
 *
 * @param intervalMs more than 0
 */
export function batchedSource(source: ByteSource, intervalMs: number, clock: Clock): ByteSource {
  let batching: BatchingSink | undefined;
  return {
    pipe: (sink) => {
      batching = new BatchingSink(sink, intervalMs, clock);
      source.pipe(batching);
    },
    resume: () => {
      batching?.onResume();
      source.resume();
    },
  };
}

class BatchingSink implements ByteSink {
  readonly #sink: ByteSink;
  readonly #intervalMs: number;
  readonly #clock: Clock;
  #timer: Timer | undefined;
  #waiting = false;
  #chunks: Uint8Array[] = [];
  #ready = true;

  constructor(sink: ByteSink, intervalMs: number, clock: Clock) {
    this.#sink = sink;
    this.#intervalMs = intervalMs;
    this.#clock = clock;
  }

  write(chunk: Uint8Array): boolean {
    if (this.#waiting) {
      this.#chunks.push(chunk);
      return this.#ready;
    }
    this.#ready = this.#sink.write(chunk);
    this.#wait();
    return this.#ready;
  }

  /** The client has room again. */
  onResume(): void {
    this.#ready = true;
  }

  end(): void {
    this.#flush();
    this.#timer?.cancel();
    this.#sink.end();
  }

  fail(error: ServeLLMError): void {
    this.#flush();
    this.#timer?.cancel();
    this.#sink.fail(error);
  }

  #wait(): void {
    this.#waiting = true;
    if (this.#timer === undefined)
      this.#timer = this.#clock.setTimer(() => this.#onInterval(), this.#intervalMs);
    else this.#timer.refresh();
  }

  #onInterval(): void {
    this.#waiting = false;
    if (this.#chunks.length === 0) return;
    this.#flush();
    this.#wait();
  }

  #flush(): void {
    if (this.#chunks.length === 0) return;
    const chunks = this.#chunks;
    this.#chunks = [];
    this.#ready = this.#sink.write(Buffer.concat(chunks));
  }
}
