import type { Clock } from "../internal/clock.ts";
import type { KvConnector } from "../kv-transfer/kv-connector.ts";
import type { RequestTrace } from "../observability/request-trace.ts";
import { asJsonObject, parseEngineJson } from "../protocol/engine-json.ts";
import { parsePrometheusText } from "../protocol/prometheus-text.ts";
import type { EngineQuestions } from "./engine-questions.ts";
import type { FindingList, FindingSubject } from "./finding.ts";
import { type LibraryRequestOptions, sendThroughLibrary } from "./library-request.ts";
import { transferCounters, type TransferCounters } from "./metrics-facts.ts";
import { probeBody, type ProbeBody, shortText, withOtherSalt } from "./probe-prompt.ts";
import { compareTexts, judgeTransfer, type TransferProof } from "./transfer-proof.ts";

/** Times of one request, milliseconds. Undefined: that step was not reached. */
export interface PairTimes {
  /** Prefill's call. */
  readonly prefillMs: number | undefined;
  /** From prefill's answer until decode was sent. */
  readonly handoffMs: number | undefined;
  /** From decode's request to its first token; holds the transfer of the KV. */
  readonly decodeFirstTokenMs: number | undefined;
  /** From the start to the first token. */
  readonly firstTokenMs: number | undefined;
  readonly totalMs: number | undefined;
  /** The same request to decode alone, from start to end; undefined when it was not made or failed. */
  readonly decodeAloneMs: number | undefined;
}

/** One request through the library over one engine of each side. */
export interface PairRecord {
  /** Base URLs. */
  readonly prefill: string;
  readonly decode: string;
  /** True when both engines took part. */
  readonly disaggregated: boolean;
  readonly times: PairTimes;
  readonly proof: TransferProof | undefined;
}

/** What a pair is examined with. */
export interface PairOptions extends LibraryRequestOptions {
  readonly connector: KvConnector;
}

/** vLLM counts when it prepares its next step, which may be after the answer. */
const counterPatienceMs = 3_000;
const counterPauseMs = 200;

/** Sends a request through the library to this pair, and looks for traces of KV that moved. */
export async function examinePair(
  prefill: EngineQuestions,
  decode: EngineQuestions,
  options: PairOptions,
  findings: FindingList,
): Promise<PairRecord> {
  const { clock, random, connector } = options;
  const about: FindingSubject = { engines: [prefill.url, decode.url] };
  const body = probeBody(options.modelId, random);
  const before = await readCounters(decode);
  const prefillBefore = await readCounters(prefill);
  const { trace, text, promptTokens, failure } = await sendThroughLibrary(prefill, decode, body, options);
  const disaggregated = judgeRequest(trace, failure, about, findings);
  let proof: TransferProof | undefined;
  if (disaggregated) {
    proof = judgeTransfer(before, await settledCounters(decode, before, clock), promptTokens);
    judgeProof(proof, connector, about, findings);
    judgeFailures(
      before,
      await readCounters(decode),
      prefillBefore,
      await readCounters(prefill),
      about,
      findings,
    );
  }
  const alone =
    connector.decodeNeedsPrefill === true || failure !== undefined
      ? undefined
      : await askDecodeAlone(decode, withOtherSalt(body, random), options.timeoutMs, findings);
  if (disaggregated && alone !== undefined && text !== undefined) {
    judgeTexts(text, alone.text, about, findings);
  }
  return {
    prefill: prefill.url,
    decode: decode.url,
    disaggregated,
    times: timesOf(trace, alone?.tookMs),
    proof,
  };
}

/** @returns true when both engines took part */
function judgeRequest(
  trace: RequestTrace | undefined,
  failure: string | undefined,
  about: FindingSubject,
  findings: FindingList,
): boolean {
  const failedLegs = (trace?.legs ?? []).flatMap(({ leg, failure: code }) =>
    code === undefined ? [] : [`${leg}: ${code}`],
  );
  const legs = failedLegs.length === 0 ? "" : ` (${failedLegs.join(", ")})`;
  if (failure !== undefined) {
    findings.problem(
      "pd-request",
      about,
      `A request through the library was ${failure}${legs}`,
      "docs/errors.md explains each code. A decode that fails here and answers alone could not fetch the KV: see side-channel-host, version, kv-dtype and its log.",
    );
    return false;
  }
  if (trace === undefined) return false;
  if (trace.mode !== "pd") {
    findings.problem(
      "pd-mode",
      about,
      `A request was served by decode alone: ${trace.reason ?? "no reason given"}${legs}.`,
      "Prefill engines stand idle like this. Solve the findings about prefill; if it is meant to be so, change the proxy's policy.",
    );
    return false;
  }
  const total = trace.endMs === undefined ? "" : ` in ${Math.round(trace.endMs)} ms`;
  findings.ok("pd-request", about, `A request through the library was answered${total}.`);
  return true;
}

function judgeProof(
  { verdict, text }: TransferProof,
  connector: KvConnector,
  about: FindingSubject,
  findings: FindingList,
): void {
  switch (verdict) {
    case "moved":
      findings.ok("kv-moved", about, text);
      return;
    case "unknown":
      findings.warning(
        "kv-moved",
        about,
        `${text} Whether KV moved can't be proved.`,
        "Start decode without --disable-log-stats, in a version that has vllm:prompt_tokens_by_source or vllm:nixl_* counters.",
      );
      return;
    case "partly":
      findings.warning(
        "kv-moved",
        about,
        text,
        "Compare block sizes and versions; old versions send whole blocks only, and a large block then leaves much behind.",
      );
      return;
    case "not-moved":
      findings.problem(
        "kv-moved",
        about,
        text,
        `The answer was right, but each prompt is computed twice. Give decode the same --kv-transfer-config (${connector.name}) and read its log for transfer errors.`,
      );
  }
}

function judgeFailures(
  decodeBefore: TransferCounters,
  decodeAfter: TransferCounters,
  prefillBefore: TransferCounters,
  prefillAfter: TransferCounters,
  about: FindingSubject,
  findings: FindingList,
): void {
  const grown = (before: number | undefined, after: number | undefined): number =>
    after === undefined ? 0 : after - (before ?? 0);
  const failed = grown(decodeBefore.failedTransfers, decodeAfter.failedTransfers);
  const expired = grown(prefillBefore.expired, prefillAfter.expired);
  if (failed > 0) {
    findings.problem(
      "kv-transfer-failures",
      about,
      `Decode counted ${failed} failed NIXL transfers during the request.`,
      "Read decode's log; check the fabric (UCX_NET_DEVICES, RDMA devices in the container) between these two machines.",
    );
  }
  if (expired > 0) {
    findings.warning(
      "kv-transfer-failures",
      about,
      `Prefill gave up the KV of ${expired} requests during this one: nobody fetched it in time.`,
      "Prefill outruns decode, or clients leave in between. Add decode engines, or raise kv_lease_duration.",
    );
  }
}

async function askDecodeAlone(
  decode: EngineQuestions,
  body: ProbeBody,
  timeoutMs: number,
  findings: FindingList,
): Promise<{ readonly text: string; readonly tookMs: number } | undefined> {
  const about: FindingSubject = { side: "decode", engines: [decode.url] };
  const json = Buffer.from(JSON.stringify({ ...body, stream: false }));
  const answer = await decode.post("/v1/completions", json, [], timeoutMs);
  if ("failure" in answer || answer.status !== 200) {
    findings.problem(
      "decode-request",
      about,
      "failure" in answer
        ? `The same request to decode alone failed: ${answer.failure.seen}`
        : `The same request to decode alone was answered ${answer.status}: ${shortText(answer.text)}`,
      "Fix this engine first: it does not generate without prefill either.",
    );
    return undefined;
  }
  const text = textOf(answer.text);
  if (text !== undefined) return { text, tookMs: answer.tookMs };
  findings.problem(
    "decode-request",
    about,
    `The same request to decode alone was answered 200 without a text: ${shortText(answer.text)}`,
    "Something other than vLLM answers /v1/completions there: check the URL, and what is in front of the engine.",
  );
  return undefined;
}

/** The text of a completion; undefined when it is none. */
function textOf(answer: string): string | undefined {
  try {
    const choices = asJsonObject(parseEngineJson(answer))?.["choices"];
    const text = asJsonObject(Array.isArray(choices) ? (choices[0] as unknown) : undefined)?.["text"];
    return typeof text === "string" ? text : undefined;
  } catch {
    return undefined;
  }
}

function judgeTexts(pd: string, alone: string, about: FindingSubject, findings: FindingList): void {
  const comparison = compareTexts(pd, alone);
  if (comparison === "same") {
    findings.ok("text", about, "Decode gives the same text with prefill's KV as with its own.");
    return;
  }
  const seen = `At temperature 0 the text with prefill's KV (${JSON.stringify(pd)}) is not the one of decode alone (${JSON.stringify(alone)}).`;
  if (comparison === "later") {
    findings.warning(
      "text",
      about,
      seen,
      "They begin alike: rounding (other tensor parallel sizes, kernels or quantisation) may do that. Run it again; if it stays, compare weights and KV types.",
    );
  } else {
    findings.problem(
      "text",
      about,
      seen,
      "Decode works with KV that does not belong to the prompt: compare weights, versions, block size and KV type of both sides, and do not serve from this pair.",
    );
  }
}

async function readCounters(engine: EngineQuestions): Promise<TransferCounters> {
  const answer = await engine.get("/metrics");
  const page = "failure" in answer || answer.status !== 200 ? "" : answer.text;
  return transferCounters(parsePrometheusText(page));
}

/** Decode's counters once they show a transfer, or when they have had the time to. */
async function settledCounters(
  decode: EngineQuestions,
  before: TransferCounters,
  clock: Clock,
): Promise<TransferCounters> {
  const until = clock.now() + counterPatienceMs;
  for (;;) {
    const after = await readCounters(decode);
    const { verdict } = judgeTransfer(before, after, undefined);
    if (verdict !== "not-moved" || clock.now() >= until) return after;
    await new Promise<void>((resolve) => clock.setTimer(resolve, counterPauseMs, { keepAlive: true }));
  }
}

function timesOf(trace: RequestTrace | undefined, decodeAloneMs: number | undefined): PairTimes {
  const last = (leg: "prefill" | "decode") => trace?.legs.filter((each) => each.leg === leg).at(-1);
  const prefill = last("prefill");
  const decode = last("decode");
  const between = (from: number | undefined, to: number | undefined): number | undefined =>
    from === undefined || to === undefined ? undefined : Math.max(0, to - from);
  return {
    prefillMs: between(prefill?.sentMs, prefill?.answeredMs),
    // Some connectors send both at once.
    handoffMs: between(prefill?.answeredMs, decode?.sentMs),
    decodeFirstTokenMs: between(decode?.sentMs, decode?.answeredMs),
    firstTokenMs: trace?.firstTokenMs,
    totalMs: trace?.endMs,
    decodeAloneMs,
  };
}
