import type { Clock } from "../internal/clock.ts";
import type { Random } from "../internal/random.ts";
import type { KvConnector } from "../kv-transfer/kv-connector.ts";
import type { PairPolicy } from "../routing/pair-policy.ts";
import type { DeploymentHandle } from "../serve/deployment-handle.ts";
import type { AnsweringOptions } from "./answering-options.ts";
import type { Attempts } from "./attempts.ts";
import type { KvHolds } from "./kv-holds.ts";
import type { LoraAdapters } from "./lora-adapters.ts";
import type { PDHealthMeter } from "./pd-health.ts";
import type { StrandedKv } from "./stranded-kv.ts";
import type { ResolvedPDProxyOptions } from "./pd-proxy-options.ts";
import type { PeerDirectory } from "./peer-directory.ts";
import type { TokenizeOnce } from "./tokenize-once.ts";
import type { TraceRecorder } from "./trace-recorder.ts";

/** What a handoff works with; the same for every request of a PDProxyServer. */
export interface HandoffContext {
  readonly prefill: DeploymentHandle;
  readonly prefillTimeoutMs: number;
  /** LoRA adapters of the prefill engines. */
  readonly prefillAdapters: LoraAdapters;
  /** LoRA adapters of the decode engines. */
  readonly decodeAdapters: LoraAdapters;
  readonly answering: AnsweringOptions;
  readonly connector: KvConnector;
  /** Absent when the connector needs to know nothing about the replicas. */
  readonly peers: PeerDirectory | undefined;
  /** Which prefill replicas go with a decode replica. */
  readonly pairs: PairPolicy;
  /** Absent unless prompts are to be tokenised once (`pd_tokenize_once`). */
  readonly tokenizeOnce: TokenizeOnce | undefined;
  readonly holds: KvHolds;
  readonly stranded: StrandedKv;
  readonly options: ResolvedPDProxyOptions;
  readonly clock: Clock;
  readonly random: Random;
  readonly health: PDHealthMeter;
}

/** What belongs to one request throughout its attempts. */
export interface RequestProgress {
  readonly attempts: Attempts;
  readonly recorder: TraceRecorder;
  /** Whether token ids travel with it: `doubted` once decode refused a try that had them. */
  tokenIds: "unused" | "passed" | "doubted";
  /** Prefill replicas that failed the request; asked again only when there is nobody else. */
  readonly failedPrefills: Set<string>;
}
