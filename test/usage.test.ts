import { afterEach, describe, expect, it } from "vitest";
import { MockVLLMEngine, type MockVLLMEngineOptions } from "../src/testing/index.ts";
import { post } from "./support/client.ts";
import { connectorSetups } from "./support/connectors.ts";
import { model, type PDCluster, type PDClusterOptions, startPDCluster } from "./support/pd-cluster.ts";

let cluster: PDCluster | undefined;
let plain: MockVLLMEngine | undefined;

afterEach(async () => {
  await cluster?.stop();
  await plain?.stop();
  cluster = undefined;
  plain = undefined;
});

/** Prefill caches prompts, as a single engine would; decode gets all of its KV from elsewhere. */
const caching: MockVLLMEngineOptions = { prefixCaching: true, promptTokensDetails: true, blockSize: 4 };

/** A cluster of two engines, and one engine alone, to compare with. */
async function start(engine: MockVLLMEngineOptions, more: PDClusterOptions = {}): Promise<PDCluster> {
  plain = new MockVLLMEngine({ ...engine, model });
  await plain.start();
  cluster = await startPDCluster({
    prefills: 1,
    decodes: 1,
    ...more,
    engine: { ...more.engine, ...engine },
  });
  return cluster;
}

const paths = { chat: "/v1/chat/completions", completions: "/v1/completions" };
const prompt = "a long story about an old king, his three sons, and the one road out of the kingdom";
const bodyOf = (method: keyof typeof paths, extra: object): Record<string, unknown> => ({
  model,
  ...(method === "chat" ? { messages: [{ role: "user", content: prompt }] } : { prompt }),
  max_tokens: 6,
  ...extra,
});

interface Frame {
  readonly choices: readonly unknown[];
  readonly usage?: unknown;
}

const frames = (text: string): readonly Frame[] =>
  text
    .split("\n\n")
    .filter((event) => event.startsWith("data: {"))
    .map((event) => JSON.parse(event.slice(6)) as Frame);
const usages = (text: string): readonly unknown[] => frames(text).map(({ usage }) => usage);

/** The same request to both, twice: the second time the prompt is cached. */
async function compare(method: keyof typeof paths, extra: object): Promise<readonly [string, string][]> {
  const pairs: [string, string][] = [];
  for (let times = 0; times < 2; times += 1) {
    const body = bodyOf(method, extra);
    const [through, alone] = await Promise.all([
      post(cluster!.url + paths[method], body),
      post(plain!.url + paths[method], body),
    ]);
    expect([through.status, alone.status]).toEqual([200, 200]);
    pairs.push([through.text, alone.text]);
  }
  return pairs;
}

describe.each(["chat", "completions"] as const)("usage of %s through prefill and decode", (method) => {
  it("is what a single engine says, prefill's cached tokens included, and not the token that prefill made", async () => {
    const { app } = await start(caching);
    const [first, second] = await compare(method, {});
    for (const [through, alone] of [first!, second!]) {
      expect(JSON.parse(through).usage).toEqual(JSON.parse(alone).usage);
    }
    expect(JSON.parse(first![0]).usage).toMatchObject({ completion_tokens: 6, prompt_tokens_details: null });
    const cached = JSON.parse(second![0]).usage.prompt_tokens_details.cached_tokens as number;
    expect(cached).toBeGreaterThan(0);
    expect(cached % 4).toBe(0);
    expect(app.pdHealth()[0]).toMatchObject({ disaggregated: 2 });
  });

  it("in a stream comes once, in the end, when it is asked for", async () => {
    await start(caching);
    for (const [through, alone] of await compare(method, {
      stream: true,
      stream_options: { include_usage: true },
    })) {
      expect(usages(through)).toEqual(usages(alone));
      const all = frames(through);
      expect(all.filter(({ usage }) => usage !== undefined)).toEqual([all.at(-1)]);
      expect(all.at(-1)!.choices).toEqual([]);
      expect(through.endsWith("data: [DONE]\n\n")).toBe(true);
    }
  });

  it("in a stream comes with every frame when that is asked for", async () => {
    await start(caching);
    const stream_options = { include_usage: true, continuous_usage_stats: true };
    for (const [through, alone] of await compare(method, { stream: true, stream_options })) {
      expect(usages(through)).toEqual(usages(alone));
      expect(frames(through).every(({ usage }) => usage !== undefined)).toBe(true);
      expect(frames(through).filter(({ choices }) => choices.length === 0).length).toBe(1);
    }
  });

  it.each([
    {},
    { stream_options: {} },
    { stream_options: { include_usage: false } },
    { stream_options: null },
  ])("in a stream does not come when it is not asked for (%j)", async (options) => {
    await start(caching);
    for (const [through, alone] of await compare(method, { stream: true, ...options })) {
      expect(usages(through)).toEqual(usages(alone));
      expect(through).not.toContain("usage");
      expect(frames(through).every(({ choices }) => choices.length === 1)).toBe(true);
    }
  });

  it("of several choices counts all of them, the prompt once", async () => {
    const { app } = await start(caching);
    const [first] = await compare(method, { n: 3 });
    expect(JSON.parse(first![0]).usage).toEqual(JSON.parse(first![1]).usage);
    expect(JSON.parse(first![0]).usage.completion_tokens).toBe(18);
    const options = { n: 2, stream: true, stream_options: { include_usage: true } };
    for (const [through, alone] of await compare(method, options)) {
      expect(usages(through)).toEqual(usages(alone));
    }
    expect(app.pdHealth()[0]).toMatchObject({ decodeOnly: { multiple_choices: 4 } });
  });

  it("says nothing of cached tokens when prefill does not, whatever decode counts", async () => {
    await start({}, { decodeEngine: { promptTokensDetails: true } });
    const [whole] = await compare(method, {});
    expect(JSON.parse(whole![0]).usage).toEqual(JSON.parse(whole![1]).usage);
    const [stream] = await compare(method, { stream: true, stream_options: { include_usage: true } });
    expect(usages(stream![0])).toEqual(usages(stream![1]));
  });

  it.each(connectorSetups.filter(({ name }) => ["Mooncake", "LMCacheConnectorV1"].includes(name)))(
    "with $name is prefill's too",
    async (setup) => {
      const options = setup.cluster();
      plain = new MockVLLMEngine({ ...caching, model });
      await plain.start();
      cluster = await startPDCluster({
        ...options,
        prefills: 1,
        decodes: 1,
        engine: { ...options.engine, ...caching },
        // Only the prefill engine looks into its own cache: decode finds all of a prompt elsewhere.
        decodeEngine: { prefixCaching: false },
      });
      const body = bodyOf(method, {});
      await post(cluster.url + paths[method], body);
      await post(plain.url + paths[method], body);
      const longer = bodyOf(method, method === "chat" ? { user: "other" } : { prompt: `${prompt} and back` });
      const [through, alone] = await Promise.all([
        post(cluster.url + paths[method], longer),
        post(plain.url + paths[method], longer),
      ]);
      const expected = JSON.parse(alone.text).usage;
      const { usage } = JSON.parse(through.text);
      expect(usage).toMatchObject({ ...expected, prompt_tokens_details: expect.anything() });
      // A prompt that lies whole in the store is nearly all cached; any other as in a single engine.
      if (setup.movesKv || method === "completions") expect(usage).toEqual(expected);
    },
  );

  it("reaches the trace as the client has it", async () => {
    const { app } = await start(caching);
    app.keepTraces(10);
    await compare(method, {});
    const answer = await post(cluster!.url + paths[method], bodyOf(method, {}), {
      headers: { "x-request-id": "traced" },
    });
    const usage = JSON.parse(answer.text).usage;
    expect(JSON.stringify(app.explain("traced"))).toContain(
      `"cachedTokens":${usage.prompt_tokens_details.cached_tokens}`,
    );
  });
});
