import { afterEach, describe, expect, it } from "vitest";
import type { DisaggregationContext } from "../src/llm/disaggregation-context.ts";
import type { PDProxyOptions } from "../src/llm/pd-proxy-options.ts";
import { post } from "./support/client.ts";
import { model, type PDCluster, type PDClusterOptions, startPDCluster } from "./support/pd-cluster.ts";

let cluster: PDCluster | undefined;

afterEach(async () => {
  await cluster?.stop();
  cluster = undefined;
});

async function start(options: PDClusterOptions): Promise<PDCluster> {
  cluster = await startPDCluster({ prefills: 1, decodes: 1, ingress: { routeHeader: true }, ...options });
  return cluster;
}

const words = (count: number): string => "word ".repeat(count);
const chat = (text: string) => ({ model, messages: [{ role: "user", content: text }], max_tokens: 4 });

async function route({ url }: PDCluster, body: object, path = "/v1/chat/completions"): Promise<string> {
  const { status, headers } = await post(url + path, body);
  expect(status).toBe(200);
  return String(headers["x-serve-llm-route"]).split("; ").slice(0, 2).join("; ");
}

const prefillToo = "mode=pd; prefill=p0";
const alone = (reason: string): string => `mode=decode-only; reason=${reason}`;

describe("conditional disaggregation", () => {
  it("is off by default: the shortest prompt goes through prefill", async () => {
    expect(await route(await start({}), chat("hi"))).toBe(prefillToo);
  });

  it("decodes short prompts alone, in every form a prompt can have", async () => {
    const running = await start({ proxy: { decide: { minUncachedTokens: 50 } } });
    expect(await route(running, chat(words(10)))).toBe(alone("short_prompt"));
    expect(await route(running, chat(words(100)))).toBe(prefillToo);
    const completion = (prompt: unknown) => ({ model, prompt, max_tokens: 4 });
    expect(await route(running, completion(words(10)), "/v1/completions")).toBe(alone("short_prompt"));
    const ids = Array.from({ length: 60 }, (_, index) => 100 + index);
    expect(await route(running, completion(ids), "/v1/completions")).toBe(prefillToo);
    expect(await route(running, completion(ids.slice(20)), "/v1/completions")).toBe(alone("short_prompt"));
    const image = { type: "image_url", image_url: { url: "data:image/png;base64,AA" } };
    expect(await route(running, { ...chat(""), messages: [{ role: "user", content: [image] }] })).toBe(
      prefillToo,
    );
    expect(running.app.pdHealth()[0]).toMatchObject({ decodeOnly: { short_prompt: 3 }, degraded: false });
  });

  it("decodes a conversation alone that goes on where its beginning is cached", async () => {
    const running = await start({ proxy: { decide: { min_uncached_tokens: 50 } as never } });
    const begin = words(100);
    expect(await route(running, chat(begin))).toBe(prefillToo);
    expect(await route(running, chat(`${begin}and then`))).toBe(alone("cached_prompt"));
    expect(await route(running, chat(`other ${begin}`))).toBe(prefillToo);
    const requestId = "explained";
    await post(`${running.url}/v1/chat/completions`, chat(`${begin}and more`), {
      headers: { "x-request-id": requestId },
    });
    await expect.poll(() => running.app.explain(requestId)?.reason).toBe("cached_prompt");
  });

  it("decodes alone while prefill has more than it should", async () => {
    const running = await start({
      proxy: { decide: { maxPrefillQueue: 0 } },
      prefillDeployment: { requestRouterConfig: { requestRouterClass: "round-robin" } },
    });
    running.prefills[0]!.injectFault({
      fault: { kind: "stallBeforeHeaders" },
      match: { nth: 1, phase: "prefill" },
    });
    const controller = new AbortController();
    const stuck = fetch(`${running.url}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(chat("stuck")),
      signal: controller.signal,
    });
    await expect
      .poll(() => running.prefills[0]!.requests.some(({ phase }) => phase === "prefill"))
      .toBe(true);
    expect(await route(running, chat("hi"))).toBe(alone("prefill_busy"));
    controller.abort();
    await expect(stuck).rejects.toThrow();
  });

  it("takes a function, which knows the replica, the prompt and prefill's load", async () => {
    const seen: DisaggregationContext[] = [];
    const running = await start({
      proxy: {
        decide: (context) => {
          seen.push(context);
          return context.request.sessionId === "alone"
            ? { mode: "decode-only", reason: "custom" }
            : { mode: "pd" };
        },
      },
    });
    expect(await route(running, chat(words(8)))).toBe(prefillToo);
    expect(seen[0]!.decode.id).toBe("d0");
    expect(seen[0]!.prefill).toMatchObject({ replicas: 1, queued: 0 });
    expect(seen[0]!.promptTokens).toBe(10);
    const { headers } = await post(`${running.url}/v1/chat/completions`, chat("hi"), {
      headers: { "x-session-id": "alone" },
    });
    expect(headers["x-serve-llm-route"]).toContain(alone("custom"));
  });

  it("keeps reasons that nobody knows out of the metrics", async () => {
    const running = await start({
      proxy: { decide: () => ({ mode: "decode-only", reason: "mine" }) as never },
    });
    expect(await route(running, chat("hi"))).toBe(alone("custom"));
  });

  it.each([
    [{ decide: {} }, /decides nothing/],
    [{ decide: { minUncachedTokens: -1 } }, /minUncachedTokens/],
    [{ decide: { minUncachedToken: 1 } }, /minUncachedTokens/],
    [{ decide: { maxPrefillQueue: 1, charsPerToken: 0 } }, /charsPerToken/],
  ])("refuses %j", async (proxy, problem) => {
    await expect(start({ proxy: proxy as PDProxyOptions })).rejects.toThrow(problem);
  });
});

describe("pairing", () => {
  it("takes decode and prefill from one place, and from one group", async () => {
    const zones = ["east", "west"];
    let index = 0;
    const running = await start({
      prefills: 2,
      decodes: 2,
      endpoint: () => ({ labels: { zone: zones[index++ % 2]! } }),
      proxy: { pairing: { topologyLabels: ["zone"] } },
    });
    const pairs = new Set<string>();
    for (let round = 0; round < 12; round += 1) {
      const { headers } = await post(`${running.url}/v1/chat/completions`, chat("hi"));
      pairs.add(String(headers["x-serve-llm-route"]));
    }
    expect([...pairs].toSorted()).toEqual([
      "mode=pd; prefill=p0; decode=d0",
      "mode=pd; prefill=p1; decode=d1",
    ]);
  });

  it("takes no decode replica whose group has no prefill, while another has", async () => {
    const groups = ["a", "a", "b"];
    let index = 0;
    const running = await start({
      prefills: 1,
      decodes: 2,
      endpoint: () => ({ pairGroup: groups[index++]! }),
    });
    for (let round = 0; round < 8; round += 1) {
      const { headers } = await post(`${running.url}/v1/chat/completions`, chat("hi"));
      expect(headers["x-serve-llm-route"]).toBe("mode=pd; prefill=p0; decode=d0");
    }
  });
});

describe("sessions", () => {
  const prefillsOf = async (running: PDCluster, count: number): Promise<ReadonlySet<string>> => {
    const used = new Set<string>();
    for (let round = 0; round < count; round += 1) {
      const answer = await post(`${running.url}/v1/chat/completions`, chat("hi"), {
        headers: { "x-session-id": "s1" },
      });
      used.add(/prefill=(p\d)/.exec(String(answer.headers["x-serve-llm-route"]))![1]!);
    }
    return used;
  };

  it("stay on one prefill replica by default", async () => {
    const running = await start({ prefills: 4 });
    expect((await prefillsOf(running, 10)).size).toBe(1);
  });

  it.each([
    ["a field of the body", { sessionField: "session_id" }],
    [
      "a function",
      { sessionKey: (_request: unknown, body: { value(key: string): unknown }) => body.value("session_id") },
    ],
  ])("are told by %s", async (_name, ingress) => {
    const running = await start({ prefills: 4, ingress: { routeHeader: true, ...ingress } });
    const used = new Set<string>();
    for (let round = 0; round < 10; round += 1) {
      const body = { ...chat("hi"), session_id: "s1" };
      const { headers } = await post(`${running.url}/v1/chat/completions`, body, {
        headers: { "x-session-id": `other-${round}` },
      });
      used.add(/prefill=(p\d)/.exec(String(headers["x-serve-llm-route"]))![1]!);
    }
    expect(used.size).toBe(1);
  });

  it("do not where the deployment's options name a router", async () => {
    const running = await start({
      prefills: 4,
      prefillDeployment: { requestRouterConfig: { requestRouterClass: "round-robin" } },
    });
    expect((await prefillsOf(running, 10)).size).toBe(4);
  });
});

it("a request's story has the candidates and what counted for each", async () => {
  const running = await start({
    prefills: 6,
    prefillDeployment: { requestRouterConfig: { requestRouterClass: "PrefixCacheAffinityRouter" } },
  });
  const text = words(20);
  await post(`${running.url}/v1/chat/completions`, chat(text));
  await post(`${running.url}/v1/chat/completions`, chat(text), { headers: { "x-request-id": "told" } });
  await expect.poll(() => running.app.explain("told")?.endMs).toBeDefined();
  const { legs, phases } = running.app.explain("told")!;
  const [prefill, decode] = legs;
  expect(prefill!.choice!.considered).toBe(6);
  expect(prefill!.choice!.ranked[0]).toMatchObject({
    replica: prefill!.replica,
    scores: { load: expect.any(Number), prefix_match: 1 },
  });
  expect(decode!.choice!.ranked[0]!.scores).toEqual({ load: expect.any(Number) });
  expect(Object.keys(phases).length).toBeGreaterThan(0);
});
