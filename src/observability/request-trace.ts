import type { TokenUsage } from "./token-usage.ts";

/** A replica that was looked at for one leg, as it was then. */
export interface RoutingCandidate {
  /** Replica id within its deployment. */
  readonly replica: string;
  /** Requests this process had on it. */
  readonly inFlight: number;
  /** What its engine had last said of its own load; undefined when it was not asked. */
  readonly engineLoad:
    | { readonly running: number; readonly waiting: number; readonly kvCacheUsage: number }
    | undefined;
  /**
   * What counted in the router's choice: `load` in requests, `prefix_match` as a part of the prompt, 0 to 1. Undefined
   * when the router does not tell.
   */
  readonly scores: Readonly<Record<string, number>> | undefined;
}

/** How the replica of one leg was found. */
export interface RoutingChoice {
  /** Replicas that would have done, busy or not. */
  readonly considered: number;
  /** The router's most preferred ones, best first; at most four. */
  readonly ranked: readonly RoutingCandidate[];
  /** Milliseconds the request waited for a slot. */
  readonly queuedMs: number;
}

/** One call to an engine within a request. */
export interface LegTrace {
  readonly leg: "prefill" | "decode";
  /** Name of the deployment whose replica it went to. */
  readonly deployment: string;
  /** Replica id within its deployment. */
  readonly replica: string;
  /** The replica's name for outsiders: the endpoint's `name`, or a word that says nothing of its URL. */
  readonly publicName: string;
  /** Id the engine knew it by. */
  readonly engineRequestId: string;
  readonly choice: RoutingChoice | undefined;
  /** Milliseconds since the request began. */
  readonly sentMs: number;
  /** Milliseconds since the request began at which it answered (decode: its first token) or failed. */
  answeredMs: number | undefined;
  /** Milliseconds since the request began at which the engine was done with it. */
  endMs: number | undefined;
  /** Error code when it failed. */
  failure: string | undefined;
  /** It failed because the engine refused what the client asked for: that says nothing about the engine. */
  clientFault: boolean;
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

/** Why a request was tried again. */
export interface RetryCause {
  /** The leg that failed. */
  readonly leg: LegTrace["leg"];
  /** Code of its error. */
  readonly errorCode: string;
}

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
  /** What each of them was made for, in order. */
  readonly retryCauses: RetryCause[];
  readonly legs: LegTrace[];
  /** Events with parts of the answer that passed by; undefined for an answer that came whole. */
  events: number | undefined;
  /** Tokens as the engine counted them; undefined when it did not say. */
  usage: TokenUsage | undefined;
  outcome: RequestOutcome | undefined;
  /** Error code when it did not succeed. */
  errorCode: string | undefined;
}
