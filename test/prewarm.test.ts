import { afterEach, describe, expect, it } from "vitest";
import { FakeClock, MockVLLMEngine } from "../src/testing/index.ts";
import { post } from "./support/client.ts";
import { model, type PDCluster, type PDClusterOptions, startPDCluster } from "./support/pd-cluster.ts";

let cluster: PDCluster | undefined;
let more: MockVLLMEngine[] = [];
let warnings: string[] = [];

afterEach(async () => {
  await cluster?.stop();
  await Promise.all(more.map((engine) => engine.stop()));
  cluster = undefined;
  more = [];
  warnings = [];
});

async function start(options: PDClusterOptions = {}): Promise<PDCluster> {
  cluster = await startPDCluster({
    config: { experimentalConfigs: { _prewarm_prefill_decode: true } },
    ...options,
    environment: { warn: (message) => warnings.push(message), ...options.environment },
  });
  return cluster;
}

async function engine(role: "prefill" | "decode"): Promise<MockVLLMEngine> {
  const added = new MockVLLMEngine({ role });
  await added.start();
  more.push(added);
  return added;
}

/** Ids of the tiny requests an engine got. */
function warmUps({ requests }: MockVLLMEngine): readonly string[] {
  return requests
    .map(({ headers }) => String(headers["x-request-id"]))
    .filter((id) => id.startsWith("prewarm-"));
}

/** What was pinned for decode has been fetched, all of it. */
function balanced(engines: readonly MockVLLMEngine[]): boolean {
  return engines.every(({ ledger }) => {
    if (ledger.rejected.length > 0) return false;
    try {
      ledger.assertBalanced();
      return true;
    } catch {
      return false;
    }
  });
}

const named = (name: string) => (engine: MockVLLMEngine, index: number) => ({
  url: engine.url,
  name: `${name}${index}`,
});

const chat = { model, messages: [{ role: "user", content: "hi" }], max_tokens: 4 };
const [prefillName, decodeName] = [`Prefill:${model}`, `Decode:${model}`];

describe("pre-warming", () => {
  it("sends one tiny request through every pair before the first request of a client", async () => {
    const { app, prefills, decodes, engines } = await start({ prefills: 2, decodes: 3 });
    await app.start();

    // The application has started when one pair can serve; the others follow.
    await expect.poll(() => decodes.map((each) => warmUps(each).length)).toEqual([2, 2, 2]);
    expect(prefills.map((each) => warmUps(each).length)).toEqual([3, 3]);
    expect(decodes.map((each) => warmUps(each).length)).toEqual([2, 2, 2]);
    const ids = prefills.flatMap(warmUps);
    expect(new Set(ids).size).toBe(6);
    expect(new Set(decodes.flatMap(warmUps))).toEqual(new Set(ids));
    expect(engines[0]!.requests.find(({ path }) => path === "/v1/completions")!.bodyText).toContain(
      '"prompt":" x","max_tokens":1',
    );
    await expect.poll(() => balanced(engines)).toBe(true);
  });

  it("is no traffic of a client's", async () => {
    const { app } = await start();
    await app.start();
    expect(app.pdHealth()[0]).toMatchObject({ requests: 0, disaggregated: 0, pairs: [] });
    const { details } = app.status().deployments["PDProxyServer"]!;
    expect(details!["kvHolds"]).toMatchObject({ opened: 0, open: 0 });
  });

  it("is off unless configured", async () => {
    const { app, engines } = await start({ config: {} });
    await app.start();
    expect(engines.flatMap(warmUps)).toEqual([]);
  });

  it("warms the new pairs, and only those, when a pool grows", async () => {
    const { app, prefills, decodes, url } = await start({ prefills: 1, decodes: 2 });
    await app.start();
    const added = await engine("prefill");
    await app.deployment(prefillName).setEndpoints([prefills[0]!, added].map(named("p")));
    await expect.poll(() => warmUps(added).length).toBe(2);
    const third = await engine("decode");
    await app.deployment(decodeName).setEndpoints([...decodes, third].map(named("d")));
    await expect.poll(() => warmUps(third).length).toBe(2);

    expect((await post(`${url}/v1/chat/completions`, chat)).status).toBe(200);
    expect(warmUps(prefills[0]!).length).toBe(3);
    expect(warmUps(added).length).toBe(3);
    expect(decodes.map((each) => warmUps(each).length)).toEqual([2, 2]);
    await expect.poll(() => balanced([...prefills, ...decodes, added, third])).toBe(true);
  });

  it("holds a new replica back until its pairs are warm", async () => {
    const { app, prefills, url } = await start({ prefills: 1, decodes: 1 });
    await app.start();
    const added = await engine("prefill");
    added.injectFault({ fault: { kind: "stallBeforeHeaders" }, match: { nth: 1, phase: "prefill" } });
    await app.deployment(prefillName).setEndpoints([prefills[0]!, added].map(named("p")));
    await expect.poll(() => warmUps(added).length).toBe(1);
    for (let index = 0; index < 6; index += 1) await post(`${url}/v1/chat/completions`, chat);
    expect(added.requests.filter(({ phase }) => phase === "prefill").length).toBe(1);
  });

  it("warms again when an engine was restarted", async () => {
    const { app, prefills, decodes, url } = await start({ prefills: 1, decodes: 2 });
    await app.start();
    await prefills[0]!.restart();
    expect((await post(`${url}/v1/chat/completions`, chat)).status).toBe(200);
    await expect.poll(() => decodes.map((each) => warmUps(each).length)).toEqual([2, 2]);
  });

  it("never fails a start: it warns, and tries again every five seconds", async () => {
    const clock = new FakeClock();
    const { prefills, decodes } = await start({
      prefills: 1,
      decodes: 1,
      environment: { clock },
      decodeEngine: {
        faults: [{ fault: { kind: "status", status: 500 }, match: { phase: "decode", nth: 1 } }],
      },
    });
    await expect.poll(() => warnings.join()).toMatch(/Pre-warming Decode:.* failed with 1 of 1 engines/);
    expect(warmUps(decodes[0]!).length).toBe(1);
    clock.advance(5_000);
    await expect.poll(() => warmUps(decodes[0]!).length).toBe(2);
    expect(warmUps(prefills[0]!).length).toBe(2);
  });

  it("says that it can't be had with a connector whose legs run at once", async () => {
    const { engines } = await start({
      kvTransferConfig: { kv_connector: "MooncakeConnector", kv_role: "kv_both" },
      engine: { kvConnector: "MooncakeConnector" },
    });
    expect(warnings.join()).toContain("_prewarm_prefill_decode has no effect with MooncakeConnector");
    expect(engines.flatMap(warmUps)).toEqual([]);
  });
});
