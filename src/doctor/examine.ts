import PQueue from "p-queue";

import type { Clock } from "../internal/clock.ts";
import type { Random } from "../internal/random.ts";
import type { KvConnector, KvTransferConfig } from "../kv-transfer/kv-connector.ts";
import { createKvConnector } from "../kv-transfer/kv-connector-registry.ts";
import { compareEngines } from "./compare-engines.ts";
import type { DoctorSubject } from "./doctor-subject.ts";
import { EngineQuestions } from "./engine-questions.ts";
import { type EngineRecord, examineEngine } from "./examine-engine.ts";
import { examinePair, type PairRecord } from "./examine-pair.ts";
import { type Finding, FindingList, type SideName } from "./finding.ts";
import {
  judgeDuplicateEngines,
  judgeEngineId,
  judgeSideChannelHost,
  judgeSideChannelPort,
} from "./judge-handles.ts";
import { canProbeHandle, type HandleFacts, probeHandle } from "./probe-handle.ts";

/** How engines are examined. */
export interface ExamineOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** Milliseconds for a question that generates nothing. */
  readonly timeoutMs: number;
  /** Milliseconds for a request that generates. */
  readonly requestTimeoutMs: number;
  /** Told what is being done, for people who wait. */
  readonly onStep?: ((text: string) => void) | undefined;
}

/** Everything that was found. */
export interface DoctorReport {
  /** Milliseconds since 1970. */
  readonly startedWallMs: number;
  readonly tookMs: number;
  /** The model requests were made for; undefined when it could not be told. */
  readonly modelId: string | undefined;
  readonly connector: string;
  readonly problems: number;
  readonly warnings: number;
  readonly findings: readonly Finding[];
  /** Requests that were sent through the library, one for each pair. */
  readonly pairs: readonly PairRecord[];
}

const enginesAtOnce = 8;

/**
 * Finds what keeps prefill/decode from working: asks every engine what it is, compares them, has every prefill engine
 * prefill, and sends requests through the library until each engine has taken part in one.
 *
 * Never throws for what an engine does: that is a finding.
 *
 * @throws ConfigurationError when the subject names no usable connector
 */
export async function examine(subject: DoctorSubject, options: ExamineOptions): Promise<DoctorReport> {
  const { clock, timeoutMs, onStep = () => undefined } = options;
  const startedWallMs = clock.wallNow();
  const began = clock.now();
  const findings = new FindingList();
  const connector = createKvConnector(subject.prefill.kvTransferConfig);
  const engines = (["prefill", "decode"] as const).flatMap((side) =>
    distinctBy(subject[side].endpoints, ({ url }) => url).map(
      (endpoint) => new EngineQuestions(side, endpoint, subject[side].client, clock, timeoutMs),
    ),
  );
  judgeConfiguration(subject, findings);
  try {
    onStep(`Asking ${engines.length} engines what they are`);
    const records = await onEach(engines, (engine) => examineEngine(engine, clock, findings));
    const modelId = subject.modelId ?? commonModel(records, findings);
    compareEngines(records, modelId, findings);
    const usable = records.filter(
      ({ usable, servedModels }) => usable && servedModels?.some(({ id }) => id === modelId) === true,
    );
    const pairs =
      modelId === undefined
        ? []
        : await examineRequests(usable, { ...options, onStep, subject, modelId, connector }, findings);
    return {
      startedWallMs,
      tookMs: clock.now() - began,
      modelId,
      connector: connector.name,
      problems: findings.count("problem"),
      warnings: findings.count("warning"),
      findings: findings.all,
      pairs,
    };
  } finally {
    await Promise.all(engines.map((engine) => engine.close()));
  }
}

function judgeConfiguration(subject: DoctorSubject, findings: FindingList): void {
  for (const note of subject.notes) {
    findings.warning("configuration", {}, note, "Change the configuration if that is not what is meant.");
  }
  const wrongRole: Readonly<Record<SideName, string>> = { prefill: "kv_consumer", decode: "kv_producer" };
  for (const side of ["prefill", "decode"] as const) {
    const role = roleOf(subject[side].kvTransferConfig);
    if (role === wrongRole[side]) {
      findings.problem(
        "kv-role",
        { side },
        `The ${side} side is configured as ${role}, which can't ${side === "prefill" ? "hand over" : "fetch"} KV.`,
        `Use kv_both, or ${side === "prefill" ? "kv_producer" : "kv_consumer"}.`,
      );
    }
    const urls = subject[side].endpoints.map(({ url }) => url);
    const twice = [...new Set(urls.filter((url, index) => urls.indexOf(url) !== index))];
    if (twice.length > 0) {
      findings.warning(
        "duplicate-endpoint",
        { side, engines: twice },
        `Named more than once on the ${side} side.`,
        "Name each engine once: it would be taken for several.",
      );
    }
  }
  const decodeUrls = new Set(subject.decode.endpoints.map(({ url }) => url));
  const both = [
    ...new Set(subject.prefill.endpoints.map(({ url }) => url).filter((url) => decodeUrls.has(url))),
  ];
  if (both.length > 0) {
    findings.problem(
      "duplicate-endpoint",
      { engines: both },
      "Named on both sides: a request may be prefilled and decoded by the same engine, which disaggregates nothing.",
      "Give prefill and decode engines of their own.",
    );
  }
}

function roleOf(config: KvTransferConfig): unknown {
  return config["kv_role"];
}

/** The one model that every engine serves. */
function commonModel(records: readonly EngineRecord[], findings: FindingList): string | undefined {
  const lists = records.flatMap(({ servedModels }) =>
    servedModels === undefined
      ? []
      : [servedModels.flatMap(({ id, parent }) => (parent === undefined ? [id] : []))],
  );
  const common = (lists[0] ?? []).filter((id) => lists.every((list) => list.includes(id)));
  if (common.length === 1) return common[0];
  // Without an answer there is nothing to say, and engines that disagree are told of by the comparison.
  if (common.length > 1) {
    findings.warning(
      "model",
      {},
      `The engines serve several models: ${common.join(", ")}.`,
      "Say which one to examine with --model; nothing was generated.",
    );
  }
  return undefined;
}

interface RequestOptions extends ExamineOptions {
  readonly onStep: (text: string) => void;
  readonly subject: DoctorSubject;
  readonly modelId: string;
  readonly connector: KvConnector;
}

async function examineRequests(
  usable: readonly EngineRecord[],
  options: RequestOptions,
  findings: FindingList,
): Promise<readonly PairRecord[]> {
  const prefills = usable.flatMap(({ engine }) => (engine.side === "prefill" ? [engine] : []));
  const decodes = usable.flatMap(({ engine }) => (engine.side === "decode" ? [engine] : []));
  const { connector, clock, onStep, timeoutMs } = options;
  const probe = (engine: EngineQuestions, list: FindingList): Promise<HandleFacts | undefined> =>
    probeHandle(engine, { ...options, timeoutMs: options.requestTimeoutMs }, list);
  let handles: readonly HandleFacts[] = [];
  if (canProbeHandle(connector) && prefills.length > 0) {
    onStep(`Having ${prefills.length} prefill engines prefill`);
    handles = (await onEach(prefills, (engine) => probe(engine, findings))).flatMap((handle) => handle ?? []);
    await onEach(handles, async (handle) => {
      judgeSideChannelHost(handle, decodes, findings);
      await judgeSideChannelPort(handle, { clock, timeoutMs }, findings);
    });
    judgeDuplicateEngines(handles, findings);
  }
  const pairs: PairRecord[] = [];
  // One after the other: counters of an engine must not see two requests at once.
  for (const [prefill, decode] of pairsOf(prefills, decodes)) {
    onStep(`Sending a request through ${prefill.url} and ${decode.url}`);
    pairs.push(
      await examinePair(prefill, decode, { ...options, timeoutMs: options.requestTimeoutMs }, findings),
    );
  }
  await onEach(handles, async (first) => {
    // Whether it still works was told before.
    const again = await probe(first.engine, new FindingList());
    if (again !== undefined) judgeEngineId(first, again, findings);
  });
  return pairs;
}

/** Pairs in which every engine that can be paired at all takes part at least once. */
function pairsOf(
  prefills: readonly EngineQuestions[],
  decodes: readonly EngineQuestions[],
): readonly (readonly [EngineQuestions, EngineQuestions])[] {
  const fits = (one: EngineQuestions, other: EngineQuestions): boolean => {
    const [group, otherGroup] = [one.endpoint.pairGroup, other.endpoint.pairGroup];
    return one.url !== other.url && (group === undefined || otherGroup === undefined || group === otherGroup);
  };
  const pairs: (readonly [EngineQuestions, EngineQuestions])[] = [];
  const used = new Set<EngineQuestions>();
  const take = (prefill: EngineQuestions, decode: EngineQuestions): void => {
    pairs.push([prefill, decode]);
    used.add(prefill).add(decode);
  };
  for (const prefill of prefills) {
    const partners = decodes.filter((decode) => fits(prefill, decode));
    const partner = partners.find((decode) => !used.has(decode)) ?? partners[0];
    if (partner !== undefined) take(prefill, partner);
  }
  for (const decode of decodes) {
    if (used.has(decode)) continue;
    const partner = prefills.find((prefill) => fits(prefill, decode));
    if (partner !== undefined) take(partner, decode);
  }
  return pairs;
}

async function onEach<T, Result>(
  items: readonly T[],
  task: (item: T) => Promise<Result>,
): Promise<readonly Result[]> {
  const queue = new PQueue({ concurrency: enginesAtOnce });
  return queue.addAll(items.map((item) => () => task(item)));
}

function distinctBy<T>(items: readonly T[], key: (item: T) => unknown): readonly T[] {
  const seen = new Set<unknown>();
  return items.filter((item) => {
    const own = key(item);
    if (seen.has(own)) return false;
    seen.add(own);
    return true;
  });
}
