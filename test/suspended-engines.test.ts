import { afterEach, describe, expect, it } from "vitest";

import type { EngineCommandName } from "../src/llm/engine-commands.ts";
import type { ChatCompletionRequest } from "../src/protocol/openai-types.ts";
import { post } from "./support/client.ts";
import { model, type PDCluster, type PDClusterOptions, startPDCluster } from "./support/pd-cluster.ts";

let cluster: PDCluster | undefined;

afterEach(async () => {
  await cluster?.stop();
  cluster = undefined;
});

async function start(options: PDClusterOptions): Promise<PDCluster> {
  cluster = await startPDCluster(options);
  await cluster.app.start();
  return cluster;
}

const prompt = "the same beginning every time, and long enough for a tree to see that it is one";
const chat = { model, messages: [{ role: "user", content: prompt }], max_tokens: 4 };
const path = "/v1/chat/completions";
const [Prefill, Decode] = [`Prefill:${model}`, `Decode:${model}`];

const suspensions = ({ app }: PDCluster, deployment: string): unknown =>
  app.status().deployments[deployment]!.replicas.map(({ suspension }) => suspension);
const generated = ({ requests }: PDCluster["decodes"][number]): number =>
  requests.filter((entry) => entry.path === path).length;
const tell = ({ app }: PDCluster, name: EngineCommandName, deployment: string, options = {}) =>
  app.handle.commandEngines(name, { deployments: [deployment], options });

describe("an engine that sleeps or is paused", () => {
  it.each([
    ["sleep", "wakeUp", "sleeping"],
    ["pause", "resume", "paused"],
  ] as const)("gets no request from %s until %s", async (suspend, release, state) => {
    const it = await start({ prefills: 2, decodes: 2, client: { unavailableTimeoutMs: 1 } });
    await tell(it, suspend, Decode);
    expect(suspensions(it, Decode)).toEqual([state, state]);
    expect(suspensions(it, Prefill)).toEqual([null, null]);
    expect(it.app.status().deployments[Decode]).toMatchObject({
      status: "UNHEALTHY",
      message: "No healthy replica that is awake.",
    });
    const refused = await post(it.url + path, chat);
    expect([refused.status, JSON.parse(refused.text).error.message]).toEqual([
      503,
      expect.stringContaining("its engines sleep or are paused"),
    ]);
    expect(it.decodes.map(generated)).toEqual([0, 0]);

    await tell(it, release, Decode);
    expect(suspensions(it, Decode)).toEqual([null, null]);
    expect(it.app.status().deployments[Decode]!.status).toBe("HEALTHY");
    expect((await post(it.url + path, chat)).status).toBe(200);
    expect(it.decodes.map(generated).reduce((sum, count) => sum + count)).toBe(1);
  });

  it("lets requests wait, which go on when it is awake", async () => {
    const it = await start({ prefills: 1, decodes: 1, client: { unavailableTimeoutMs: 60_000 } });
    await tell(it, "sleep", Decode);
    const waiting = it.app.handle.chat(chat as ChatCompletionRequest & { stream?: false });
    while (it.app.status().deployments[Decode]!.queued === 0) await new Promise((done) => setImmediate(done));
    await tell(it, "wakeUp", Decode);
    expect(await waiting).toMatchObject({ object: "chat.completion" });
  });

  it("on prefill leaves decode to answer alone", async () => {
    const it = await start({ prefills: 1, decodes: 1 });
    await tell(it, "sleep", Prefill);
    expect((await post(it.url + path, chat)).status).toBe(200);
    expect([it.prefills.map(generated), it.decodes.map(generated)]).toEqual([[0], [1]]);
  });

  it("stays in use when it refuses, and is as it says when somebody else has put it to sleep", async () => {
    const it = await start({ prefills: 1, decodes: 2 });
    const [first, second] = it.decodes as [PDCluster["decodes"][number], PDCluster["decodes"][number]];
    first.injectFault({
      fault: { kind: "status", status: 400, body: {} },
      match: { path: "/sleep" },
      times: 1,
    });
    second.injectFault({
      fault: { kind: "status", status: 502, body: {} },
      match: { path: "/sleep" },
      times: 1,
    });
    const results = await tell(it, "sleep", Decode);
    expect(results.map(({ ok, status }) => [ok, status])).toEqual([
      [false, 400],
      [false, 502],
    ]);
    // A refusal is certain; after a 502 nobody knows, until the engine says.
    expect(suspensions(it, Decode)).toEqual([null, "sleeping"]);
    await tell(it, "isSleeping", Decode);
    expect(suspensions(it, Decode)).toEqual([null, null]);

    await fetch(`${first.url}/sleep`, { method: "POST" });
    await tell(it, "isSleeping", Decode);
    expect(suspensions(it, Decode)).toEqual(["sleeping", null]);
  });

  it("takes its whole group of data-parallel ranks out", async () => {
    const it = await start({
      prefills: 1,
      decodeRanks: { size: 2 },
      client: { unavailableTimeoutMs: 1 },
    });
    const [first] = it.decodes;
    await fetch(`${first!.url}/sleep`, { method: "POST" });
    await tell(it, "isSleeping", Decode);
    expect(suspensions(it, Decode)).toEqual(["sleeping", null]);
    expect(it.app.status().deployments[Decode]!.message).toMatch(/rank 0 \(d0\) sleeping/);
    expect((await post(it.url + path, chat)).status).toBe(503);
  });
});

describe("a prefix cache that was reset", () => {
  const affinity = { requestRouterConfig: { requestRouterClass: "prefix-cache-affinity" } };

  it("is forgotten by the router of that pool, and by no other", async () => {
    const it = await start({
      prefills: 3,
      decodes: 3,
      prefillDeployment: affinity,
      decodeDeployment: affinity,
    });
    const matchOf = async (): Promise<readonly unknown[]> => {
      const answer = await post(it.url + path, chat);
      const { legs } = it.app.explain(String(answer.headers["x-request-id"]))!;
      return (["prefill", "decode"] as const).map((leg) =>
        legs
          .find((each) => each.leg === leg)!
          .choice!.ranked.some(({ scores }) => scores!["prefix_match"]! > 0),
      );
    };
    expect(await matchOf()).toEqual([false, false]);
    expect(await matchOf()).toEqual([true, true]);
    await tell(it, "resetPrefixCache", Decode);
    expect(await matchOf()).toEqual([true, false]);
    expect(await matchOf()).toEqual([true, true]);
    await tell(it, "sleep", Prefill);
    await tell(it, "wakeUp", Prefill);
    expect(await matchOf()).toEqual([false, true]);
  });

  it("counts no more when it is decided whether to disaggregate", async () => {
    const seen: (number | undefined)[] = [];
    const it = await start({
      prefills: 1,
      decodes: 1,
      proxy: {
        decide: (context) => {
          seen.push(Math.round(context.uncachedTokens!));
          return { mode: "pd" };
        },
      },
    });
    await post(it.url + path, chat);
    await post(it.url + path, chat);
    await tell(it, "resetPrefixCache", Decode);
    await post(it.url + path, chat);
    expect(seen[1]).toBe(0);
    expect(seen[0]).toBeGreaterThan(10);
    expect(seen[2]).toBe(seen[0]);
  });
});
