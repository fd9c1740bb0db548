import type { ServeLLMError } from "../errors/serve-llm-error.ts";

/** Where relayed bytes go. After `end` or `fail` nothing more is called. */
export interface ByteSink {
  /**
   * @param latin1 the same bytes, each as one character, from a source that has them so and nothing more in this turn:
   *   who gathers what comes need not wait
   * @returns false when full: the source pauses until {@link ByteSource.resume}
   */
  write(chunk: Uint8Array, latin1?: string): boolean;
  end(): void;
  /** The stream broke: it must not look complete to whoever reads it. */
  fail(error: ServeLLMError): void;
}

/** Bytes on their way to a client: pushed, with backpressure, without a promise for each chunk. */
export interface ByteSource {
  /** Starts the flow. Call once. */
  pipe(sink: ByteSink): void;
  /** Goes on after the sink was full. */
  resume(): void;
}
