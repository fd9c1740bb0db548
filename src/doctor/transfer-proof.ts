import { growth, type TransferCounters } from "./metrics-facts.ts";

/** What decode's counters say of one request. */
export interface TransferProof {
  readonly verdict:
    /** Decode has the KV of the prompt, or nearly all, from prefill. */
    | "moved"
    /** Only part of it. */
    | "partly"
    /** Nothing: decode computed the prompt itself. */
    | "not-moved"
    /** Its metrics do not say. */
    | "unknown";
  /** Sentence for people. */
  readonly text: string;
  readonly promptTokens: number | undefined;
  readonly counters: TransferCounters;
}

/** From this part of the prompt on it counts as moved: the last block may be computed, or was too short to send. */
const enough = 0.5;

/**
 * Judges whether KV moved by how decode's counters grew.
 *
 * @param promptTokens tokens of the request's prompt; undefined when the answer did not say
 */
export function judgeTransfer(
  before: TransferCounters,
  after: TransferCounters,
  promptTokens: number | undefined,
): TransferProof {
  const counters = growth(before, after);
  const { transferredTokens, nixlTransfers, nixlBytes, nixlSeconds, computedTokens, requests } = counters;
  const of = promptTokens === undefined ? "" : ` of ${promptTokens}`;
  const details = [
    ...(nixlTransfers === undefined || nixlTransfers === 0 ? [] : [`${nixlTransfers} NIXL transfers`]),
    ...(nixlBytes === undefined || nixlBytes === 0 ? [] : [`${(nixlBytes / 2 ** 20).toFixed(1)} MiB`]),
    ...(nixlSeconds === undefined || nixlSeconds === 0
      ? []
      : [`${(nixlSeconds * 1000).toFixed(1)} ms of transfer`]),
    ...(computedTokens === undefined ? [] : [`${computedTokens} tokens computed by decode`]),
  ];
  const more = details.length === 0 ? "" : ` (${details.join(", ")})`;
  // Other clients' requests count too; then the numbers say less.
  const shared =
    requests !== undefined && requests > 1
      ? ` Other requests ended on it meanwhile (${requests} in all), so that the numbers are not this one's alone.`
      : "";
  const proof = (verdict: TransferProof["verdict"], text: string): TransferProof => ({
    verdict,
    text: `${text}${shared}`,
    promptTokens,
    counters,
  });
  if (transferredTokens === undefined) {
    if (nixlTransfers === undefined) {
      return proof("unknown", "Decode's metrics have no counter of transferred KV.");
    }
    return nixlTransfers > 0
      ? proof("moved", `KV moved${more}.`)
      : proof("not-moved", `Decode's NIXL counters did not move${more}.`);
  }
  if (transferredTokens === 0) {
    return nixlTransfers !== undefined && nixlTransfers > 0
      ? proof("partly", `NIXL moved KV, but decode counted no prompt token as transferred${more}.`)
      : proof("not-moved", `Decode took none${of} prompt tokens from prefill${more}.`);
  }
  const text = `Decode took ${transferredTokens}${of} prompt tokens from prefill${more}.`;
  const partly = promptTokens !== undefined && transferredTokens < promptTokens * enough;
  return proof(partly ? "partly" : "moved", text);
}

/** How two answers to one question at temperature 0 compare. */
export type TextComparison = "same" | "later" | "at-once";

/**
 * `at-once`: they differ from the start on, as when decode works with another prompt's KV. `later`: they begin alike,
 * as when rounding tips the scales of two near equal tokens.
 */
export function compareTexts(pd: string, alone: string): TextComparison {
  if (pd === alone) return "same";
  const first = pd.trimStart().split(/\s/)[0];
  return first !== "" && alone.trimStart().split(/\s/)[0] === first ? "later" : "at-once";
}
