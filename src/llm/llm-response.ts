import type { ByteSource } from "../internal/byte-stream.ts";

/** A whole answer. */
export interface CompleteResponse {
  readonly kind: "complete";
  readonly status: number;
  readonly contentType: string;
  readonly body: Uint8Array;
}

/** An answer that has begun: its engine said 200 and produced a token. */
export interface StreamingResponse {
  readonly kind: "stream";
  readonly source: ByteSource;
}

/** What an LLM deployment returns; everything else is thrown as a ServeLLMError. */
export type LLMResponse = CompleteResponse | StreamingResponse;
