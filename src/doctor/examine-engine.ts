import type { Clock } from "../internal/clock.ts";
import { asJsonObject, parseEngineJson } from "../protocol/engine-json.ts";
import { parsePrometheusText } from "../protocol/prometheus-text.ts";
import { readServedModels, readVersion, type ServedModel } from "../replicas/served-model.ts";
import type { EngineAnswer, EngineQuestions } from "./engine-questions.ts";
import type { FindingList, FindingSubject } from "./finding.ts";
import { type MetricsFacts, metricsFacts } from "./metrics-facts.ts";

/** What an engine said of itself. */
export interface EngineRecord {
  readonly engine: EngineQuestions;
  /** It answers, is healthy and let us in: requests can be sent to it. */
  readonly usable: boolean;
  readonly version: string | undefined;
  readonly servedModels: readonly ServedModel[] | undefined;
  readonly metrics: MetricsFacts | undefined;
}

/** Wall clocks further apart than this are told. A `Date` header has whole seconds only. */
const clockToleranceMs = 2_000;
/** The library keeps idle connections that long. */
const idleMs = 4_000;
const fullCache = 0.9;

/** Asks one engine everything that needs no other engine and generates nothing. */
export async function examineEngine(
  engine: EngineQuestions,
  clock: Clock,
  findings: FindingList,
): Promise<EngineRecord> {
  const about: FindingSubject = { side: engine.side, engines: [engine.url] };
  const nothing = { engine, version: undefined, servedModels: undefined, metrics: undefined };
  const health = await engine.get("/health");
  if ("failure" in health) {
    const { check, seen, advice } = health.failure;
    findings.problem(check, about, seen, advice);
    return { ...nothing, usable: false };
  }
  if (!judgeHealth(health, about, findings)) return { ...nothing, usable: false };
  judgeClock(health, clock.wallNow(), about, findings);
  const version = await readVersionOf(engine, about, findings);
  const models = await readModels(engine, about, findings);
  const metrics = await readMetrics(engine, about, findings);
  const awake = await judgeSleep(engine, metrics, about, findings);
  judgeKeepAlive(engine, health, about, findings);
  return { engine, usable: models !== undefined && awake, version, servedModels: models, metrics };
}

/** @returns false when nothing else is worth asking */
function judgeHealth(
  { status, headers, tookMs }: EngineAnswer,
  about: FindingSubject,
  findings: FindingList,
) {
  if (status === 200) {
    findings.ok("health", about, `Answers, and says it is healthy (${Math.round(tookMs)} ms).`);
    return true;
  }
  if (status >= 300 && status < 400) {
    const to = headers.get("location") ?? "somewhere it does not name";
    findings.problem(
      "redirect",
      about,
      `Answers ${status} and sends clients to ${to}.`,
      "Redirects are not followed: name the engine's own address, with its final scheme, host and path.",
    );
    return false;
  }
  if (status === 401 || status === 403) {
    findings.problem(
      "authentication",
      about,
      `Answers ${status} on /health, which vLLM itself leaves open.`,
      "Something in front of the engine wants credentials: name its key (--api-key-env) or headers, or go past it.",
    );
    return false;
  }
  findings.problem(
    "health",
    about,
    status === 503
      ? "Says that its engine is dead (503 on /health)."
      : `Answers ${status} on /health; vLLM answers 200 or 503.`,
    status === 503
      ? "Read vLLM's log for what ended EngineCore, and restart it; its HTTP server may live on without it."
      : "Check that the URL is vLLM's base URL, without /v1 and without a path that a gateway wants.",
  );
  return false;
}

function judgeClock(health: EngineAnswer, wallMs: number, about: FindingSubject, findings: FindingList) {
  const date = Date.parse(health.headers.get("date") ?? "");
  if (Number.isNaN(date)) return;
  // Half a second: what the header leaves out, on average.
  const offMs = date + 500 - (wallMs - health.tookMs / 2);
  if (Math.abs(offMs) <= clockToleranceMs + health.tookMs / 2) {
    findings.ok("clock", about, "Its clock agrees with this machine's.");
    return;
  }
  findings.warning(
    "clock",
    about,
    `Its clock is ${(Math.abs(offMs) / 1000).toFixed(0)} s ${offMs > 0 ? "ahead of" : "behind"} this machine's.`,
    "Synchronise clocks (chrony, NTP): logs and traces of one request can't be put in order otherwise.",
  );
}

async function readVersionOf(engine: EngineQuestions, about: FindingSubject, findings: FindingList) {
  const answer = await engine.get("/version");
  const version = "failure" in answer || answer.status !== 200 ? undefined : readVersion(answer.text);
  if (version === undefined) {
    findings.warning(
      "version",
      about,
      "Does not say which version of vLLM it is.",
      "Check that it is vLLM: versions of prefill and decode must agree, and can't be compared like this.",
    );
  }
  return version;
}

async function readModels(engine: EngineQuestions, about: FindingSubject, findings: FindingList) {
  const answer = await engine.get("/v1/models");
  if ("failure" in answer) {
    const { check, seen, advice } = answer.failure;
    findings.problem(check, about, `/v1/models: ${seen}`, advice);
    return undefined;
  }
  const { status, headers, text } = answer;
  if (status === 401 || status === 403) {
    findings.problem(
      "authentication",
      about,
      `Does not accept the API key it was given, or none was given (${status} on /v1/models).`,
      "Put the key (vLLM's --api-key or VLLM_API_KEY) into an environment variable and name that: --api-key-env NAME.",
    );
    return undefined;
  }
  const contentType = headers.get("content-type") ?? "none";
  const models = status === 200 ? readServedModels(text) : undefined;
  if (models === undefined) {
    findings.problem(
      "content-type",
      about,
      `/v1/models is answered ${status} with something that is no list of models (content type ${contentType}).`,
      "Something other than vLLM answers there, such as a gateway's page: check the URL.",
    );
  } else if (!/^application\/json\b/i.test(contentType)) {
    findings.warning(
      "content-type",
      about,
      `/v1/models is JSON but says it is ${contentType}.`,
      "A proxy in front of the engine changes headers: event streams may be held back or changed too.",
    );
  }
  return models;
}

async function readMetrics(engine: EngineQuestions, about: FindingSubject, findings: FindingList) {
  const answer = await engine.get("/metrics");
  const page = "failure" in answer || answer.status !== 200 ? undefined : answer.text;
  const facts = page === undefined ? undefined : metricsFacts(parsePrometheusText(page));
  if (facts === undefined) {
    findings.warning(
      "metrics",
      about,
      page === undefined ? "/metrics can't be read." : "/metrics has no vLLM series.",
      "Start vLLM without --disable-log-stats: routing by load, scaling and the proof that KV moves need these.",
    );
    return undefined;
  }
  const { load, prefixCaching } = facts;
  if (prefixCaching === false) {
    findings.warning(
      "prefix-caching",
      about,
      "Prefix caching is off.",
      "Start vLLM with --enable-prefix-caching unless that is intended: repeated prompts are computed each time.",
    );
  }
  if (load !== undefined) {
    const percent = `${Math.round(load.kvCacheUsage * 100)} % of its KV cache`;
    const seen = `${load.running} requests run, ${load.waiting} wait, ${percent} in use.`;
    if (load.waiting > 0 || load.kvCacheUsage >= fullCache) {
      findings.warning(
        "load",
        about,
        seen,
        "The engine is saturated: times measured now say little, and this side may need more engines.",
      );
    } else findings.ok("load", about, seen);
  }
  return facts;
}

/** @returns false when it sleeps */
async function judgeSleep(
  engine: EngineQuestions,
  metrics: MetricsFacts | undefined,
  about: FindingSubject,
  findings: FindingList,
): Promise<boolean> {
  let sleeping = metrics?.sleeping;
  if (sleeping === undefined) {
    // Only engines in development mode have this page.
    const answer = await engine.get("/is_sleeping");
    sleeping = "failure" in answer || answer.status !== 200 ? false : readSleeping(answer.text);
  }
  if (sleeping) {
    findings.problem(
      "sleeping",
      about,
      "The engine sleeps: requests to it wait for ever.",
      "Wake it (POST /wake_up), or take it out of the list.",
    );
  }
  return !sleeping;
}

function judgeKeepAlive(
  engine: EngineQuestions,
  health: EngineAnswer,
  about: FindingSubject,
  findings: FindingList,
) {
  const advice =
    "Look for a proxy that closes connections early, or raise VLLM_HTTP_TIMEOUT_KEEP_ALIVE (seconds, 5 by default).";
  const idleS = /timeout=(\d+)/.exec(health.headers.get("keep-alive") ?? "")?.[1];
  if (engine.cutOffReused) {
    findings.warning(
      "keep-alive",
      about,
      "Closes a connection when a second request comes over it, instead of before.",
      advice,
    );
  } else if (health.headers.get("connection")?.toLowerCase() === "close") {
    findings.warning(
      "keep-alive",
      about,
      "Closes the connection after each answer: every request pays for a new one.",
      advice,
    );
  } else if (idleS !== undefined && Number(idleS) * 1000 < idleMs) {
    findings.warning(
      "keep-alive",
      about,
      `Keeps idle connections for ${idleS} s only: requests may meet one that is being closed.`,
      advice,
    );
  }
}

function readSleeping(text: string): boolean {
  try {
    return asJsonObject(parseEngineJson(text))?.["is_sleeping"] === true;
  } catch {
    return false;
  }
}
