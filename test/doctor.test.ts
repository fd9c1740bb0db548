import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";

import { type DoctorSubject, subjectOfUrls, type EngineUrls } from "../src/doctor/doctor-subject.ts";
import { type DoctorReport, examine } from "../src/doctor/examine.ts";
import { type CheckName, checkNames, type Finding, type Severity } from "../src/doctor/finding.ts";
import { systemClock } from "../src/internal/clock.ts";
import { seededRandom } from "../src/testing/seeded-random.ts";
import { type FaultRule, MockVLLMEngine, type MockVLLMEngineOptions } from "../src/testing/index.ts";

const started: MockVLLMEngine[] = [];
/** Everything that any test here made the doctor find. */
const everything: Finding[] = [];

afterEach(async () => {
  await Promise.all(started.splice(0).map((engine) => engine.stop()));
});

async function engine(
  role: "prefill" | "decode",
  options: MockVLLMEngineOptions = {},
): Promise<MockVLLMEngine> {
  const made = new MockVLLMEngine({ role, ...options });
  started.push(made);
  await made.start();
  return made;
}

/** Examines one prefill and one decode engine. */
async function diagnose(
  options: {
    readonly prefill?: MockVLLMEngineOptions;
    readonly decode?: MockVLLMEngineOptions;
    readonly urls?: Partial<EngineUrls>;
  } = {},
): Promise<DoctorReport & { readonly prefillUrl: string; readonly decodeUrl: string }> {
  const prefill = await engine("prefill", options.prefill);
  const decode = await engine("decode", options.decode);
  const report = await examineUrls({ prefill: [prefill.url], decode: [decode.url], ...options.urls });
  return { ...report, prefillUrl: prefill.url, decodeUrl: decode.url };
}

function examineUrls(urls: EngineUrls): Promise<DoctorReport> {
  return examineSubject(subjectOfUrls(urls));
}

async function examineSubject(subject: DoctorSubject): Promise<DoctorReport> {
  const report = await examine(subject, {
    clock: systemClock,
    random: seededRandom(1),
    timeoutMs: 1_000,
    requestTimeoutMs: 5_000,
  });
  everything.push(...report.findings);
  return report;
}

function found(report: DoctorReport, severity: Severity): readonly CheckName[] {
  return report.findings.flatMap((finding) => (finding.severity === severity ? [finding.check] : []));
}

function only(report: DoctorReport, check: CheckName): Finding {
  const matching = report.findings.filter((finding) => finding.check === check && finding.severity !== "ok");
  expect(
    matching,
    report.findings.map(({ check, severity, seen }) => `${severity} ${check}: ${seen}`).join("\n"),
  ).toHaveLength(1);
  return matching[0]!;
}

/** Answers this page itself. */
function page(
  path: string,
  body: string,
  more: Partial<Extract<FaultRule["fault"], { kind: "status" }>> = {},
): FaultRule {
  return { match: { path }, fault: { kind: "status", status: 200, body, ...more } };
}

const metricsPage = (cache: string, more = ""): FaultRule =>
  page("/metrics", `vllm:num_requests_running 0\nvllm:cache_config_info{${cache}} 1.0\n${more}`);

describe("healthy engines", () => {
  it("are found healthy, with proof that KV moved", async () => {
    const report = await diagnose();
    expect(found(report, "problem")).toEqual([]);
    expect(found(report, "warning")).toEqual([]);
    expect(report).toMatchObject({ modelId: "mock-model", connector: "NixlConnector", problems: 0 });
    const [pair] = report.pairs;
    expect(pair).toMatchObject({ disaggregated: true, proof: { verdict: "moved" } });
    const { promptTokens, counters } = pair!.proof!;
    expect(counters.transferredTokens).toBe(promptTokens);
    const { prefillMs, handoffMs, decodeFirstTokenMs, firstTokenMs, totalMs, decodeAloneMs } = pair!.times;
    expect(decodeAloneMs).toBeGreaterThan(0);
    for (const time of [prefillMs, handoffMs, decodeFirstTokenMs]) expect(time).toBeGreaterThanOrEqual(0);
    // The phases follow each other and are parts of the whole.
    expect(prefillMs! + handoffMs! + decodeFirstTokenMs!).toBeLessThanOrEqual(firstTokenMs! + 1e-6);
    expect(firstTokenMs!).toBeLessThanOrEqual(totalMs!);
    expect(found(report, "ok")).toEqual(
      expect.arrayContaining([
        "health",
        "version",
        "weights",
        "max-model-len",
        "block-size",
        "clock",
        "connector",
        "side-channel-host",
        "side-channel-port",
        "engine-id",
        "pd-request",
        "kv-moved",
        "text",
      ]),
    );
  });

  it("all take part in a request, whatever their numbers", async () => {
    const prefills = await Promise.all([engine("prefill"), engine("prefill"), engine("prefill")]);
    const decodes = [await engine("decode")];
    const report = await examineUrls({
      prefill: prefills.map(({ url }) => url),
      decode: decodes.map(({ url }) => url),
    });
    expect(found(report, "problem")).toEqual([]);
    expect(report.pairs.map(({ prefill }) => prefill).sort()).toEqual(prefills.map(({ url }) => url).sort());
    const other = await examineUrls({
      prefill: decodes.map(({ url }) => url),
      decode: prefills.map(({ url }) => url),
    });
    expect(other.pairs.map(({ decode }) => decode).sort()).toEqual(prefills.map(({ url }) => url).sort());
  });

  it("leave nothing behind: no connection, no request", async () => {
    const prefill = await engine("prefill");
    const decode = await engine("decode");
    await examineUrls({ prefill: [prefill.url], decode: [decode.url] });
    await Promise.all([prefill.idle(), decode.idle()]);
    expect([prefill.openResponses, decode.openResponses]).toEqual([0, 0]);
    expect(prefill.ledger.rejected).toEqual([]);
  });

  it("need no handle where KV moves through a store", async () => {
    const both: MockVLLMEngineOptions = { kvConnector: "LMCacheConnectorV1" };
    const report = await diagnose({
      prefill: both,
      decode: both,
      urls: { kvConnector: "LMCacheConnectorV1" },
    });
    expect(found(report, "ok")).toContain("pd-request");
    expect(found(report, "ok")).not.toContain("connector");
    // The mocks' store is not shared here: nothing can have moved, and that is what it says.
    expect(only(report, "kv-moved").severity).toBe("problem");
  });
});

describe("planted misconfigurations", () => {
  it("dns: a name that does not resolve", async () => {
    const decode = await engine("decode");
    const report = await examineUrls({
      prefill: [`http://${"a".repeat(64)}.invalid:8000`],
      decode: [decode.url],
    });
    expect(only(report, "dns")).toMatchObject({ severity: "problem", side: "prefill" });
  });

  it("connection-refused: nobody listens", async () => {
    const gone = await engine("prefill");
    await gone.stop();
    const decode = await engine("decode");
    const report = await examineUrls({ prefill: [gone.url], decode: [decode.url] });
    expect(only(report, "connection-refused")).toMatchObject({ severity: "problem", engines: [gone.url] });
    expect(report.pairs).toEqual([]);
  });

  it("tls: https to a port without it", async () => {
    const prefill = await engine("prefill");
    const decode = await engine("decode");
    const report = await examineUrls({
      prefill: [prefill.url.replace("http:", "https:")],
      decode: [decode.url],
    });
    const finding = only(report, "tls");
    expect(finding.severity).toBe("problem");
    expect(finding.advice).toContain("http://");
  });

  it("no-answer: takes connections and says nothing", async () => {
    const report = await diagnose({
      decode: { faults: [{ match: { path: "/health" }, fault: { kind: "stallBeforeHeaders" } }] },
    });
    expect(only(report, "no-answer")).toMatchObject({ severity: "problem", side: "decode" });
  });

  it("connection-broken: resets every connection", async () => {
    const report = await diagnose({
      decode: { faults: [{ match: { path: "/health" }, fault: { kind: "resetAtByte", byte: 0 } }] },
    });
    expect(only(report, "connection-broken").severity).toBe("problem");
  });

  it("keep-alive: connections are closed on their second request", async () => {
    const report = await diagnose({
      decode: { faults: [{ match: { path: "/version" }, fault: { kind: "closeOnReuse" } }] },
    });
    expect(only(report, "keep-alive")).toMatchObject({ severity: "warning", side: "decode" });
    expect(found(report, "problem")).toEqual([]);
  });

  it("keep-alive: idle connections are kept for too short", async () => {
    const report = await diagnose({
      prefill: { faults: [page("/health", "", { headers: { "keep-alive": "timeout=1" } })] },
    });
    expect(only(report, "keep-alive")).toMatchObject({ severity: "warning", side: "prefill" });
  });

  it("redirect: http sends to another address", async () => {
    const report = await diagnose({
      prefill: {
        faults: [{ match: { path: "/health" }, fault: { kind: "redirect", location: "https://x/health" } }],
      },
    });
    expect(only(report, "redirect").seen).toContain("https://x/health");
  });

  it("health: the engine is dead and its server lives", async () => {
    const report = await diagnose({
      prefill: { faults: [{ match: { path: "/health" }, fault: { kind: "status", status: 503, body: "" } }] },
    });
    expect(only(report, "health")).toMatchObject({ severity: "problem", side: "prefill" });
  });

  it("authentication: no key, a wrong one, and the right one", async () => {
    const both: MockVLLMEngineOptions = { apiKey: "secret-key" };
    const none = await diagnose({ prefill: both, decode: both });
    expect(found(none, "problem")).toEqual(["authentication", "authentication"]);
    const wrong = await diagnose({ decode: both, urls: { apiKey: "other" } });
    expect(only(wrong, "authentication").side).toBe("decode");
    const right = await diagnose({ prefill: both, decode: both, urls: { apiKey: "secret-key" } });
    expect(found(right, "problem")).toEqual([]);
    expect(JSON.stringify([none, wrong, right])).not.toContain("secret-key");
  });

  it("content-type: a gateway's page instead of vLLM", async () => {
    const report = await diagnose({ prefill: { faults: [page("/v1/models", "<html>Sign in</html>")] } });
    expect(only(report, "content-type")).toMatchObject({ severity: "problem", side: "prefill" });
  });

  it("content-type: JSON under another name", async () => {
    const report = await diagnose({
      prefill: {
        faults: [{ match: { path: "/v1/models" }, fault: { kind: "contentType", value: "text/html" } }],
      },
    });
    expect(only(report, "content-type").severity).toBe("warning");
    expect(found(report, "ok")).toContain("kv-moved");
  });

  it("version: the sides differ", async () => {
    const report = await diagnose({ decode: { version: "0.26.0" } });
    const finding = only(report, "version");
    expect(finding.severity).toBe("problem");
    expect(finding.seen).toContain("0.27.1");
    expect(finding.seen).toContain("0.26.0");
  });

  it("model: one side serves another", async () => {
    const asked = await diagnose({ decode: { model: "other" } });
    expect(found(asked, "problem")).toEqual(["model", "model"]);
    expect(asked).toMatchObject({ modelId: undefined, pairs: [] });
    const named = await diagnose({ decode: { model: "other" }, urls: { modelId: "mock-model" } });
    expect(only(named, "model")).toMatchObject({ severity: "problem", side: "decode" });
  });

  it("weights: one name, other weights", async () => {
    const card = { id: "mock-model", root: "/models/older", parent: null, max_model_len: 4096 };
    const list = JSON.stringify({ object: "list", data: [card] });
    const report = await diagnose({ decode: { faults: [page("/v1/models", list)] } });
    expect(only(report, "weights").seen).toContain("/models/older");
  });

  it("max-model-len: one side takes longer prompts", async () => {
    const report = await diagnose({ decode: { maxModelLen: 2048 } });
    expect(only(report, "max-model-len")).toMatchObject({ severity: "warning" });
  });

  it("lora: an adapter on one side only", async () => {
    const report = await diagnose({ prefill: { adapters: { sql: "/adapters/sql" } } });
    expect(only(report, "lora")).toMatchObject({
      severity: "problem",
      side: "decode",
      engines: [report.decodeUrl],
    });
    const elsewhere = await diagnose({
      prefill: { adapters: { sql: "/adapters/sql" } },
      decode: { adapters: { sql: "/adapters/sql-2" } },
    });
    expect(only(elsewhere, "lora").severity).toBe("warning");
  });

  it("metrics: started with --disable-log-stats", async () => {
    const report = await diagnose({ decode: { faults: [page("/metrics", "python_info 1.0\n")] } });
    expect(only(report, "metrics")).toMatchObject({ severity: "warning", side: "decode" });
    // Without counters nothing is claimed.
    expect(only(report, "kv-moved").severity).toBe("warning");
    expect(report.pairs[0]?.proof?.verdict).toBe("unknown");
  });

  it("block-size: the sides differ", async () => {
    const smaller = await diagnose({ prefill: { blockSize: 16 }, decode: { blockSize: 64 } });
    expect(only(smaller, "block-size").severity).toBe("warning");
    const larger = await diagnose({ prefill: { blockSize: 64 }, decode: { blockSize: 16 } });
    expect(only(larger, "block-size").severity).toBe("problem");
  });

  it("kv-dtype: the sides differ", async () => {
    const report = await diagnose({
      prefill: { faults: [metricsPage('block_size="16",cache_dtype="fp8"')] },
      decode: {
        faults: [
          metricsPage(
            'block_size="16",cache_dtype="auto"',
            'vllm:prompt_tokens_by_source_total{source="external_kv_transfer"} 0\n',
          ),
        ],
      },
    });
    const finding = only(report, "kv-dtype");
    expect(finding.severity).toBe("problem");
    expect(finding.seen).toContain("fp8");
    // Its counters stand still.
    expect(only(report, "kv-moved").severity).toBe("problem");
  });

  it("prefix-caching: switched off", async () => {
    const report = await diagnose({
      prefill: { faults: [metricsPage('block_size="16",enable_prefix_caching="False"')] },
    });
    expect(only(report, "prefix-caching")).toMatchObject({ severity: "warning", side: "prefill" });
  });

  it("clock: an engine lives in another hour", async () => {
    const date = new Date(Date.now() - 3_600_000).toUTCString();
    const report = await diagnose({ prefill: { faults: [page("/health", "", { headers: { date } })] } });
    expect(only(report, "clock").seen).toMatch(/\b3(599|60\d) s behind/);
  });

  it("load: requests wait", async () => {
    const report = await diagnose({
      prefill: { faults: [page("/metrics", "vllm:num_requests_running 4\nvllm:num_requests_waiting 7\n")] },
    });
    expect(only(report, "load").seen).toContain("7 wait");
  });

  it("sleeping: an engine was put to sleep", async () => {
    const decode = await engine("decode");
    const prefill = await engine("prefill");
    await fetch(`${prefill.url}/sleep`, { method: "POST" });
    const report = await examineUrls({ prefill: [prefill.url], decode: [decode.url] });
    expect(only(report, "sleeping")).toMatchObject({ severity: "problem", side: "prefill" });
    expect(report.pairs).toEqual([]);
  });

  it("connector: prefill has none", async () => {
    const report = await diagnose({ prefill: { kvConnector: null } });
    expect(only(report, "connector")).toMatchObject({ severity: "problem", side: "prefill" });
    expect(only(report, "pd-mode").severity).toBe("problem");
  });

  it("handle: prefill answers with one of another shape", async () => {
    const report = await diagnose({
      prefill: {
        faults: [
          { match: { phase: "prefill" }, fault: { kind: "wrongKv", replace: { do_remote_prefill: false } } },
        ],
      },
    });
    expect(only(report, "handle").seen).toContain("do_remote_prefill");
  });

  it("side-channel-port: nobody listens where the handle points", async () => {
    const port = await freePort();
    const report = await diagnose({
      prefill: {
        faults: [{ match: { phase: "prefill" }, fault: { kind: "wrongKv", replace: { remote_port: port } } }],
      },
    });
    expect(only(report, "side-channel-port")).toMatchObject({ severity: "warning", side: "prefill" });
    expect(only(report, "side-channel-port").seen).toContain("ECONNREFUSED");
    // And decode indeed could not fetch it.
    expect(found(report, "problem")).toContain("pd-request");
  });

  it("prefill-request: prefill fails, though its health is fine", async () => {
    const report = await diagnose({
      prefill: { faults: [{ match: { phase: "prefill" }, fault: { kind: "status", status: 500 } }] },
    });
    expect(only(report, "prefill-request").severity).toBe("problem");
  });

  it("duplicate-endpoint: one engine on both sides, one twice", async () => {
    const both = await engine("prefill");
    const report = await examineUrls({ prefill: [both.url, both.url], decode: [both.url] });
    const duplicates = report.findings.filter(({ check }) => check === "duplicate-endpoint");
    expect(duplicates.map(({ severity }) => severity)).toEqual(["warning", "problem"]);
    expect(report.pairs).toEqual([]);
  });

  it("duplicate-engine: two engines with one id", async () => {
    const options: MockVLLMEngineOptions = { engineId: "same" };
    const prefills = [await engine("prefill", options), await engine("prefill", options)];
    const decode = await engine("decode");
    const report = await examineUrls({ prefill: prefills.map(({ url }) => url), decode: [decode.url] });
    expect(only(report, "duplicate-engine").engines).toHaveLength(2);
  });

  it("engine-id: the engine is another one at the second call", async () => {
    // Its third prefill: two probes with the library's request in between.
    const report = await diagnose({
      prefill: {
        faults: [
          {
            match: { phase: "prefill", nth: 3 },
            fault: { kind: "wrongKv", replace: { remote_engine_id: "another" } },
          },
        ],
      },
    });
    expect(only(report, "engine-id")).toMatchObject({ severity: "problem", side: "prefill" });
  });

  it("kv-moved: decode has no connector and computes everything itself", async () => {
    const report = await diagnose({ decode: { kvConnector: null } });
    expect(only(report, "kv-moved").severity).toBe("problem");
    expect(report.pairs[0]?.proof?.verdict).toBe("not-moved");
    // That is why it is dangerous: nothing else is wrong.
    expect(found(report, "problem")).toEqual(["kv-moved"]);
  });

  it("text: decode works with KV of something else", async () => {
    const report = await diagnose({
      prefill: {
        faults: [
          { match: { phase: "prefill" }, fault: { kind: "wrongKv", replace: { remote_request_id: "x" } } },
        ],
      },
      decode: { onBadHandle: "garbage" },
    });
    expect(only(report, "text").severity).toBe("problem");
  });

  it("decode-request: decode does not generate at all", async () => {
    const report = await diagnose({
      decode: { faults: [{ match: { phase: "aggregated" }, fault: { kind: "status", status: 500 } }] },
    });
    expect(only(report, "decode-request")).toMatchObject({ severity: "problem", side: "decode" });
  });
});

describe("what is counted while a request runs", () => {
  const counters = (failed: number, expired: number): string =>
    [
      "vllm:num_requests_running 0",
      `vllm:nixl_num_failed_transfers_total ${failed}`,
      `vllm:nixl_num_kv_expired_reqs_total ${expired}`,
      'vllm:prompt_tokens_by_source_total{source="external_kv_transfer"} 0',
    ].join("\n");
  /** Counters that are read twice before the request, and have grown after it. */
  const growing = (failed: number, expired: number): readonly FaultRule[] => [
    ...[1, 2].map((nth) => ({
      match: { path: "/metrics", nth },
      fault: { kind: "status", status: 200, body: counters(0, 0) } as const,
    })),
    page("/metrics", counters(failed, expired)),
  ];

  it("kv-transfer-failures: decode could not fetch, prefill gave up", async () => {
    const report = await diagnose({
      prefill: { faults: [...growing(0, 2)] },
      decode: { faults: [...growing(3, 0)] },
    });
    const failures = report.findings.filter(({ check }) => check === "kv-transfer-failures");
    expect(failures.map(({ severity, seen }) => [severity, /\d/.exec(seen)?.[0]])).toEqual([
      ["problem", "3"],
      ["warning", "2"],
    ]);
  });

  it("decode-request: an answer that is none does not stop the doctor", async () => {
    const report = await diagnose({
      decode: {
        faults: [
          {
            match: { phase: "aggregated" },
            fault: { kind: "status", status: 200, body: "<html>Welcome</html>" },
          },
        ],
      },
    });
    expect(only(report, "decode-request").seen).toContain("Welcome");
  });
});

describe("the configuration", () => {
  it("kv-role: roles the wrong way round", async () => {
    const prefill = await engine("prefill");
    const decode = await engine("decode");
    const subject = subjectOfUrls({ prefill: [prefill.url], decode: [decode.url] });
    const swapped = {
      ...subject,
      prefill: {
        ...subject.prefill,
        kvTransferConfig: { kv_connector: "NixlConnector", kv_role: "kv_consumer" },
      },
      notes: ["runtime_env has no effect"],
    };
    const report = await examineSubject(swapped);
    expect(only(report, "kv-role").side).toBe("prefill");
    expect(only(report, "configuration").seen).toBe("runtime_env has no effect");
  });
});

// After all others in this file: it looks at what they found.
describe("every check", () => {
  /** Nothing on this machine is far enough away for these; src/doctor/*.test.ts has them. */
  const elsewhere: readonly CheckName[] = ["connect-timeout", "side-channel-host"];

  it("was made to find something, and says what to do about it", () => {
    const bad = everything.filter(({ severity }) => severity !== "ok");
    const untried = checkNames.filter((name) => !bad.some(({ check }) => check === name));
    expect(untried).toEqual(elsewhere);
    for (const { check, seen, advice } of bad) {
      for (const sentence of [seen, advice]) {
        expect(sentence, check).toMatch(/^\S.{15,}/s);
        expect(sentence, check).not.toMatch(/undefined|NaN|\[object/);
      }
    }
  });

  it("has a line in docs/doctor.md", () => {
    const text = readFileSync(join(import.meta.dirname, "..", "docs", "doctor.md"), "utf8");
    const described = [...text.matchAll(/^\| `([a-z-]+)` \|/gm)].map(([, name]) => name);
    expect(new Set(described)).toEqual(new Set(checkNames));
    expect(described).toHaveLength(checkNames.length);
  });
});

/** A port on which nobody listens. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise<void>((resolve) => server.close(() => resolve()));
  return port;
}
