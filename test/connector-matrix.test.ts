import { afterEach, describe, expect, it } from "vitest";
import { createKvConnector } from "../src/kv-transfer/kv-connector-registry.ts";
import { type JournalEntry, mockAnswer, type MockVLLMEngine } from "../src/testing/index.ts";
import { post, readStream } from "./support/client.ts";
import { type ConnectorSetup, connectorSetups, nixlVariants } from "./support/connectors.ts";
import { model, type PDCluster, startPDCluster } from "./support/pd-cluster.ts";

let cluster: PDCluster | undefined;

afterEach(async () => {
  await cluster?.stop();
  cluster = undefined;
});

async function start(setup: ConnectorSetup): Promise<PDCluster> {
  cluster = await startPDCluster({ ...setup.cluster(), environment: { warn: () => undefined } });
  return cluster;
}

const chat = { messages: [{ role: "user", content: "tell me a story" }], max_tokens: 6 };
const completion = { prompt: "once upon a time", max_tokens: 6 };
const paths = { chat: "/v1/chat/completions", completions: "/v1/completions" };
const bodyOf = ({ adapter }: ConnectorSetup, method: keyof typeof paths, extra: object = {}) => ({
  model: adapter === undefined ? model : `${model}:${adapter}`,
  ...(method === "chat" ? chat : completion),
  ...extra,
});

const generating = (engines: readonly MockVLLMEngine[]): readonly JournalEntry[] =>
  engines.flatMap(({ requests }) => requests.filter(({ phase }) => phase !== undefined));

/** Every engine's accounts are settled, and nothing was asked for that was not there. */
async function expectBalanced({ engines }: PDCluster): Promise<void> {
  await Promise.all(engines.map((engine) => engine.idle()));
  const ledgers = engines.flatMap(({ ranks }) => ranks.map(({ ledger }) => ledger));
  await Promise.all(ledgers.map((ledger) => ledger.drained()));
  for (const ledger of ledgers) ledger.assertBalanced();
}

describe.each([...connectorSetups, ...nixlVariants])("$name", (setup) => {
  it("has the flags that its handoff goes by", () => {
    const { kvTransferConfig } = setup.cluster();
    const { concurrentHandoff, requiresPeerBinding } = createKvConnector(kvTransferConfig);
    expect({ concurrentHandoff, requiresPeerBinding }).toEqual({
      concurrentHandoff: setup.concurrent,
      requiresPeerBinding: setup.bound,
    });
  });

  it.each([
    ["chat", false],
    ["chat", true],
    ["completions", false],
    ["completions", true],
  ] as const)("%s, stream: %s", async (method, stream) => {
    const { url, prefills, decodes, engines, app } = await start(setup);
    const body = bodyOf(setup, method, { stream });
    const answer = await post(url + paths[method], body);

    expect(answer.status).toBe(200);
    const reading = readStream(answer.text);
    const whole = (): string => {
      const [choice] = JSON.parse(answer.text).choices;
      return choice.message?.content ?? choice.text;
    };
    const text = stream ? reading.content : whole();
    expect(text.trim()).toBe(mockAnswer(body as never, 6).trim());
    if (stream) expect(reading).toMatchObject({ done: true, error: undefined, finishReason: "length" });
    await expectBalanced(cluster!);
    const ledgers = engines.flatMap(({ ranks }) => ranks.map(({ ledger }) => ledger));
    expect(ledgers.flatMap(({ rejected }) => rejected)).toEqual([]);
    const sum = (key: "issued" | "consumed"): number =>
      prefills.flatMap(({ ranks }) => ranks).reduce((total, { ledger }) => total + ledger[key], 0);
    expect([sum("issued"), sum("consumed")]).toEqual(setup.movesKv ? [1, 1] : [0, 0]);
    const store = prefills[0]!.options.kvStore;
    if (!setup.movesKv) expect([store!.size, store!.hits]).toEqual([1, 1]);

    const [prefill, ...otherPrefills] = generating(prefills);
    const [decode, ...otherDecodes] = generating(decodes);
    expect([otherPrefills, otherDecodes]).toEqual([[], []]);
    expect([prefill!.tokens, decode!.tokens]).toEqual([1, 6]);
    if (!setup.concurrent) expect(decode!.arrivedAt).toBeGreaterThanOrEqual(prefill!.finishedAt!);
    const ranks = setup.cluster().prefillRanks;
    expect(prefill!.headers["x-data-parallel-rank"]).toEqual(
      ranks === undefined ? undefined : expect.stringMatching(/^[01]$/),
    );
    for (const { body: sent } of [prefill!, decode!]) expect(sent).toMatchObject({ model: body.model });

    expect(app.pdHealth()[0]).toMatchObject({ disaggregated: 1, decodeOnly: {} });
    expect(app.status().deployments["PDProxyServer"]!.details!["kvHolds"]).toMatchObject({ open: 0 });
    const replicas = app.status().deployments[`Decode:${model}`]!.replicas;
    expect(replicas.every(({ inFlight }) => inFlight === 0)).toBe(true);
  });

  it("a prefill that fails once is tried again, and the answer is right", async () => {
    const { url, prefills } = await start(setup);
    for (const engine of prefills) {
      engine.injectFault({ fault: { kind: "status", status: 503 }, match: { phase: "prefill", nth: 1 } });
    }
    const body = bodyOf(setup, "chat");
    const answer = await post(url + paths.chat, body);

    expect(JSON.parse(answer.text).choices[0].message.content).toBe(mockAnswer(body as never, 6));
    await expectBalanced(cluster!);
  });

  it("a decode that fails before its first token is tried again with a fresh id", async () => {
    const { url, decodes } = await start(setup);
    const phase = setup.movesKv ? "decode" : "aggregated";
    for (const engine of decodes) {
      engine.injectFault({ fault: { kind: "status", status: 503 }, match: { phase, nth: 1 }, times: 1 });
    }
    const body = bodyOf(setup, "chat", { stream: true });
    const answer = await post(url + paths.chat, body);

    expect(readStream(answer.text)).toMatchObject({ content: mockAnswer(body as never, 6), done: true });
    const ids = generating(decodes).map(({ headers }) => headers["x-request-id"]);
    // Two engines that fail once each; another rank of the first one answers already.
    if (setup.cluster().decodeRanks === undefined) expect(ids.length).toBe(3);
    expect(ids.length).toBeGreaterThan(1);
    expect(new Set(ids).size).toBe(ids.length);
    await expectBalanced(cluster!);
  });
});

it("both legs of a concurrent handoff run at once", async () => {
  for (const setup of connectorSetups.filter(({ concurrent }) => concurrent)) {
    const options = setup.cluster();
    cluster = await startPDCluster({
      ...options,
      prefills: 1,
      decodes: 1,
      engine: { ...options.engine, latency: { timeToFirstTokenMs: 60_000 } },
    });
    const leave = new AbortController();
    const answer = post(cluster.url + paths.chat, bodyOf(setup, "chat"), { signal: leave.signal });
    // Prefill never answers here: that decode is there all the same is the proof.
    const running = (): boolean =>
      [cluster!.prefills, cluster!.decodes].every((side) => generating(side).length === 1);
    while (!running()) await new Promise((resolve) => setImmediate(resolve));
    leave.abort();
    await answer.catch(() => undefined);
    await cluster.stop();
  }
});
