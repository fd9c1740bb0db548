// What the server tells the page. Shared with the browser: types only, and nothing of Node.

/** The application as a whole. */
export interface ApplicationPart {
  readonly kind: "application";
  readonly name: string;
  readonly status: string;
  readonly message: string;
  /** Requests being answered. */
  readonly inFlight: number;
}

/** A deployment with engines of its own. */
export interface PoolPart {
  readonly kind: "pool";
  readonly name: string;
  readonly status: string;
  readonly message: string;
  /** Requests waiting for a slot. */
  readonly queued: number;
  /** Replicas that should run; null where nobody here decides that. */
  readonly target: number | null;
  readonly states: Readonly<Record<string, number>>;
}

/** One engine as its deployment sees it. No URL, no key. */
export interface ReplicaPart {
  readonly kind: "replica";
  readonly pool: string;
  readonly id: string;
  readonly state: string;
  readonly health: string;
  readonly inFlight: number;
  /** What its engine last said of itself; null where it was not asked. */
  readonly engine: {
    readonly running: number;
    readonly waiting: number;
    /** 0 to 1, in steps of 1/1000. */
    readonly kvUsage: number;
  } | null;
  /** Requests whose KV is pinned on it. */
  readonly holds: number;
  readonly ejections: number;
  /** Calls that ended within the last minute. */
  readonly calls: number;
  /** How many of them failed. */
  readonly failures: number;
  /** Error code of the last one that failed; null when none did. */
  readonly lastFailure: string | null;
}

/** A prefill/decode deployment: whether requests are really disaggregated. */
export interface DisaggregationPart {
  readonly kind: "disaggregation";
  readonly deployment: string;
  readonly degraded: boolean;
  /** Share of the last `window` requests that should have been disaggregated and were, 0 to 1. */
  readonly handoffShare: number;
  readonly window: number;
  readonly requests: number;
  readonly disaggregated: number;
  /** Requests served by decode alone since the start, by reason. */
  readonly decodeOnly: Readonly<Record<string, number>>;
  readonly holdsOpen: number;
  /** KV holds that are over, by how they ended. */
  readonly holdsEnded: Readonly<Record<string, number>>;
  /** What its prefill and decode engines should have in common and have not, in words. */
  readonly disagreements: readonly string[];
}

/** The last minute in numbers; null where nothing was measured. */
export interface SummaryPart {
  readonly kind: "summary";
  readonly requestsPerSecond: number;
  readonly tokensPerSecond: number;
  /** Requests that ended; the shares below are of them. */
  readonly requests: number;
  /** 0 to 1. Requests that clients called off, or that an engine refused for the client's fault, are none. */
  readonly errorShare: number | null;
  /** 0 to 1, of the requests to prefill/decode deployments. */
  readonly decodeOnlyShare: number | null;
  readonly timeToFirstTokenMs: Quantiles | null;
  readonly interTokenMs: Quantiles | null;
}

/** Times that half, and 95 of 100, requests stayed under. Milliseconds, right to about 5 %. */
export interface Quantiles {
  readonly p50: number;
  readonly p95: number;
}

export type PagePart = ApplicationPart | PoolPart | ReplicaPart | DisaggregationPart | SummaryPart;

/** The requests that ended within one interval of time. */
export interface TrafficPoint {
  /** Start of the interval, milliseconds since 1970. */
  readonly at: number;
  readonly succeeded: number;
  readonly failed: number;
  /** Called off by their clients. */
  readonly cancelled: number;
  /** Refused by an engine for the client's own fault. */
  readonly refused: number;
  /** Of those that a prefill/decode deployment served. */
  readonly disaggregated: number;
  readonly decodeOnly: number;
  readonly completionTokens: number;
  readonly timeToFirstTokenMs: Quantiles | null;
  readonly interTokenMs: Quantiles | null;
}

/** What went on in a stretch of a request. */
export type SegmentKind =
  /** Waited for a slot, or to be tried again. */
  | "queue"
  | "prefill"
  /** Between prefill's answer and sending decode. */
  | "handoff"
  /** Decode, until its first token; of an answer that is no stream, all of decode. */
  | "firstToken"
  /** The tokens after the first. */
  | "stream"
  /** A call to an engine that failed. */
  | "failed";

/** A stretch of a request's time. */
export interface Segment {
  readonly kind: SegmentKind;
  /** Milliseconds since the request came. */
  readonly from: number;
  readonly to: number;
  /** Replica that was called; absent where none was. */
  readonly replica?: string | undefined;
  /** Of a call: which one. */
  readonly leg?: "prefill" | "decode" | undefined;
}

/** One request of the waterfall. No prompt, no answer, no header. */
export interface RequestRow {
  /** Unlike the request's id, unique. */
  readonly key: number;
  readonly id: string;
  /** When it came, milliseconds since 1970. */
  readonly at: number;
  readonly model: string;
  readonly method: string;
  readonly mode: string;
  /** Why decode alone served it; null when it did not. */
  readonly reason: string | null;
  /** As in a `RequestTrace`, or `refused` when an engine refused it for the client's fault; null while it runs. */
  readonly outcome: string | null;
  readonly error: string | null;
  readonly retries: number;
  readonly tokens: number | null;
  /** Milliseconds since it came, of its first token; null while there is none. */
  readonly firstTokenMs: number | null;
  /** Milliseconds since it came, of its end or of now. */
  readonly totalMs: number;
  readonly segments: readonly Segment[];
}

/** What changes with every message. */
interface LiveMessage {
  /** When it was made, milliseconds since 1970. */
  readonly at: number;
  /** Requests that run, those that run longest first; there may be more of them than these. */
  readonly running: readonly RequestRow[];
  /** All parts of a {@link FullMessage}, else what changed: by key; null for what is gone. */
  readonly parts: Readonly<Record<string, PagePart | null>>;
  /** All points of a {@link FullMessage}, else those that changed; oldest first. */
  readonly points: readonly TrafficPoint[];
  /** Requests that ended since the last message, oldest first; when there were very many, the last of them. */
  readonly ended: readonly RequestRow[];
}

/** The state of everything; replaces what the page knew. */
export interface FullMessage extends LiveMessage {
  readonly type: "full";
  /** Milliseconds that one point of the traffic stands for. */
  readonly pointMs: number;
  /** Points that the page keeps. */
  readonly maxPoints: number;
  /** Milliseconds between two messages. */
  readonly intervalMs: number;
}

/** What changed since the message before. */
export interface UpdateMessage extends LiveMessage {
  readonly type: "update";
}

export type PageMessage = FullMessage | UpdateMessage;
