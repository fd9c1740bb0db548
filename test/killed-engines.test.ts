import { afterEach, describe, expect, it } from "vitest";
import { type MockVLLMEngine, mockAnswer } from "../src/testing/index.ts";
import { post, readStream } from "./support/client.ts";
import { model, type PDCluster, startPDCluster } from "./support/pd-cluster.ts";

let cluster: PDCluster | undefined;

afterEach(async () => {
  await cluster?.stop();
  cluster = undefined;
});

const concurrent = 120;

const chat = (index: number) => ({
  model,
  messages: [{ role: "user", content: `question ${index}` }],
  max_tokens: 6,
  stream: index % 2 === 0,
});

/** Sends many requests at once; `meanwhile` runs while they are under way. */
async function loadWhile(meanwhile: (running: PDCluster) => Promise<void>): Promise<PDCluster> {
  // In turns, so that the engine that is stuck keeps getting its share.
  const deployment = { requestRouterConfig: { requestRouterClass: "RoundRobinRouter" } };
  cluster = await startPDCluster({
    prefills: 3,
    decodes: 3,
    prefillDeployment: deployment,
    decodeDeployment: deployment,
    engine: { latency: { timeToFirstTokenMs: 5 } },
  });
  const { url } = cluster;
  const send = (index: number) => post(`${url}/v1/chat/completions`, chat(index));
  const answers = Promise.all(Array.from({ length: concurrent }, (_, index) => send(index)));
  await meanwhile(cluster);
  for (const [index, { status, text, broken }] of [...(await answers), await send(concurrent)].entries()) {
    const expected = mockAnswer(chat(index), 6);
    const content =
      index % 2 === 0 ? readStream(text).content : JSON.parse(text).choices?.[0].message.content;
    expect([index, status, content, broken]).toEqual([index, 200, expected, undefined]);
  }
  const { inFlight, deployments } = cluster.app.status();
  expect(inFlight).toBe(0);
  expect(deployments["PDProxyServer"]!.details!["kvHolds"]).toMatchObject({ open: 0 });
  return cluster;
}

/** From now on it takes requests and says nothing, and once it has `count` of them it is killed. */
async function killWhileBusy(
  engine: MockVLLMEngine,
  phase: "prefill" | "decode",
  count: number,
): Promise<void> {
  const before = engine.requests.filter((each) => each.phase === phase).length;
  engine.injectFault({ fault: { kind: "stallBeforeHeaders" }, match: { phase } });
  while (engine.requests.filter((each) => each.phase === phase).length < before + count) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  await engine.crash();
}

describe("with an engine killed under load, every request is answered", () => {
  it("one prefill of three", async () => {
    const { app } = await loadWhile(({ prefills }) => killWhileBusy(prefills[0]!, "prefill", 15));
    // Prefilled elsewhere, not computed by decode instead.
    expect(app.pdHealth()[0]).toMatchObject({ decodeOnly: {}, handoffShare: 1 });
  });

  it("one decode of three, before its first byte", async () => {
    const { prefills } = await loadWhile(({ decodes }) => killWhileBusy(decodes[0]!, "decode", 15));
    // A fresh prefill each time: no handle went out twice.
    expect(prefills.flatMap(({ ledger }) => ledger.rejected)).toEqual([]);
  });

  it("one of each", async () => {
    await loadWhile(async ({ prefills, decodes }) => {
      await Promise.all([
        killWhileBusy(prefills[1]!, "prefill", 10),
        killWhileBusy(decodes[2]!, "decode", 10),
      ]);
    });
  });

  it("two decodes of three, one after the other", async () => {
    await loadWhile(async ({ decodes }) => {
      await killWhileBusy(decodes[0]!, "decode", 10);
      await killWhileBusy(decodes[1]!, "decode", 10);
    });
  });
});
