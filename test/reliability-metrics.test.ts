import { afterEach, describe, expect, it } from "vitest";
import type { DecodeOnlyReason, DisaggregationDecision } from "../src/llm/disaggregation-decision.ts";
import { PDProxyServer } from "../src/llm/pd-proxy-server.ts";
import { channels, type LegEndEvent } from "../src/observability/channels.ts";
import type { Fault, MockPhase } from "../src/testing/index.ts";
import { post } from "./support/client.ts";
import { model, type PDCluster, type PDClusterOptions, startPDCluster } from "./support/pd-cluster.ts";

let cluster: PDCluster | undefined;

afterEach(async () => {
  await cluster?.stop();
  cluster = undefined;
});

async function start(options: PDClusterOptions = {}): Promise<PDCluster> {
  cluster = await startPDCluster(options);
  cluster.app.useMetrics();
  // Counted from here on.
  await cluster.app.metrics();
  return cluster;
}

const chat = (extra: Readonly<Record<string, unknown>> = {}) => ({
  model,
  messages: [{ role: "user" as const, content: "hello there" }],
  max_tokens: 6,
  ...extra,
});

const chatPath = "/v1/chat/completions";

/** Values of one metric by the given labels, without those of other applications, and without zeros. */
async function valuesOf(
  { app }: PDCluster,
  name: string,
  ...labels: readonly string[]
): Promise<Readonly<Record<string, number>>> {
  const values: Record<string, number> = {};
  for (const line of (await app.metrics()).split("\n")) {
    if (!line.startsWith(`${name}{`)) continue;
    const value = Number(line.slice(line.lastIndexOf(" ") + 1));
    const key = labels.map((label) => new RegExp(`[{,]${label}="([^"]*)"`).exec(line)?.[1]).join(" ");
    if (value !== 0) values[key] = (values[key] ?? 0) + value;
  }
  return values;
}

function injectAll({ engines }: PDCluster, phase: MockPhase, fault: Fault): void {
  for (const engine of engines) engine.injectFault({ fault, match: { phase } });
}

describe("serve_llm_decode_only_total", () => {
  const proxy = { decide: { minUncachedTokens: 20 } };
  const long = { messages: [{ role: "user", content: "a prompt that is long enough" }] };

  it.each<[DecodeOnlyReason, string, object, PDClusterOptions]>([
    ["multiple_choices", chatPath, chat({ n: 2 }), {}],
    ["beam_search", chatPath, chat({ use_beam_search: true }), {}],
    ["multiple_prompts", "/v1/completions", { model, prompt: ["a", "b"], max_tokens: 3 }, {}],
    ["echo", "/v1/completions", { model, prompt: "a", echo: true, max_tokens: 3 }, {}],
    ["prompt_logprobs", chatPath, chat({ prompt_logprobs: 1 }), {}],
    ["max_tokens", chatPath, chat({ max_tokens: 1 }), {}],
    ["short_prompt", chatPath, chat({ messages: [] }), { proxy }],
    ["no_prefill", chatPath, chat(), { prefills: 0 }],
    ["first_token_stop", chatPath, chat(long), { engine: { firstTokenStop: "long" } }],
    ["missing_kv", chatPath, chat(), { engine: { kvConnector: null } }],
  ])("%s", async (reason, path, body, options) => {
    const running = await start(options);
    await post(running.url + path, body);
    expect(await valuesOf(running, "serve_llm_decode_only_total", "reason")).toEqual({ [reason]: 1 });
  });

  it("prefill_failed", async () => {
    const running = await start();
    injectAll(running, "prefill", { kind: "status", status: 500 });
    expect((await post(running.url + chatPath, chat())).status).toBe(200);
    expect(await valuesOf(running, "serve_llm_decode_only_total", "reason")).toEqual({ prefill_failed: 1 });
  });

  it("custom", async () => {
    class MyProxy extends PDProxyServer {
      protected override decide(): DisaggregationDecision {
        return { mode: "decode-only", reason: "custom" };
      }
    }
    const running = await start({ proxyClass: MyProxy });
    await post(running.url + chatPath, chat());
    expect(await valuesOf(running, "serve_llm_decode_only_total", "reason")).toEqual({ custom: 1 });
  });
});

describe("what prefill handed over", () => {
  const missing: [string, Fault][] = [
    ["kv_missing", { kind: "noKv" }],
    ["kv_missing", { kind: "noKv", form: "missing" }],
    ["kv_invalid", { kind: "noKv", form: "empty" }],
    ["kv_invalid", { kind: "wrongKv", replace: { do_remote_prefill: false } }],
    ["kv_invalid", { kind: "wrongKv", replace: { do_remote_prefill: "true" } }],
    ["kv_invalid", { kind: "wrongKv", replace: { remote_block_ids: [[]] } }],
    ["kv_invalid", { kind: "wrongKv", remove: ["remote_engine_id"] }],
    ["kv_invalid", { kind: "wrongKv", remove: ["remote_port"] }],
    ["kv_invalid", { kind: "wrongKv", replace: { padding: "x".repeat(1024 * 1024) } }],
  ];

  it.each(missing)("%s is tried once more, then decode goes alone: %j", async (code, fault) => {
    const running = await start();
    injectAll(running, "prefill", fault);
    expect((await post(running.url + chatPath, chat())).status).toBe(200);

    expect(await valuesOf(running, "serve_llm_retries_total", "leg", "error_code")).toEqual({
      [`prefill ${code}`]: 1,
    });
    expect(await valuesOf(running, "serve_llm_leg_failures_total", "leg", "error_code")).toEqual({
      [`prefill ${code}`]: 2,
    });
    expect(await valuesOf(running, "serve_llm_decode_only_total", "reason")).toEqual({ missing_kv: 1 });
    expect(await valuesOf(running, "serve_llm_kv_holds_ended_total", "end")).toEqual({});
    // Nothing that prefill said was believed.
    const bodies = running.decodes.flatMap(({ requests }) => requests.map(({ bodyText }) => bodyText)).join();
    expect(bodies).not.toContain("kv_transfer_params");
  });

  it.each([
    ["decode-only", 200, { missing_kv: 1 }],
    ["fail", 502, {}],
  ] as const)("by onMissingKv %s, at once", async (onMissingKv, status, decodeOnly) => {
    const running = await start({ proxy: { onMissingKv } });
    injectAll(running, "prefill", { kind: "noKv" });
    expect((await post(running.url + chatPath, chat())).status).toBe(status);
    expect(await valuesOf(running, "serve_llm_retries_total", "leg")).toEqual({});
    expect(await valuesOf(running, "serve_llm_decode_only_total", "reason")).toEqual(decodeOnly);
  });

  it("kv_host_not_allowed is never worked around", async () => {
    const running = await start({ proxy: { kvHostAllowlist: ["10.1.2.3"] } });
    expect((await post(running.url + chatPath, chat())).status).toBe(502);
    expect(await valuesOf(running, "serve_llm_leg_failures_total", "leg", "error_code")).toEqual({
      "prefill kv_host_not_allowed": 1,
    });
    expect(await valuesOf(running, "serve_llm_retries_total", "leg")).toEqual({});
  });
});

describe("serve_llm_retries_total", () => {
  const time = { prefillTimeoutMs: 150, firstByteTimeoutMs: 150 };

  it.each<[MockPhase, Fault, string]>([
    ["prefill", { kind: "resetAtByte", byte: 0 }, "engine_connection_error"],
    ["prefill", { kind: "status", status: 503 }, "engine_response_error"],
    ["prefill", { kind: "stallBeforeHeaders" }, "prefill_timeout"],
    ["prefill", { kind: "emptyBody" }, "stream_malformed"],
    ["decode", { kind: "resetAtByte", byte: 0 }, "engine_connection_error"],
    ["decode", { kind: "status", status: 500 }, "engine_response_error"],
    ["decode", { kind: "stallBeforeHeaders" }, "decode_timeout"],
    ["decode", { kind: "swallowedError" }, "stream_swallowed"],
    ["decode", { kind: "truncated", afterTokens: 0 }, "stream_swallowed"],
    ["decode", { kind: "contentType", value: "text/html" }, "stream_malformed"],
  ])("%s, %j: %s", async (phase, fault, code) => {
    const running = await start({ prefills: 1, decodes: 1, client: time });
    const engine = phase === "prefill" ? running.prefills[0]! : running.decodes[0]!;
    engine.injectFault({ fault, match: { phase }, times: 1 });
    expect((await post(running.url + chatPath, chat({ stream: true }))).status).toBe(200);
    expect(await valuesOf(running, "serve_llm_retries_total", "leg", "error_code")).toEqual({
      [`${phase} ${code}`]: 1,
    });
  });

  it("nothing for a 4xx, which another engine would repeat", async () => {
    const running = await start();
    injectAll(running, "decode", { kind: "status", status: 422 });
    expect((await post(running.url + chatPath, chat())).status).toBe(422);
    expect(await valuesOf(running, "serve_llm_retries_total", "leg")).toEqual({});
  });
});

describe("KV holds", () => {
  it("handed_off, and open while decode has not begun", async () => {
    const running = await start({ prefills: 1, decodes: 1 });
    running.decodes[0]!.injectFault({
      fault: { kind: "stallBeforeHeaders" },
      match: { phase: "decode" },
      times: 1,
    });
    const controller = new AbortController();
    const stalled = running.app.handle.chat({ ...chat(), stream: false }, { signal: controller.signal });
    stalled.catch(() => undefined);
    while (!running.decodes[0]!.requests.some(({ phase }) => phase === "decode")) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await valuesOf(running, "serve_llm_kv_holds", "deployment")).toEqual({ PDProxyServer: 1 });
    expect(await valuesOf(running, "serve_llm_replica_kv_holds", "replica")).toEqual({ p0: 1 });
    controller.abort();
    await expect(stalled).rejects.toThrow();
    await post(running.url + chatPath, chat());
    expect(await valuesOf(running, "serve_llm_kv_holds", "deployment")).toEqual({});
    expect(await valuesOf(running, "serve_llm_kv_holds_ended_total", "end")).toEqual({
      handed_off: 1,
      released: 1,
    });
  });

  it("stranded", async () => {
    const running = await start({ prefills: 1, decodes: 1 });
    const controller = new AbortController();
    const onLegEnd = (message: unknown): void => {
      if ((message as LegEndEvent).leg.leg === "prefill") controller.abort();
    };
    channels.legEnd.subscribe(onLegEnd);
    const call = running.app.handle.chat({ ...chat(), stream: false }, { signal: controller.signal });
    await expect(call).rejects.toThrow();
    channels.legEnd.unsubscribe(onLegEnd);
    expect(await valuesOf(running, "serve_llm_kv_holds_ended_total", "end")).toEqual({ stranded: 1 });
  });
});

describe("serve_llm_ejections_total", () => {
  it("counts the replica whose failures took it out, not those of clients", async () => {
    const running = await start({ decodes: 1, proxy: { maxRetries: 0 } });
    const [decode] = running.decodes;
    decode!.injectFault({ fault: { kind: "status", status: 400 }, match: { phase: "decode" }, times: 5 });
    for (let index = 0; index < 5; index += 1) await post(running.url + chatPath, chat());
    expect(await valuesOf(running, "serve_llm_ejections_total", "replica")).toEqual({});
    decode!.injectFault({ fault: { kind: "status", status: 500 }, match: { phase: "decode" } });
    for (let index = 0; index < 3; index += 1) await post(running.url + chatPath, chat());
    expect(await valuesOf(running, "serve_llm_ejections_total", "deployment", "replica")).toEqual({
      "Decode:mock-model d0": 1,
    });
    expect(await valuesOf(running, "ray_serve_deployment_replica_healthy", "replica")).toEqual({
      p0: 1,
      p1: 1,
    });
  });
});

describe("serve_llm_requests_total", () => {
  it.each<[string, string, object, Fault | undefined]>([
    ["success", "", chat(), undefined],
    ["failed", "engine_connection_error", chat(), { kind: "truncated", afterTokens: 2 }],
    ["failed", "engine_response_error", chat(), { kind: "status", status: 400 }],
    ["broken", "stream_truncated", chat({ stream: true }), { kind: "truncated", afterTokens: 2 }],
    ["broken", "engine_response_error", chat({ stream: true }), { kind: "sseError", afterTokens: 2 }],
    ["broken", "stream_disconnected", chat({ stream: true }), { kind: "resetAtByte", byte: 700 }],
  ])("%s %s", async (outcome, code, body, fault) => {
    const running = await start({ decodes: 1, proxy: { maxRetries: 0 } });
    if (fault !== undefined) injectAll(running, "decode", fault);
    await post(running.url + chatPath, body);
    expect(await valuesOf(running, "serve_llm_requests_total", "outcome", "error_code")).toEqual({
      [`${outcome} ${code}`]: 1,
    });
  });

  it("cancelled", async () => {
    const running = await start();
    const call = running.app.handle.chat({ ...chat(), stream: false }, { signal: AbortSignal.abort() });
    await expect(call).rejects.toThrow();
    expect(await valuesOf(running, "serve_llm_requests_total", "outcome", "error_code")).toEqual({
      "cancelled client_closed_request": 1,
    });
  });
});

it("serve_llm_pd_degraded and the share of handoffs tell when disaggregation has stopped", async () => {
  const running = await start();
  await post(running.url + chatPath, chat());
  expect(await valuesOf(running, "serve_llm_handoff_share_ratio", "deployment")).toEqual({
    PDProxyServer: 1,
  });
  injectAll(running, "prefill", { kind: "noKv" });
  for (let index = 0; index < 24; index += 1) await post(running.url + chatPath, chat());
  expect(await valuesOf(running, "serve_llm_handoff_share_ratio", "deployment")).toEqual({
    PDProxyServer: 0.04,
  });
  expect(await valuesOf(running, "serve_llm_pd_degraded", "deployment")).toEqual({ PDProxyServer: 1 });
});
