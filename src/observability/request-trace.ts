/** One call to an engine within a request. */
export interface LegTrace {
  readonly leg: "prefill" | "decode";
  /** Replica id within its deployment. */
  readonly replica: string;
  /** Id the engine knew it by. */
  readonly engineRequestId: string;
  /** Milliseconds since the request began. */
  readonly sentMs: number;
  /** Milliseconds since the request began at which it answered (decode: its first token) or failed. */
  answeredMs: number | undefined;
  /** Error code when it failed. */
  failure: string | undefined;
}

/** How a request ended. */
export type RequestOutcome =
  | "success"
  /** The client left or gave up. */
  | "cancelled"
  /** Answered with an error before anything was promised. */
  | "failed"
  /** Ended with an error event within the stream. */
  | "broken";

/** The story of one request: what `app.explain` tells and what metrics are made from. No prompt, no answer. */
export interface RequestTrace {
  readonly requestId: string;
  /** Deployment that served it. */
  readonly deployment: string;
  readonly model: string;
  readonly method: string;
  readonly stream: boolean;
  /** Milliseconds since 1970. */
  readonly startedWallMs: number;
  /** How it was served in the end. */
  mode: "pd" | "decode-only" | "single";
  /** Why it was served by decode alone. */
  reason: string | undefined;
  /** Milliseconds since the request began at which the answering slot was taken. */
  leasedMs: number | undefined;
  /** Milliseconds since the request began of the first token. */
  firstTokenMs: number | undefined;
  /** Milliseconds since the request began of its end. */
  endMs: number | undefined;
  /** Further tries that were made. */
  retries: number;
  readonly legs: LegTrace[];
  outcome: RequestOutcome | undefined;
  /** Error code when it did not succeed. */
  errorCode: string | undefined;
}
