import { afterEach, describe, expect, it } from "vitest";
import { mockAnswer, type JournalEntry, type MockVLLMEngine } from "../src/testing/index.ts";
import { post, readStream } from "./support/client.ts";
import { type ConnectorSetup, concurrentSetups } from "./support/connectors.ts";
import { model, type PDCluster, type PDClusterOptions, startPDCluster } from "./support/pd-cluster.ts";
import { until } from "./support/until.ts";

let cluster: PDCluster | undefined;

afterEach(async () => {
  await cluster?.stop();
  cluster = undefined;
});

async function start(setup: ConnectorSetup, more: PDClusterOptions = {}): Promise<PDCluster> {
  const options = setup.cluster();
  cluster = await startPDCluster({ ...options, ...more, engine: { ...options.engine, ...more.engine } });
  return cluster;
}

const path = "/v1/chat/completions";
const chat = (extra: object = {}): Record<string, unknown> => ({
  model,
  messages: [{ role: "user", content: "both at once" }],
  max_tokens: 8,
  ...extra,
});
const answerOf = (body = chat()): string => mockAnswer(body, 8);

const legs = (engines: readonly MockVLLMEngine[], phase: "prefill" | "decode"): readonly JournalEntry[] =>
  engines.flatMap(({ requests }) => requests.filter((entry) => entry.phase === phase));

/** Nothing is left of any request. */
async function expectNothingLeft({ prefills, decodes, engines, app }: PDCluster): Promise<void> {
  await Promise.all(engines.map((engine) => engine.idle()));
  await Promise.all(prefills.map(({ ledger }) => ledger.drained()));
  for (const { ledger } of [...prefills, ...decodes]) ledger.assertBalanced();
  const replicas = () =>
    [`Prefill:${model}`, `Decode:${model}`].flatMap((name) => app.status().deployments[name]!.replicas);
  // The engine has said its last byte; the application still has to read it. Hangs, and so fails, if it never does.
  await until(() => replicas().every(({ inFlight, holds }) => inFlight === 0 && holds === 0));
  expect(app.status().deployments["PDProxyServer"]!.details!["kvHolds"]).toMatchObject({ open: 0 });
}

/** Decode engines that compute everything themselves: they do not wait for prefill. */
const independentDecode: PDClusterOptions = {
  prefills: 1,
  decodes: 1,
  decodeEngine: { kvConnector: null, latency: { interTokenMs: 20, timeToFirstTokenMs: 0 } },
};

describe.each(concurrentSetups)("$name: a prefill that fails", (setup) => {
  it.each([true, false])(
    "before the first token stops decode at once; both go again with a fresh id (stream: %s)",
    async (stream) => {
      const { url, prefills, decodes, app } = await start(setup);
      // Nothing but the failure of its prefill ends such a decode.
      for (const engine of decodes) {
        engine.injectFault({ fault: { kind: "stallBeforeHeaders" }, match: { phase: "decode", nth: 1 } });
      }
      for (const engine of prefills) {
        engine.injectFault({ fault: { kind: "sseError", status: 503 }, match: { phase: "prefill", nth: 1 } });
      }
      const answer = await post(url + path, chat({ stream }));

      const content = stream
        ? readStream(answer.text).content
        : JSON.parse(answer.text).choices[0].message.content;
      expect(content).toBe(answerOf());
      await expectNothingLeft(cluster!);
      const failed = legs(prefills, "prefill").filter(({ status }) => status === 503);
      const stopped = legs(decodes, "decode").filter(({ abortedAt }) => abortedAt !== undefined);
      expect([failed.length, stopped.length]).toEqual([2, 2]);
      const ids = legs(decodes, "decode").map(({ headers }) => headers["x-request-id"]);
      expect(new Set(ids).size).toBe(3);
      // Stopped on our account, not by its own fault.
      expect(app.status().deployments[`Decode:${model}`]!.replicas.map(({ health }) => health)).toEqual([
        "healthy",
        "healthy",
      ]);
    },
  );

  it("with a 400: the client sees it", async () => {
    const { url, prefills, decodes } = await start(setup);
    const body = { error: { message: "no such thing", type: "BadRequestError", param: "tools", code: 400 } };
    for (const engine of prefills) engine.injectFault({ fault: { kind: "status", status: 400, body } });
    const answer = await post(url + path, chat({ stream: true }));

    expect(answer.status).toBe(400);
    expect(JSON.parse(answer.text)).toEqual(body);
    expect(legs(prefills, "prefill").length).toBe(1);
    await expectNothingLeft(cluster!);
    expect(legs(decodes, "decode").every(({ tokens }) => tokens === 0)).toBe(true);
  });

  it("again and again: decode answers alone, or the failure is the client's", async () => {
    const { url, prefills, app } = await start(setup);
    for (const engine of prefills)
      engine.injectFault({ fault: { kind: "status", status: 503 }, match: { phase: "prefill" } });
    const answer = await post(url + path, chat());

    expect(JSON.parse(answer.text).choices[0].message.content).toBe(answerOf());
    expect(app.pdHealth()[0]).toMatchObject({ disaggregated: 0, decodeOnly: { prefill_failed: 1 } });
    await expectNothingLeft(cluster!);
    await cluster!.stop();

    const strict = await start(setup, { proxy: { onPrefillFailure: "fail" } });
    for (const engine of strict.prefills) {
      engine.injectFault({ fault: { kind: "status", status: 503 }, match: { phase: "prefill" } });
    }
    expect((await post(strict.url + path, chat())).status).toBe(503);
    await expectNothingLeft(strict);
  });

  it.each([
    [path, chat({ stream: true, max_tokens: 60 })],
    ["/v1/completions", { model, prompt: "both at once", max_tokens: 60, stream: true }],
  ])("after the first token ends the stream of %s with its error", async (route, body) => {
    const { url, prefills } = await start(setup, {
      ...independentDecode,
      engine: { latency: { timeToFirstTokenMs: 70 } },
    });
    prefills[0]!.injectFault({
      fault: { kind: "sseError", message: "prefill broke", status: 500 },
      match: { phase: "prefill" },
    });
    const answer = await post(url + route, body);
    const reading = readStream(answer.text);

    expect(answer.status).toBe(200);
    expect(reading.content.length).toBeGreaterThan(0);
    expect(reading).toMatchObject({ done: false, finishReason: undefined });
    expect(reading.error?.message).toContain("prefill broke");
    expect(answer.broken).toBeDefined();
    await expectNothingLeft(cluster!);
  });

  it("after decode has answered is nobody's business", async () => {
    const { url, prefills, app } = await start(setup, {
      ...independentDecode,
      decodeEngine: { kvConnector: null, latency: {} },
      engine: { latency: { timeToFirstTokenMs: 100 } },
    });
    prefills[0]!.injectFault({ fault: { kind: "sseError", status: 500 }, match: { phase: "prefill" } });
    const answer = await post(url + path, chat({ stream: true }));

    expect(readStream(answer.text)).toMatchObject({ content: answerOf(), done: true, error: undefined });
    expect(app.status().deployments[`Prefill:${model}`]!.replicas[0]!.inFlight).toBe(1);
    await expectNothingLeft(cluster!);
  });

  it("to hold on to its KV: decode answers alone", async () => {
    const { url, app } = await start(setup, { engine: { firstTokenStop: "once" } });
    const answer = await post(url + path, chat({ stream: true }));

    expect(readStream(answer.text)).toMatchObject({ content: answerOf(), done: true });
    expect(app.pdHealth()[0]).toMatchObject({ decodeOnly: { first_token_stop: 1 }, disaggregated: 0 });
    await expectNothingLeft(cluster!);
  });
});

describe.each(concurrentSetups)("$name: a prefill that is late", (setup) => {
  it("says its last word", async () => {
    const { url, prefills } = await start(setup, {
      ...independentDecode,
      decodeEngine: { kvConnector: null, latency: {} },
      engine: { latency: { timeToFirstTokenMs: 100 }, kvLeaseMs: 50 },
    });
    const answer = await post(url + path, chat());

    expect(JSON.parse(answer.text).choices[0].message.content).toBe(answerOf());
    await expectNothingLeft(cluster!);
    expect(legs(prefills, "prefill").map(({ status, abortedAt }) => [status, abortedAt])).toEqual([
      [200, undefined],
    ]);
  });

  it("is stopped when it takes too long", async () => {
    const { url, prefills } = await start(setup, {
      ...independentDecode,
      decodeEngine: { kvConnector: null, latency: {} },
      engine: { latency: { timeToFirstTokenMs: 60_000 } },
    });
    await post(url + path, chat());
    await expectNothingLeft(cluster!);

    const [entry] = legs(prefills, "prefill");
    expect(entry!.abortedAt).toBeDefined();
  });
});

describe.each(concurrentSetups)("$name: a decode that fails", (setup) => {
  it("before its first token stops prefill at once; both go again", async () => {
    // So slow that a prefill which is not stopped is seen to finish, however busy the machine is.
    const { url, prefills, decodes } = await start(setup, {
      engine: { latency: { timeToFirstTokenMs: 1_500 } },
      prefills: 1,
    });
    for (const engine of decodes) {
      engine.injectFault({ fault: { kind: "status", status: 503 }, match: { phase: "decode", nth: 1 } });
    }
    const answer = await post(url + path, chat({ stream: true }));

    expect(readStream(answer.text)).toMatchObject({ content: answerOf(), done: true });
    await expectNothingLeft(cluster!);
    const asked = legs(prefills, "prefill");
    const stopped = asked.filter(({ abortedAt }) => abortedAt !== undefined);
    // A decode that fails fast enough keeps its prefill from being sent at all.
    expect(stopped.length).toBeGreaterThan(0);
    expect(asked.length - stopped.length).toBe(1);
    // An engine that is told to stop is not ill.
    expect(cluster!.app.status().deployments[`Prefill:${model}`]!.replicas[0]!.health).toBe("healthy");
  });

  it("after its first token ends the stream", async () => {
    const { url, decodes } = await start(setup, { decodes: 1 });
    decodes[0]!.injectFault({ fault: { kind: "crash", afterTokens: 3 }, match: { phase: "decode" } });
    const answer = await post(url + path, chat({ stream: true }));

    expect(readStream(answer.text)).toMatchObject({ done: false, finishReason: undefined });
    expect(readStream(answer.text).error).toBeDefined();
    await expectNothingLeft(cluster!);
  });
});

describe.each(concurrentSetups)("$name: a client that leaves", (setup) => {
  it.each([
    ["while both wait", 1],
    ["while decode streams", 3],
  ])("%s stops both legs", async (_when, received) => {
    const streaming = received === 3;
    const { url, prefills, decodes } = await start(setup, {
      prefills: 1,
      decodes: 1,
      engine: { latency: streaming ? { interTokenMs: 50 } : { timeToFirstTokenMs: 10_000 } },
    });
    const leave = new AbortController();
    const answer = post(url + path, chat({ stream: true, max_tokens: 200 }), { signal: leave.signal });
    await Promise.all(
      [prefills[0]!, decodes[0]!].map(async (engine) =>
        until(() => legs([engine], engine === prefills[0] ? "prefill" : "decode").length === 1),
      ),
    );
    if (streaming) await until(() => legs(decodes, "decode")[0]!.tokens >= 2);
    leave.abort();
    await answer.catch(() => undefined);
    await expectNothingLeft(cluster!);
    expect(legs(decodes, "decode")[0]!.abortedAt).toBeDefined();
    if (!streaming) expect(legs(prefills, "prefill")[0]!.abortedAt).toBeDefined();
  });
});
