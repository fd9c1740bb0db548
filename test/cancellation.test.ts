import { afterEach, describe, expect, it } from "vitest";
import { request as httpRequest } from "node:http";
import { FakeClock, type JournalEntry, type MockVLLMEngine, seededRandom } from "../src/testing/index.ts";
import { holds, model, type PDCluster, type PDClusterOptions, startPDCluster } from "./support/pd-cluster.ts";
import { until } from "./support/until.ts";

let cluster: PDCluster | undefined;

afterEach(async () => {
  await cluster?.stop();
  cluster = undefined;
});

async function start(options: PDClusterOptions = {}): Promise<PDCluster> {
  cluster = await startPDCluster({ prefills: 1, decodes: 1, ...options });
  return cluster;
}

const chat = (extra: Readonly<Record<string, unknown>> = {}) => ({
  model,
  messages: [{ role: "user" as const, content: "hello there" }],
  max_tokens: 500,
  ...extra,
});

const generated = (engine: MockVLLMEngine): readonly JournalEntry[] =>
  engine.requests.filter(({ phase }) => phase !== undefined);

const jsonPost = (body: unknown) => ({
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify(body),
});

function expectNothingLeft(running: PDCluster): void {
  const { inFlight, deployments } = running.app.status();
  expect(inFlight).toBe(0);
  for (const { replicas } of Object.values(deployments)) {
    for (const replica of replicas) expect(replica.inFlight).toBe(0);
  }
  expect(holds(running).open).toBe(0);
}

/** A client that can be made to vanish. */
function connect(
  url: string,
  body: unknown,
): { leave(): void; readonly gone: Promise<void>; firstByte: Promise<void> } {
  const request = httpRequest(`${url}/v1/chat/completions`, {
    method: "POST",
    agent: false,
    headers: { "content-type": "application/json" },
  });
  request.on("error", () => undefined);
  const gone = new Promise<void>((resolve) => request.on("close", () => resolve()));
  const firstByte = new Promise<void>((resolve) =>
    request.on("response", (response) => response.on("error", () => undefined).once("data", () => resolve())),
  );
  request.end(JSON.stringify(body));
  return { leave: () => request.destroy(), gone, firstByte };
}

describe("a client that leaves", () => {
  it.each([true, false])(
    "during prefill (stream: %s): prefill stops, decode is never asked",
    async (stream) => {
      // A clock that stands still: no limit of time stops prefill.
      const running = await start({ environment: { clock: new FakeClock() } });
      const [prefill, decode] = [running.prefills[0]!, running.decodes[0]!];
      prefill.injectFault({ fault: { kind: "stallBeforeHeaders" }, match: { phase: "prefill" } });
      const client = connect(running.url, chat({ stream }));
      await until(() => generated(prefill).length === 1);
      client.leave();
      await until(() => generated(prefill)[0]!.abortedAt !== undefined);

      await until(() => running.app.status().inFlight === 0);
      expect(generated(decode)).toEqual([]);
      expect(holds(running).opened).toBe(0);
      expectNothingLeft(running);
    },
  );

  it("before decode's first token: decode stops, the KV hold is released", async () => {
    const running = await start();
    const decode = running.decodes[0]!;
    decode.injectFault({ fault: { kind: "stallBeforeHeaders" }, match: { phase: "decode" } });
    const client = connect(running.url, chat({ stream: true }));
    await until(() => generated(decode).length === 1);
    expect(holds(running).open).toBe(1);
    client.leave();
    await until(() => generated(decode)[0]!.abortedAt !== undefined);
    await until(() => running.app.status().inFlight === 0);

    expect(holds(running).ended.released).toBe(1);
    expectNothingLeft(running);
  });

  it("in the middle of a stream: decode stops", async () => {
    const running = await start({ engine: { latency: { interTokenMs: 5 } } });
    const decode = running.decodes[0]!;
    const client = connect(running.url, chat({ stream: true, min_tokens: 400 }));
    await client.firstByte;
    client.leave();
    await until(() => generated(decode)[0]!.abortedAt !== undefined);
    await until(() => running.app.status().inFlight === 0);

    expect(generated(decode)[0]!.tokens).toBeLessThan(400);
    expect(holds(running).ended.handed_off).toBe(1);
    expectNothingLeft(running);
  });

  it("while waiting in the queue: nothing is dispatched", async () => {
    const running = await start({ decodeDeployment: { maxOngoingRequests: 1 } });
    const decode = running.decodes[0]!;
    decode.injectFault({ fault: { kind: "stallBeforeHeaders" }, match: { phase: "decode" }, times: 1 });
    const first = connect(running.url, chat());
    await until(() => generated(decode).length === 1);
    const second = connect(running.url, chat());
    await until(() => running.app.status().deployments["Decode:mock-model"]!.queued === 1);
    second.leave();
    await until(() => running.app.status().deployments["Decode:mock-model"]!.queued === 0);
    first.leave();
    await until(() => running.app.status().inFlight === 0);

    expect(generated(running.prefills[0]!)).toHaveLength(1);
    expectNothingLeft(running);
  });

  it("is not counted against any engine's health", async () => {
    const running = await start();
    running.decodes[0]!.injectFault({ fault: { kind: "stallBeforeHeaders" }, match: { phase: "decode" } });
    for (let index = 0; index < 5; index += 1) {
      const client = connect(running.url, chat());
      await until(() => generated(running.decodes[0]!).length === index + 1);
      client.leave();
      await until(() => running.app.status().inFlight === 0);
    }
    expect(running.app.status().deployments["Decode:mock-model"]!.replicas[0]!.health).toBe("healthy");
  });
});

describe("an AbortSignal in process", () => {
  it("stops both kinds of calls, and the reason is kept", async () => {
    const running = await start();
    running.decodes[0]!.injectFault({ fault: { kind: "stallBeforeHeaders" }, match: { phase: "decode" } });
    const reason = new Error("enough");
    for (const stream of [true, false]) {
      const controller = new AbortController();
      const count = generated(running.decodes[0]!).length;
      const call = stream
        ? (async () => {
            for await (const chunk of running.app.handle.chat(
              { ...chat(), stream: true },
              { signal: controller.signal },
            )) {
              void chunk;
            }
          })()
        : running.app.handle.chat({ ...chat(), stream: false }, { signal: controller.signal });
      await until(() => generated(running.decodes[0]!).length === count + 1);
      controller.abort(reason);
      await expect(call).rejects.toMatchObject({ code: "client_closed_request", cause: reason });
    }
    expectNothingLeft(running);
  });

  it("that fired already: no engine is asked", async () => {
    const running = await start();
    await expect(
      running.app.handle.chat({ ...chat(), stream: false }, { signal: AbortSignal.abort() }),
    ).rejects.toMatchObject({ code: "client_closed_request" });
    expect(generated(running.prefills[0]!)).toEqual([]);
  });

  it("leaving the loop stops decode", async () => {
    const running = await start({ engine: { latency: { interTokenMs: 5 } } });
    for await (const chunk of running.app.handle.chat({ ...chat({ min_tokens: 400 }), stream: true })) {
      void chunk;
      break;
    }
    await until(() => generated(running.decodes[0]!)[0]!.abortedAt !== undefined);
    expectNothingLeft(running);
  });
});

describe("time limits", () => {
  it.each<[string, PDClusterOptions["client"], "prefill" | "decode", string]>([
    ["prefill", { prefillTimeoutMs: 50 }, "prefill", "prefill_timeout"],
    ["decode's first token", { firstByteTimeoutMs: 50 }, "decode", "decode_timeout"],
    ["the whole request", { totalTimeoutMs: 500 }, "decode", "total_timeout"],
  ])("of %s: 504 with the phase named", async (_name, client, phase, code) => {
    const clock = new FakeClock();
    const running = await start({
      client,
      proxy: { maxRetries: 0, onPrefillFailure: "fail" },
      environment: { clock },
    });
    const engine = phase === "prefill" ? running.prefills[0]! : running.decodes[0]!;
    engine.injectFault({ fault: { kind: "stallBeforeHeaders" }, match: { phase } });
    const refused = expect(running.app.handle.chat({ ...chat(), stream: false })).rejects.toMatchObject({
      status: 504,
      code,
    });
    await until(() => generated(engine).length === 1);
    clock.advance(500);
    await refused;
    await until(() => generated(engine)[0]!.abortedAt !== undefined);
    expectNothingLeft(running);
  });

  it("leave no room for another try: the failure is answered at once, as it is", async () => {
    // A clock that stands still: whoever waits for it, waits for ever.
    const random = { ...seededRandom(1), next: () => 0.9 };
    const running = await start({
      client: { totalTimeoutMs: 17 },
      environment: { clock: new FakeClock(), random },
    });
    running.decodes[0]!.injectFault({ fault: { kind: "status", status: 503 }, match: { phase: "decode" } });
    const answer = running.app.handle.chat({ ...chat(), stream: false });
    await expect(answer).rejects.toMatchObject({ status: 503, code: "engine_response_error" });
    expect(generated(running.decodes[0]!)).toHaveLength(1);
    expectNothingLeft(running);
  });

  it("of a request that waits for a slot: 503", async () => {
    const clock = new FakeClock();
    const running = await start({
      client: { queueTimeoutMs: 50 },
      decodeDeployment: { maxOngoingRequests: 1 },
      environment: { clock },
    });
    running.decodes[0]!.injectFault({
      fault: { kind: "stallBeforeHeaders" },
      match: { phase: "decode" },
      times: 1,
    });
    const first = connect(running.url, chat());
    await until(() => generated(running.decodes[0]!).length === 1);
    const refused = expect(running.app.handle.chat({ ...chat(), stream: false })).rejects.toMatchObject({
      status: 503,
      code: "queue_timeout",
    });
    await until(() => running.app.status().deployments["Decode:mock-model"]!.queued === 1);
    clock.advance(50);
    await refused;
    first.leave();
    await until(() => running.app.status().inFlight === 0);
  });
});

describe("admission", () => {
  it("turns away what is beyond the queue, with the configured status and Retry-After", async () => {
    const running = await start({
      decodeDeployment: {
        maxOngoingRequests: 1,
        maxQueuedRequests: 1,
        backpressureConfig: { statusCode: 429, retryAfterS: 2.5 },
      },
    });
    running.decodes[0]!.injectFault({
      fault: { kind: "stallBeforeHeaders" },
      match: { phase: "decode" },
      times: 1,
    });
    const first = connect(running.url, chat());
    await until(() => generated(running.decodes[0]!).length === 1);
    const second = connect(running.url, chat({ max_tokens: 3 }));
    await until(() => running.app.status().deployments["Decode:mock-model"]!.queued === 1);
    const third = await fetch(`${running.url}/v1/chat/completions`, jsonPost(chat()));

    expect(third.status).toBe(429);
    expect(third.headers.get("retry-after")).toBe("3");
    expect(await third.json()).toMatchObject({ error: { code: "queue_full" } });
    expect(generated(running.prefills[0]!)).toHaveLength(1);
    // The freed slot goes to the one that waits.
    first.leave();
    await second.firstByte;
    await until(() => running.app.status().inFlight === 0);
    expectNothingLeft(running);
  });
});

describe("shutdown", () => {
  it("lets running requests finish, refuses new ones, and is idempotent", async () => {
    const running = await start({ engine: { latency: { interTokenMs: 2 } } });
    const answer = fetch(`${running.url}/v1/chat/completions`, jsonPost(chat({ max_tokens: 8 })));
    await until(() => generated(running.decodes[0]!).length === 1);
    const stopped = running.server.shutdown({ graceMs: 10_000 });
    await expect(running.app.handle.chat({ ...chat(), stream: false })).rejects.toMatchObject({
      code: "shutting_down",
    });
    expect((await answer).status).toBe(200);
    await stopped;
    await running.server.shutdown();
  });

  it("ends a stream that is still running after the grace period as an error", async () => {
    const running = await start({ engine: { latency: { interTokenMs: 5 } } });
    const response = await fetch(
      `${running.url}/v1/chat/completions`,
      jsonPost(chat({ stream: true, min_tokens: 400 })),
    );
    const stopped = running.server.shutdown({ graceMs: 1 });
    let text = "";
    await expect(async () => {
      for await (const chunk of response.body!) text += Buffer.from(chunk).toString();
    }).rejects.toThrow();
    await stopped;
    expect(text).toContain('"code":"shutting_down"');
    expect(text).not.toContain("[DONE]");
    await until(() => generated(running.decodes[0]!)[0]!.abortedAt !== undefined);
  });
});
