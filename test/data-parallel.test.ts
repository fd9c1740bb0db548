import { afterEach, describe, expect, it } from "vitest";
import { buildDpOpenaiApp } from "../src/builders/build-dp-openai-app.ts";
import { mutableDiscovery } from "../src/discovery/mutable-discovery.ts";
import { run } from "../src/serve/run.ts";
import { type JournalEntry, mockAnswer, MockVLLMEngine } from "../src/testing/index.ts";
import { post, readStream } from "./support/client.ts";
import { connectorSetups } from "./support/connectors.ts";
import { model, type PDCluster, type PDClusterOptions, startPDCluster } from "./support/pd-cluster.ts";

let cluster: PDCluster | undefined;

afterEach(async () => {
  await cluster?.stop();
  cluster = undefined;
});

async function start(options: PDClusterOptions): Promise<PDCluster> {
  cluster = await startPDCluster(options);
  return cluster;
}

/** Every rank in turn, where a test counts who got what. */
const inTurn = { requestRouterConfig: { requestRouterClass: "round-robin" } };
const allInTurn = { prefillDeployment: inTurn, decodeDeployment: inTurn };

const path = "/v1/chat/completions";
const chat = (content: string, extra: object = {}): Record<string, unknown> => ({
  model,
  messages: [{ role: "user", content }],
  max_tokens: 6,
  ...extra,
});

const generating = (engine: MockVLLMEngine): readonly JournalEntry[] =>
  engine.requests.filter(({ phase }) => phase !== undefined);
const ranksAsked = (engine: MockVLLMEngine): readonly unknown[] =>
  generating(engine).map(({ headers }) => headers["x-data-parallel-rank"]);
const count = (values: readonly unknown[]): Readonly<Record<string, number>> => {
  const counts: Record<string, number> = {};
  for (const value of values) counts[String(value)] = (counts[String(value)] ?? 0) + 1;
  return counts;
};
const replicasOf = ({ app }: PDCluster, side: "Prefill" | "Decode") =>
  app.status().deployments[`${side}:${model}`]!.replicas;

async function expectBalanced({ engines }: PDCluster): Promise<void> {
  await Promise.all(engines.map((engine) => engine.idle()));
  for (const { ledger } of engines.flatMap(({ ranks }) => ranks)) {
    ledger.assertBalanced();
    expect(ledger.rejected).toEqual([]);
  }
}

/** Three checks in a row decide. */
async function checkThrice({ app }: PDCluster, side: "Prefill" | "Decode"): Promise<void> {
  for (let times = 0; times < 3; times += 1) await app.deployment(`${side}:${model}`).checkNow();
}

describe("prefill with 2 ranks and decode with 4, as in the seed", () => {
  it("gives every rank its share, names prefill's in the handle, and counts each on its own", async () => {
    const { url, prefills, decodes } = await start({
      prefillRanks: { size: 2, perNode: 2 },
      decodeRanks: { size: 4, perNode: 4 },
      ...allInTurn,
    });
    const answers = await Promise.all(
      Array.from({ length: 16 }, (_, number) => {
        const body = chat(`question ${number}`, { stream: number % 2 === 0 });
        return post(url + path, body).then(({ text }) => ({ body, text }));
      }),
    );
    for (const { body, text } of answers) {
      const content = body["stream"] ? readStream(text).content : JSON.parse(text).choices[0].message.content;
      expect(content).toBe(mockAnswer(body, 6));
    }
    expect(count(ranksAsked(prefills[0]!))).toEqual({ 0: 8, 1: 8 });
    expect(count(ranksAsked(decodes[0]!))).toEqual({ 0: 4, 1: 4, 2: 4, 3: 4 });
    expect(prefills[0]!.ranks.map(({ ledger }) => [ledger.issued, ledger.consumed])).toEqual([
      [8, 8],
      [8, 8],
    ]);
    const engineIds = generating(decodes[0]!).map(
      ({ body }) => (body as { kv_transfer_params: { remote_engine_id: string } }).kv_transfer_params,
    );
    expect(count(engineIds.map(({ remote_engine_id: id }) => id))).toEqual(
      Object.fromEntries(prefills[0]!.ranks.map(({ engineId }) => [engineId, 8])),
    );
    expect(prefills[0]!.ranks.map(({ engineId }) => engineId.slice(-4))).toEqual(["_dp0", "_dp1"]);
    await expectBalanced(cluster!);
    expect(replicasOf(cluster!, "Prefill").map(({ id, rank, group }) => [id, rank, group])).toEqual([
      ["p0/0", 0, { name: "0", size: 2, inService: true }],
      ["p0/1", 1, { name: "0", size: 2, inService: true }],
    ]);
    expect(replicasOf(cluster!, "Decode").map(({ rank, inFlight }) => [rank, inFlight])).toEqual([
      [0, 0],
      [1, 0],
      [2, 0],
      [3, 0],
    ]);
  });

  it("asks a server for its health once, and shares connections among its ranks", async () => {
    const { url, decodes } = await start({
      prefillRanks: { size: 2, perNode: 2 },
      decodeRanks: { size: 4, perNode: 4 },
      ...allInTurn,
    });
    const [engine] = decodes;
    for (let number = 0; number < 8; number += 1) await post(url + path, chat(`one by one ${number}`));

    expect(count(ranksAsked(engine!))).toEqual({ 0: 2, 1: 2, 2: 2, 3: 2 });
    const ranksOn = new Map<number, Set<unknown>>();
    for (const { connection, headers } of generating(engine!)) {
      ranksOn.set(connection, (ranksOn.get(connection) ?? new Set()).add(headers["x-data-parallel-rank"]));
    }
    expect(Math.max(...Array.from(ranksOn.values(), ({ size }) => size))).toBeGreaterThan(1);
    const checks = (): number => engine!.requests.filter((entry) => entry.path === "/health").length;
    const before = checks();
    await cluster!.app.deployment(`Decode:${model}`).checkNow();
    expect(checks() - before).toBe(1);
  });

  it("balances ranks by what runs on them from here", async () => {
    const { url, decodes } = await start({
      prefillRanks: { size: 2, perNode: 2 },
      decodeRanks: { size: 2, perNode: 2 },
      decodeEngine: { latency: { interTokenMs: 60_000 } },
    });
    const leave = new AbortController();
    const left = Array.from({ length: 8 }, (_, number) =>
      post(url + path, chat(`held ${number}`, { stream: true }), { signal: leave.signal }).catch(() => 0),
    );
    while (generating(decodes[0]!).length < 8) await new Promise((resolve) => setImmediate(resolve));
    expect(replicasOf(cluster!, "Decode").map(({ inFlight }) => inFlight)).toEqual([4, 4]);
    expect(count(ranksAsked(decodes[0]!))).toEqual({ 0: 4, 1: 4 });
    leave.abort();
    await Promise.all(left);
    await expectBalanced(cluster!);
  });

  it("has every rank's own load", async () => {
    const { url, app, decodes } = await start({
      prefillRanks: { size: 2, perNode: 2 },
      decodeRanks: { size: 2, perNode: 2 },
      decodeDeployment: {
        requestRouterConfig: { requestRouterClass: "kv-pressure", requestRoutingStatsPeriodS: 0.05 },
      },
      decodeEngine: { latency: { interTokenMs: 60_000 }, numBlocks: 100 },
    });
    const leave = new AbortController();
    const left = post(url + path, chat("long", { stream: true }), { signal: leave.signal }).catch(() => 0);
    const loads = () => replicasOf(cluster!, "Decode").map(({ engineLoad }) => engineLoad?.running);
    while (!loads().includes(1)) await new Promise((resolve) => setImmediate(resolve));
    expect(new Set(loads())).toEqual(new Set([0, 1]));
    expect(
      app
        .deployment(`Decode:${model}`)
        .status()
        .replicas.map(({ inFlight }) => inFlight),
    ).toEqual(decodes[0]!.ranks.map(({ load }) => load.running));
    leave.abort();
    await left;
  });
});

describe("hybrid and external load balancing", () => {
  it("addresses the ranks of two nodes from 0 on each, and counts them in the group", async () => {
    const { url, prefills, decodes } = await start({
      prefillRanks: { size: 4, perNode: 2 },
      decodeRanks: { size: 2 },
      ...allInTurn,
    });
    await Promise.all(Array.from({ length: 8 }, (_, number) => post(url + path, chat(`hybrid ${number}`))));

    for (const engine of prefills) expect(count(ranksAsked(engine))).toEqual({ 0: 2, 1: 2 });
    expect(prefills.flatMap(({ ranks }) => ranks.map(({ engineId }) => engineId.slice(-4)))).toEqual([
      "_dp0",
      "_dp1",
      "_dp2",
      "_dp3",
    ]);
    // One rank behind a URL needs no address.
    for (const engine of decodes) expect(count(ranksAsked(engine))).toEqual({ undefined: 4 });
    expect(replicasOf(cluster!, "Prefill").map(({ id, rank }) => [id, rank])).toEqual([
      ["p0/0", 0],
      ["p0/1", 1],
      ["p1/2", 2],
      ["p1/3", 3],
    ]);
    expect(replicasOf(cluster!, "Decode").map(({ id, rank }) => [id, rank])).toEqual([
      ["d0", 0],
      ["d1", 1],
    ]);
    await expectBalanced(cluster!);
  });

  it("Mooncake: each rank's engine id, by rank, from one bootstrap server", async () => {
    const setup = connectorSetups.find(({ name }) => name === "Mooncake")!;
    const { url, prefills, decodes } = await start({
      ...setup.cluster(),
      prefillRanks: { size: 2, perNode: 2 },
      decodeRanks: { size: 2, perNode: 2 },
      ...allInTurn,
    });
    await Promise.all(Array.from({ length: 4 }, (_, number) => post(url + path, chat(`moon ${number}`))));

    const sent = generating(decodes[0]!).map(
      ({ body }) => (body as { kv_transfer_params: { remote_engine_id: string } }).kv_transfer_params,
    );
    expect(count(sent.map(({ remote_engine_id: id }) => id))).toEqual(
      Object.fromEntries(prefills[0]!.ranks.map(({ engineId }) => [engineId, 2])),
    );
    expect(count(ranksAsked(prefills[0]!))).toEqual({ 0: 2, 1: 2 });
    await expectBalanced(cluster!);
  });

  it("warns when a server does not heed the rank it is told", async () => {
    const warnings: string[] = [];
    // Its handles come from ranks 6 and 7.
    const odd = new MockVLLMEngine({ dataParallelSize: 2, dataParallelStartRank: 6 });
    await odd.start();
    const wrong = await start({
      prefillRanks: { size: 2, perNode: 2 },
      ...allInTurn,
      endpoint: (engine) => (engine.options.role === "prefill" ? { url: odd.url } : {}),
      environment: { warn: (message) => warnings.push(message) },
    });
    for (let number = 0; number < 4; number += 1) {
      expect((await post(wrong.url + path, chat(`odd ${number}`))).status).toBe(200);
    }
    await odd.stop();
    expect(warnings.filter((text) => text.includes("X-data-parallel-rank")).toSorted()).toEqual([
      `Prefill:${model}#p0/0 does not heed X-data-parallel-rank: rank 6 answered for it.`,
      `Prefill:${model}#p0/1 does not heed X-data-parallel-rank: rank 7 answered for it.`,
    ]);
  });
});

describe("a group of ranks", () => {
  it("of prefill goes out with one dead rank, and comes back whole", async () => {
    const warnings: string[] = [];
    const { url, prefills, app } = await start({
      prefillRanks: { size: 2 },
      ...allInTurn,
      environment: { warn: (message) => warnings.push(message) },
    });
    await prefills[1]!.crash();
    await checkThrice(cluster!, "Prefill");
    expect(replicasOf(cluster!, "Prefill").map(({ health, group }) => [health, group?.inService])).toEqual([
      ["healthy", false],
      ["unhealthy", false],
    ]);
    for (let number = 0; number < 3; number += 1) {
      const body = chat(`alone ${number}`);
      expect(JSON.parse((await post(url + path, body)).text).choices[0].message.content).toBe(
        mockAnswer(body, 6),
      );
    }
    expect(generating(prefills[0]!)).toEqual([]);
    expect(app.pdHealth()[0]).toMatchObject({ disaggregated: 0, decodeOnly: { no_prefill: 3 } });
    const { status, message } = app.status().deployments[`Prefill:${model}`]!;
    expect([status, message]).toEqual([
      "UNHEALTHY",
      "No healthy replica. Data-parallel group 0: rank 1 (p1) unhealthy.",
    ]);

    await prefills[1]!.start();
    await app.deployment(`Prefill:${model}`).checkNow();
    await Promise.all(Array.from({ length: 4 }, (_, number) => post(url + path, chat(`again ${number}`))));
    expect(prefills.map((engine) => generating(engine).length)).toEqual([2, 2]);
    expect(warnings.filter((text) => text.includes("Data-parallel group"))).toEqual([
      `Data-parallel group 0 of "Prefill:${model}" is out of service as a whole: rank 1 (p1) unhealthy.`,
      `Data-parallel group 0 of "Prefill:${model}" is whole and in service again.`,
    ]);
  });

  it("of decode that is out answers 503 after a while", async () => {
    const { url, decodes } = await start({
      decodeRanks: { size: 2 },
      client: { unavailableTimeoutMs: 20 },
    });
    await decodes[0]!.crash();
    await checkThrice(cluster!, "Decode");
    const answer = await post(url + path, chat("nobody"));

    expect(answer.status).toBe(503);
    expect(generating(decodes[1]!)).toEqual([]);
  });

  it("stays in service when requests fail on one rank: only that rank rests", async () => {
    const { url, prefills } = await start({ prefillRanks: { size: 2 }, ...allInTurn });
    prefills[1]!.injectFault({ fault: { kind: "status", status: 500 }, match: { phase: "prefill" } });
    for (let number = 0; number < 12; number += 1) {
      expect((await post(url + path, chat(`bad ${number}`))).status).toBe(200);
    }
    expect(replicasOf(cluster!, "Prefill").map(({ health, group }) => [health, group?.inService])).toEqual([
      ["healthy", true],
      ["ejected", true],
    ]);
  });

  it("behind one URL dies and comes back with its server, whose restart all its ranks hear of at once", async () => {
    const { url, prefills } = await start({ prefillRanks: { size: 2, perNode: 2 }, ...allInTurn });
    await post(url + path, chat("before 0"));
    await post(url + path, chat("before 1"));
    await prefills[0]!.crash();
    await checkThrice(cluster!, "Prefill");
    expect(replicasOf(cluster!, "Prefill").map(({ health }) => health)).toEqual(["unhealthy", "unhealthy"]);
    await prefills[0]!.start();
    await cluster!.app.deployment(`Prefill:${model}`).checkNow();
    for (let number = 0; number < 4; number += 1) {
      const body = chat(`after ${number}`);
      expect(JSON.parse((await post(url + path, body)).text).choices[0].message.content).toBe(
        mockAnswer(body, 6),
      );
    }
    await expectBalanced(cluster!);
  });
});

describe("buildDpOpenaiApp", () => {
  it("serves when discovery has found all ranks, not before; a rank that goes takes the group out", async () => {
    const engines = Array.from({ length: 3 }, () => new MockVLLMEngine());
    await Promise.all(engines.map((engine) => engine.start()));
    const [a, b, c] = engines.map(({ url }) => url) as [string, string, string];
    const endpoints = mutableDiscovery([a]);
    const app = buildDpOpenaiApp({
      llmConfig: {
        modelLoadingConfig: { modelId: model },
        engineKwargs: { data_parallel_size: 2 },
        client: { unavailableTimeoutMs: 20 },
        deploymentConfig: inTurn,
        endpoints,
      },
    }).withEnvironment({ warn: () => undefined });
    const server = await run(app, { port: 0, name: "dp-discovery" });
    const statuses = () =>
      app
        .status()
        .deployments[`DPServer:${model}`]!.replicas.map(({ rank, group }) => [rank, group?.inService]);
    try {
      expect((await post(server.url + path, chat("too early"))).status).toBe(503);
      endpoints.set([a, b]);
      await Promise.all([0, 1, 2, 3].map((number) => post(server.url + path, chat(`now ${number}`))));
      expect(engines.map((engine) => generating(engine).length)).toEqual([2, 2, 0]);
      endpoints.set([b]);
      expect((await post(server.url + path, chat("one left"))).status).toBe(503);
      expect(statuses()).toContainEqual([1, false]);
      // The new one takes the place that is free; the other keeps its own.
      endpoints.set([c, b]);
      expect((await post(server.url + path, chat("whole again"))).status).toBe(200);
      expect(statuses()).toEqual([
        [1, true],
        [0, true],
      ]);
      await expect(app.deployment(`DPServer:${model}`).setEndpoints([a, b, c])).rejects.toThrow(
        /endpoints: The endpoints are not those of all data-parallel ranks/,
      );
    } finally {
      await server.shutdown({ graceMs: 0 });
      await Promise.all(engines.map((engine) => engine.stop()));
    }
  });
});
