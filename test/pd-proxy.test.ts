import { afterEach, describe, expect, it, vi } from "vitest";
import { mockAnswer, type FaultRule } from "../src/testing/index.ts";
import { post, readStream } from "./support/client.ts";
import { model, type PDCluster, type PDClusterOptions, startPDCluster } from "./support/pd-cluster.ts";

let cluster: PDCluster | undefined;

afterEach(async () => {
  await cluster?.stop();
  cluster = undefined;
});

async function start(options: PDClusterOptions = {}): Promise<PDCluster> {
  cluster = await startPDCluster(options);
  return cluster;
}

const chat = (text = "hello world", extra: Readonly<Record<string, unknown>> = {}) => ({
  model,
  messages: [{ role: "user", content: text }],
  max_tokens: 6,
  ...extra,
});

const chatPath = "/v1/chat/completions";

/** Every request's KV was made on a prefill engine and fetched by a decode engine once. */
function expectBalanced({ prefills, decodes }: PDCluster): void {
  for (const { ledger } of [...prefills, ...decodes]) {
    ledger.assertBalanced();
    expect(ledger.rejected).toEqual([]);
  }
}

/** Requests that generate, without the health checks and scrapes of the background. */
function generated(engines: PDCluster["engines"]): PDCluster["engines"][number]["requests"] {
  return engines.flatMap((engine) => engine.requests.filter(({ phase }) => phase !== undefined));
}

function holdCounts({ app }: PDCluster): { opened: number; open: number; ended: Record<string, number> } {
  return app.status().deployments["PDProxyServer"]!.details!["kvHolds"] as never;
}

async function injectAll(engines: PDCluster["engines"], rule: FaultRule): Promise<void> {
  for (const engine of engines) engine.injectFault(rule);
}

describe("the sequential handoff", () => {
  it("prefills one token, hands the handle over byte for byte, and answers from decode", async () => {
    const { url, prefills, decodes } = await start({
      prefills: 1,
      decodes: 1,
      engine: { bigIntHandles: true },
    });
    const body = `{"model":"${model}","seed":9223372036854775807,"messages":[{"role":"user","content":"hi"}],"max_tokens":5,"min_tokens":2,"n":1,"stop":["zzz"],"x":1.0}`;
    const answer = await post(url + chatPath, body);

    expect(answer.status).toBe(200);
    const [prefill] = generated(prefills);
    const [decode] = generated(decodes);
    expect(prefill!.bodyText).toBe(
      `{"model":"${model}","seed":9223372036854775807,"messages":[{"role":"user","content":"hi"}],"max_tokens":1,"x":1.0,` +
        `"kv_transfer_params":{"do_remote_decode":true,"do_remote_prefill":false,"remote_engine_id":null,"remote_block_ids":null,"remote_host":null,"remote_port":null},` +
        `"stream":false,"max_completion_tokens":1}`,
    );
    expect(decode!.bodyText.startsWith(body.slice(0, -1))).toBe(true);
    expect(decode!.bodyText).toContain("9223372036854775807,");
    expect(prefill!.headers["x-request-id"]).toMatch(/^[0-9a-f]{32}$/);
    expect(decode!.headers["x-request-id"]).toBe(prefill!.headers["x-request-id"]);
    expect(JSON.parse(answer.text).choices[0].message.content).toBe(mockAnswer(JSON.parse(body), 5));
    expectBalanced(cluster!);
    expect(prefills[0]!.ledger.consumed).toBe(1);
    expect(holdCounts(cluster!)).toEqual({
      opened: 1,
      open: 0,
      ended: { handed_off: 1, released: 0, expired: 0, stranded: 0 },
    });
  });

  it.each([
    ["chat", chatPath, chat()],
    ["completions", "/v1/completions", { model, prompt: "once upon a time", max_tokens: 6 }],
  ])("streams %s", async (_name, path, body) => {
    const { url } = await start();
    const answer = await post(url + path, { ...body, stream: true, stream_options: { include_usage: true } });
    const reading = readStream(answer.text);

    expect(answer.status).toBe(200);
    expect(reading).toMatchObject({ done: true, error: undefined, finishReason: "length" });
    expect(reading.content.trim()).toBe(mockAnswer(body as never, 6).trim());
    expect(reading.usage).toMatchObject({ completion_tokens: 6 });
    expectBalanced(cluster!);
  });

  it.each([
    [{ n: 2 }, "multiple_choices"],
    [{ max_tokens: 1 }, "max_tokens"],
    [{ prompt_logprobs: 1 }, "prompt_logprobs"],
  ])("lets decode answer alone for %j", async (extra, reason) => {
    const { url, prefills, app } = await start();
    const answer = await post(url + chatPath, chat("hi", extra));

    expect(answer.status).toBe(200);
    expect(generated(prefills)).toEqual([]);
    expect(app.pdHealth()[0]).toMatchObject({ decodeOnly: { [reason]: 1 }, disaggregated: 0 });
  });

  it("is relayed as JSON when the engine sends that although a stream was asked for", async () => {
    const { url, decodes } = await start();
    await injectAll(decodes, { fault: { kind: "wrongFraming" }, match: { phase: "decode" } });
    const answer = await post(url + chatPath, chat("hello", { stream: true }));
    expect([answer.status, answer.headers["content-type"]]).toEqual([200, "application/json"]);
    expect(JSON.parse(answer.text).choices[0].finish_reason).toMatch(/^(stop|length)$/);
    // The other way round there is no answer that this client could read.
    const whole = await post(url + chatPath, chat("hello", { stream: false }));
    expect([whole.status, JSON.parse(whole.text).error.code]).toEqual([502, "stream_malformed"]);
  });

  it("recognises an answer that ends with its first token", async () => {
    const { url, app } = await start({ engine: { firstTokenStop: "STOPNOW" } });
    const answer = await post(url + chatPath, chat("STOPNOW please"));

    expect(answer.status).toBe(200);
    expect(app.pdHealth()[0]).toMatchObject({ decodeOnly: { first_token_stop: 1 }, degraded: false });
    expectBalanced(cluster!);
  });
});

describe("failures of prefill", () => {
  it.each<[string, FaultRule["fault"]]>([
    ["a reset", { kind: "resetAtByte", byte: 0 }],
    ["a reset within the answer", { kind: "resetAtByte", byte: 40 }],
    ["a 500", { kind: "status", status: 500 }],
    ["a 503", { kind: "status", status: 503 }],
    ["a 429", { kind: "status", status: 429, retryAfterS: 1 }],
    ["an error under status 200", { kind: "errorIn200" }],
    ["an empty 200", { kind: "emptyBody" }],
    ["a redirect", { kind: "redirect", location: "http://127.0.0.1:9/" }],
    ["no handle", { kind: "noKv" }],
    ["an empty handle", { kind: "noKv", form: "empty" }],
    ["a handle without an engine id", { kind: "wrongKv", remove: ["remote_engine_id"] }],
    ["a handle without blocks", { kind: "wrongKv", replace: { remote_block_ids: [] } }],
    ["a stall", { kind: "stallBeforeHeaders" }],
  ])("%s on one replica: another one takes over", async (_name, fault) => {
    const { url, prefills, app } = await start({ client: { prefillTimeoutMs: 300 } });
    await injectAll(prefills, { fault, match: { nth: 1, phase: "prefill" } });
    // Both replicas fail their first prefill only; two retries are enough whichever comes first.
    const answer = await post(url + chatPath, chat());

    expect(answer.status).toBe(200);
    expect(JSON.parse(answer.text).choices[0].message.content).toBe(mockAnswer(chat(), 6));
    const health = app.pdHealth()[0]!;
    expect(
      health.disaggregated + Object.values(health.decodeOnly).reduce((sum: number, n) => sum + (n ?? 0), 0),
    ).toBe(1);
    expect(holdCounts(cluster!).open).toBe(0);
  });

  it("a 4xx goes to the client as it is, and decode is not asked", async () => {
    const { url, decodes } = await start({ engine: { maxModelLen: 64 } });
    const answer = await post(url + chatPath, chat("word ".repeat(200)));

    expect(answer.status).toBe(400);
    expect(JSON.parse(answer.text).error).toMatchObject({
      type: "BadRequestError",
      param: "input_tokens",
      code: 400,
    });
    expect(generated(decodes)).toEqual([]);
  });

  it("all prefills down: decode computes the prompt, and the reason is known", async () => {
    const { url, prefills, app } = await start();
    await Promise.all(prefills.map((engine) => engine.crash()));
    const answer = await post(url + chatPath, chat());

    expect(answer.status).toBe(200);
    expect(app.pdHealth()[0]).toMatchObject({ decodeOnly: { prefill_failed: 1 } });
  });

  it("all prefills down and told to fail: a clear error, and decode is not asked", async () => {
    const { url, prefills, decodes } = await start({ proxy: { onPrefillFailure: "fail" } });
    await Promise.all(prefills.map((engine) => engine.crash()));
    const answer = await post(url + chatPath, chat());

    expect(answer.status).toBe(502);
    expect(JSON.parse(answer.text).error.code).toBe("engine_connection_error");
    expect(generated(decodes)).toEqual([]);
  });

  it("no handle and told to fail: 502 without decode", async () => {
    const { url, decodes } = await start({ proxy: { onMissingKv: "fail" }, engine: { kvConnector: null } });
    const answer = await post(url + chatPath, chat());

    expect(answer.status).toBe(502);
    expect(JSON.parse(answer.text).error.code).toBe("kv_missing");
    expect(generated(decodes)).toEqual([]);
  });

  it("a handle that names a host not on the list: 502 without decode", async () => {
    const { url, prefills, decodes } = await start({ proxy: { kvHostAllowlist: ["127.0.0.1"] } });
    await injectAll(prefills, { fault: { kind: "wrongKv", replace: { remote_host: "169.254.169.254" } } });
    const answer = await post(url + chatPath, chat());

    expect(answer.status).toBe(502);
    expect(JSON.parse(answer.text).error).toMatchObject({ code: "kv_host_not_allowed" });
    expect(answer.text).not.toContain("169.254");
    expect(generated(decodes)).toEqual([]);
  });

  it("never hands anything over: a warning and degraded health", async () => {
    const warnings: string[] = [];
    const { url, app } = await start({
      engine: { kvConnector: null },
      environment: { warn: (message) => warnings.push(message) },
    });
    for (let index = 0; index < 20; index += 1) await post(url + chatPath, chat(`q${index}`));

    expect(app.pdHealth()[0]).toMatchObject({
      degraded: true,
      handoffShare: 0,
      decodeOnly: { missing_kv: 20 },
    });
    expect(warnings.filter((message) => message.includes("were disaggregated"))).toHaveLength(1);
  });
});

describe("failures of decode before its first token", () => {
  it.each<[string, FaultRule["fault"]]>([
    ["a reset before headers", { kind: "resetAtByte", byte: 0 }],
    ["a 500", { kind: "status", status: 500 }],
    ["a 503", { kind: "status", status: 503 }],
    ["an empty 200", { kind: "emptyBody" }],
    ["a swallowed error", { kind: "swallowedError" }],
    ["an error event", { kind: "sseError" }],
    ["a wrong content type", { kind: "contentType", value: "text/html" }],
    ["a stall", { kind: "stallBeforeHeaders" }],
    ["pings only", { kind: "pings", everyMs: 20 }],
  ])("%s: a fresh prefill and another decode", async (_name, fault) => {
    const { url, prefills, decodes } = await start({ client: { firstByteTimeoutMs: 300 } });
    decodes[0]!.injectFault({ fault, match: { phase: "decode" } });
    for (const stream of [true, false]) {
      const body = chat("hello", { stream });
      const answers = await Promise.all([post(url + chatPath, body), post(url + chatPath, body)]);
      for (const answer of answers) {
        expect(answer.status).toBe(200);
        const content = stream
          ? readStream(answer.text).content
          : JSON.parse(answer.text).choices[0].message.content;
        expect(content).toBe(mockAnswer(body, 6));
      }
    }
    const rejected = prefills.flatMap(({ ledger }) => ledger.rejected);
    expect(rejected).toEqual([]);
    expect(holdCounts(cluster!).open).toBe(0);
  });

  it("its 4xx goes to the client, and the KV is released", async () => {
    const { url, decodes } = await start();
    await injectAll(decodes, {
      fault: {
        kind: "status",
        status: 400,
        body: { error: { message: "no", type: "BadRequestError", param: "x", code: 400 } },
      },
    });
    const answer = await post(url + chatPath, chat("hi", { stream: true }));

    expect(answer.status).toBe(400);
    expect(JSON.parse(answer.text)).toEqual({
      error: { message: "no", type: "BadRequestError", param: "x", code: 400 },
    });
    expect(holdCounts(cluster!).ended).toMatchObject({ released: 1 });
  });

  it("every decode down: 502 in OpenAI's shape that names no host", async () => {
    const { url, decodes } = await start();
    await Promise.all(decodes.map((engine) => engine.crash()));
    const answer = await post(url + chatPath, chat());

    expect(answer.status).toBe(502);
    expect(JSON.parse(answer.text).error.code).toBe("engine_connection_error");
    expect(answer.text).not.toContain("127.0.0.1");
  });
});

describe("failures of decode after its first token", () => {
  it.each<[string, FaultRule["fault"]]>([
    ["a reset", { kind: "crash", afterTokens: 3 }],
    ["an error event", { kind: "sseError", afterTokens: 3 }],
    ["a truncated stream", { kind: "truncated", afterTokens: 3 }],
    ["malformed events", { kind: "malformedSse", afterTokens: 3 }],
    ["a stall", { kind: "stallAfterTokens", tokens: 3 }],
  ])("%s: one error event, no [DONE], no finish reason, a cut connection", async (_name, fault) => {
    const { url } = await start({
      decodes: 1,
      engine: { latency: { interTokenMs: 2 } },
      client: { interTokenTimeoutMs: 300 },
    });
    cluster!.decodes[0]!.injectFault({ fault, match: { phase: "decode" } });
    const answer = await post(url + chatPath, chat("hello there", { stream: true }));
    const reading = readStream(answer.text);

    expect(answer.status).toBe(200);
    expect(reading.error).toBeDefined();
    expect(reading).toMatchObject({ done: false, finishReason: undefined });
    expect(answer.broken).toBeDefined();
    expect(mockAnswer(chat("hello there"), 6).startsWith(reading.content)).toBe(true);
  });
});

describe("the two sides", () => {
  it("that disagree on their version or model are reported", async () => {
    const warnings: string[] = [];
    const running = await start({
      prefills: 1,
      decodes: 1,
      decodeEngine: { version: "0.26.0" },
      environment: { warn: (message) => warnings.push(message) },
    });
    await Promise.all(running.engines.map((engine) => engine.idle()));
    await vi.waitFor(() => {
      expect(running.app.status().deployments["PDProxyServer"]!.details!["disagreements"]).toMatchObject([
        { kind: "version", prefill: ["0.27.1"], decode: ["0.26.0"] },
      ]);
    });
    expect(warnings.filter((message) => message.includes("disagree"))).toHaveLength(1);
  });
});
