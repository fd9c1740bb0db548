import { afterEach, describe, expect, it } from "vitest";
import { buildPdOpenaiApp } from "../src/builders/build-pd-openai-app.ts";
import type { AutoscalingOptions } from "../src/config/autoscaling-config.ts";
import { LLMConfig } from "../src/config/llm-config.ts";
import type { ClientConfigInit } from "../src/config/client-config.ts";
import type { ScalingTarget } from "../src/config/scaling-target.ts";
import { callbackTarget, type ScaleRequest } from "../src/scaling-targets/callback-target.ts";
import { FakeClock, mockAnswer, MockVLLMEngine, seededRandom } from "../src/testing/index.ts";

const model = "mock-model";
const prefillS = 40;
const tokens = 20;
/** The first token comes at once. */
const decodeS = 190;

const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

/** Engine and application are in this process: what one of them writes, the other has after some turns. */
async function turns(count = 25): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** Mock engines that come when more are wanted, and are stopped when nobody uses them any more. */
function mockTarget(role: "prefill" | "decode", clock: FakeClock): ScalingTarget {
  const engines = new Map<string, MockVLLMEngine>();
  const stopped: Promise<unknown>[] = [];
  const latency =
    role === "prefill"
      ? { timeToFirstTokenMs: prefillS * 1_000 }
      : { interTokenMs: (decodeS / (tokens - 1)) * 1_000 };
  return callbackTarget(
    async ({ replicas, ready, reportReady, drain }) => {
      for (let count = ready.length; count < replicas; count++) {
        const engine = new MockVLLMEngine({ role, clock, latency, kvLeaseMs: 100_000, seed: engines.size });
        await engine.start();
        engines.set(engine.url, engine);
        reportReady(engine.url);
      }
      for (const { url } of ready.slice(replicas)) {
        stopped.push(drain(url).then(() => engines.get(url)!.stop()));
      }
    },
    {
      reportsEndpoints: true,
      stop: async () => {
        await Promise.all([...engines.values()].map((engine) => engine.stop()));
      },
    },
  );
}

function cluster(options: {
  /** @default one of its own */
  clock?: FakeClock;
  prefill: AutoscalingOptions;
  decode: AutoscalingOptions;
  client?: ClientConfigInit;
  maxQueuedRequests?: number;
  gracefulShutdownTimeoutS?: number;
  /** @default mock engines */
  decodeTarget?: ScalingTarget;
}) {
  const { clock = new FakeClock() } = options;
  const warnings: string[] = [];
  const side = (
    role: "prefill" | "decode",
    autoscalingConfig: AutoscalingOptions,
    maxOngoingRequests: number,
  ): LLMConfig =>
    new LLMConfig({
      modelLoadingConfig: { modelId: model },
      engineKwargs: { kv_transfer_config: { kv_connector: "NixlConnector", kv_role: "kv_both" } },
      deploymentConfig: {
        autoscalingConfig,
        maxOngoingRequests,
        maxQueuedRequests: options.maxQueuedRequests ?? -1,
        gracefulShutdownTimeoutS: options.gracefulShutdownTimeoutS,
        // Nothing but the load is to happen.
        healthCheckPeriodS: 100_000,
      },
      scalingTarget: (role === "decode" ? options.decodeTarget : undefined) ?? mockTarget(role, clock),
      client: options.client,
    });
  const app = buildPdOpenaiApp({
    prefillConfig: side("prefill", options.prefill, 32),
    decodeConfig: side("decode", options.decode, 128),
  }).withEnvironment({ clock, random: seededRandom(1), warn: (message) => warnings.push(message) });
  cleanups.push(async () => {
    const stopped = app.shutdown({ graceMs: 0 });
    await turns();
    clock.advance(1);
    await stopped;
  });
  const pool = (name: "Prefill" | "Decode") => app.status().deployments[`${name}:${model}`]!;
  const history: { at: number; pool: string; target: number }[] = [];
  const note = (): void => {
    for (const name of ["Prefill", "Decode"] as const) {
      const target = pool(name).targetReplicas!;
      if (history.findLast((each) => each.pool === name)?.target === target) continue;
      history.push({ at: clock.now() / 1_000, pool: name, target });
    }
  };
  const until = async (seconds: number): Promise<void> => {
    while (clock.now() < seconds * 1_000) {
      clock.advance(100);
      note();
      // Ten control periods without I/O between them are as good as one.
      if (Math.round(clock.now()) % 500 === 0) await turns();
    }
  };
  const ask = (text: string): Promise<string | null | undefined> =>
    app.handle
      .chat({
        model,
        messages: [{ role: "user", content: text }],
        max_tokens: tokens,
        ...({ ignore_eos: true } as object),
      })
      .then((answer) => answer.choices[0]?.message.content);
  const at = (): number => clock.now() / 1_000;
  return { app, pool, history, until, note, ask, at, warnings };
}

/** As the seed has them. */
const seedPrefill: AutoscalingOptions = {
  minReplicas: 1,
  maxReplicas: 4,
  targetOngoingRequests: 8,
  upscaleDelayS: 15,
  downscaleDelayS: 300,
};
const seedDecode: AutoscalingOptions = {
  minReplicas: 2,
  maxReplicas: 8,
  targetOngoingRequests: 16,
  upscaleDelayS: 30,
  downscaleDelayS: 600,
};

describe("a burst on the seed's two pools", { timeout: 120_000 }, () => {
  it("makes both grow and shrink on their own, to Ray's numbers at Ray's times, and loses no request", async () => {
    const { app, pool, history, until, note, ask } = cluster({ prefill: seedPrefill, decode: seedDecode });
    await app.start();
    await turns(100);
    note();
    const answers = Array.from({ length: 48 }, (_, index) => ask(`burst ${index}`));
    await turns(200);
    expect(pool("Prefill")).toMatchObject({ queued: 16, replicaStates: { RUNNING: 1 } });
    expect(pool("Decode")).toMatchObject({ queued: 0, replicaStates: { RUNNING: 2 } });

    await until(14.9);
    expect(history.map(({ target }) => target)).toEqual([1, 2]);
    await until(15.1);
    // 48 requests at 8 each are 6, at most 4; the first look at the load was at 0.1 s.
    expect(pool("Prefill")).toMatchObject({
      status: "UPSCALING",
      statusTrigger: "AUTOSCALING",
      targetReplicas: 4,
    });
    expect(pool("Prefill").message).toBe("Upscaling from 1 to 4 replicas.");
    await until(16);
    expect(pool("Prefill")).toMatchObject({
      status: "HEALTHY",
      statusTrigger: "UPSCALE_COMPLETED",
      queued: 0,
      replicaStates: { RUNNING: 4 },
    });
    await until(354);
    expect((await Promise.all(answers)).length).toBe(48);
    // Requests that are under way when prefill shrinks.
    const late = Array.from({ length: 8 }, (_, index) => ask(`late ${index}`));
    await turns(200);
    await until(361);
    expect(pool("Prefill").replicaStates).toEqual({ RUNNING: 1, STOPPING: 3 });
    await until(870);
    expect(history).toEqual(
      [
        { at: 0, pool: "Prefill", target: 1 },
        { at: 0, pool: "Decode", target: 2 },
        { at: 15.1, pool: "Prefill", target: 4 },
        // 48 at 16 each.
        { at: 30.1, pool: "Decode", target: 3 },
        // With the report of 60 s the mean of 30 s (48, 48, 16, 16, 16, 0) is 3 replicas' worth; 300 s later it asks for one.
        { at: 360, pool: "Prefill", target: 1 },
        // With that of 250 s (48, 48, 16, 16, 0) it is 2 replicas' worth; 600 s later still.
        { at: 850, pool: "Decode", target: 2 },
      ].map((each) => ({ ...each, at: expect.closeTo(each.at, 1) as number })),
    );
    for (const [index, answer] of (await Promise.all(answers)).entries()) {
      expectAnswer(answer, `burst ${index}`);
    }
    for (const [index, answer] of (await Promise.all(late)).entries()) {
      expectAnswer(answer, `late ${index}`);
    }
    expect(pool("Prefill")).toMatchObject({
      statusTrigger: "DOWNSCALE_COMPLETED",
      replicaStates: { RUNNING: 1 },
    });
    expect(pool("Decode")).toMatchObject({
      statusTrigger: "DOWNSCALE_COMPLETED",
      replicaStates: { RUNNING: 2 },
    });
    expect(app.pdHealth()[0]).toMatchObject({ disaggregated: 56, decodeOnly: {} });
  });
});

/** As long as it was asked to be, and beginning as the engine's own answer does. */
function expectAnswer(answer: string | null | undefined, text: string): void {
  const natural = mockAnswer({ messages: [{ role: "user", content: text }] }, tokens);
  expect(answer?.startsWith(natural), `${answer} to ${text}`).toBe(true);
}

describe("an engine that does not drain in time", { timeout: 60_000 }, () => {
  it("ends what still runs on it with an error that says why, and lets its target go on", async () => {
    const clock = new FakeClock();
    const engine = new MockVLLMEngine({ role: "decode", clock, latency: { interTokenMs: 10_000 } });
    await engine.start();
    cleanups.push(() => engine.stop());
    let scale: ScaleRequest | undefined;
    const { app, pool, until, warnings, at } = cluster({
      clock,
      prefill: { ...seedPrefill, maxReplicas: 1 },
      decode: seedDecode,
      gracefulShutdownTimeoutS: 20,
      decodeTarget: callbackTarget(
        (request) => {
          scale = request;
          request.reportReady(engine.url);
        },
        { reportsEndpoints: true },
      ),
    });
    await app.start();
    await turns(100);
    const asking = app.handle.chat({
      model,
      messages: [{ role: "user", content: "long" }],
      max_tokens: tokens,
      stream: true,
      ...({ ignore_eos: true } as object),
    });
    const read: unknown[] = [];
    const failed = (async () => {
      for await (const chunk of asking) read.push(chunk);
    })().catch((error: unknown) => error);
    await turns(100);
    await until(prefillS + 15);
    expect(read.length).toBeGreaterThan(0);
    const began = at();
    let drained = false;
    const draining = scale!.drain(engine.url).then(() => (drained = true));
    await until(began + 15);
    const [replica] = pool("Decode").replicas;
    expect(replica).toMatchObject({ state: "STOPPING", inFlight: 1 });
    expect(replica!.drainTimeLeftMs).toBeCloseTo(5_000, -1);
    expect(drained).toBe(false);
    await until(began + 20.5);
    await draining;
    expect(await failed).toMatchObject({
      status: 502,
      code: "stream_disconnected",
      message: "The engine was stopped before it had answered: it had 20 s to drain.",
    });
    expect(pool("Decode").replicas).toEqual([]);
    expect(warnings.filter((text) => text.includes("drain"))).toEqual([
      `Decode:${model}#${new URL(engine.url).host} did not drain within 20 s (graceful_shutdown_timeout_s): 1 of its requests end.`,
    ]);
  });
});

describe("scale to zero", { timeout: 60_000 }, () => {
  const zero: AutoscalingOptions = {
    minReplicas: 0,
    maxReplicas: 2,
    targetOngoingRequests: 2,
    upscaleDelayS: 30,
  };

  it("holds requests until an engine is there, which comes at once", async () => {
    const { app, pool, until, ask } = cluster({ prefill: zero, decode: zero });
    await app.start();
    await turns();
    expect(pool("Decode")).toMatchObject({ status: "HEALTHY", targetReplicas: 0, replicas: [] });
    const answer = ask("first");
    await turns();
    expect(pool("Decode").queued).toBe(1);
    await until(1);
    // From zero Ray does not wait for the delay.
    expect(pool("Decode")).toMatchObject({ targetReplicas: 1, queued: 0 });
    await until(prefillS + decodeS + 5);
    expectAnswer(await answer, "first");
  });

  it("turns away who is too many or waits too long", async () => {
    const { app, until, ask, pool } = cluster({
      prefill: zero,
      decode: zero,
      decodeTarget: callbackTarget(() => undefined, { reportsEndpoints: true }),
      client: { coldStartTimeoutMs: 20_000 },
      maxQueuedRequests: 1,
    });
    await app.start();
    const held = ask("held").catch((error: unknown) => error);
    await turns();
    await expect(ask("one too many")).rejects.toMatchObject({ status: 503 });
    await until(19);
    expect(pool("Decode").queued).toBe(1);
    await until(21);
    expect(await held).toMatchObject({ status: 503, code: "no_healthy_replica" });
  });
});
