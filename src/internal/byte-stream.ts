import type { ServeLLMError } from "../errors/serve-llm-error.ts";

/** Where relayed bytes go. After `end` or `fail` nothing more is called. */
export interface ByteSink {
  /** @returns false when full: the source pauses until {@link ByteSource.resume} */
  write(chunk: Uint8Array): boolean;
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
