import type { IncomingMessage, ServerResponse } from "node:http";
import { afterEach, describe, expect, it } from "vitest";

import type { ProbeGeneration } from "../config/client-config.ts";
import type { Random } from "../internal/random.ts";
import { FakeClock } from "../testing/fake-clock.ts";
import { MockVLLMEngine } from "../testing/mock-vllm-engine.ts";
import { HealthChecker, type HealthCheckerInit } from "./health-checker.ts";
import { LoopbackServer, makeReplica, nobody, readBody } from "./replica.fixture.ts";
import type { Replica } from "./replica.ts";

const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

/** Jitter in the middle: checks are exactly a period apart, probes 1.1 intervals. */
const middle: Random = { next: () => 0.5, id: () => "0".repeat(32) };

function setUp(init: Partial<HealthCheckerInit> = {}) {
  const clock = new FakeClock();
  const warnings: string[] = [];
  const alive: string[] = [];
  const checker = new HealthChecker({
    clock,
    random: middle,
    healthCheckPeriodS: 10,
    healthCheckTimeoutS: 3,
    modelId: "mock-model",
    onAlive: (replica) => alive.push(replica.id),
    warn: (message) => warnings.push(message),
    ...init,
  });
  cleanups.push(() => checker.stop());
  const replica = (url: string, name = "r"): Replica => {
    const made = makeReplica({ url, clock, endpoint: { name } });
    cleanups.push(() => made.destroy());
    return made;
  };
  return { clock, checker, replica, warnings, alive };
}

interface Server {
  readonly server: LoopbackServer;
  readonly url: string;
  /** Requests that came, as "METHOD path". */
  readonly requests: string[];
  readonly bodies: unknown[];
  /** Resolves when so many requests came. */
  readonly received: (count: number) => Promise<void>;
}

/** A server whose `/health` and generating routes a test decides on; undefined: never answers. */
async function makeServer(
  answer: (path: string) => number | undefined | { readonly json: unknown },
): Promise<Server> {
  const requests: string[] = [];
  const bodies: unknown[] = [];
  let waiting: (() => void)[] = [];
  const respond = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const body = await readBody(request);
    bodies.push(body.length > 0 ? JSON.parse(body.toString()) : undefined);
    requests.push(`${request.method} ${request.url}`);
    const result = answer(request.url!);
    if (typeof result === "number") response.writeHead(result).end();
    else if (result !== undefined) response.end(JSON.stringify(result.json));
    const notify = waiting;
    waiting = [];
    for (const resolve of notify) resolve();
  };
  const server = await new LoopbackServer((request, response) => void respond(request, response)).listen();
  cleanups.push(() => server[Symbol.asyncDispose]());
  const received = async (count: number): Promise<void> => {
    while (requests.length < count) await new Promise<void>((resolve) => waiting.push(resolve));
  };
  return { server, url: server.url, requests, bodies, received };
}

describe("health checks", () => {
  it("take a replica out after three failures in a row and bring it back after one success", async () => {
    let status = 200;
    const { url } = await makeServer(() => status);
    const { checker, replica, alive } = setUp();
    const checked = replica(url);
    checker.sync([checked]);
    await checker.checkNow();
    const states: string[] = [];
    for (status of [503, 503, 200, 500, 503, 503, 503, 200]) {
      await checker.checkNow();
      states.push(checked.health);
    }
    const expected = [
      "healthy",
      "healthy",
      "healthy",
      "healthy",
      "healthy",
      "unhealthy",
      "unhealthy",
      "healthy",
    ];
    expect(states).toEqual(expected);
    expect(alive).toEqual(["r", "r", "r"]);
  });

  it("count an engine that can't be reached, and one that is too slow", async () => {
    const slow = await makeServer(() => undefined);
    const { clock, checker, replica } = setUp();
    const [gone, hung] = [replica(nobody, "gone"), replica(slow.url, "hung")];
    checker.sync([gone, hung]);
    for (let time = 1; time <= 3; time++) {
      const done = checker.checkNow();
      await slow.received(time);
      clock.advance(3000);
      await done;
    }
    expect([gone.health, hung.health]).toEqual(["unhealthy", "unhealthy"]);
  });

  it("come once a period, and never twice at a time to one replica", async () => {
    const { url, requests, received } = await makeServer(() => (requests.length === 3 ? undefined : 200));
    const { clock, checker, replica } = setUp({ healthCheckTimeoutS: 30 });
    checker.sync([replica(url)]);
    await checker.checkNow();
    clock.advance(9_999);
    expect(requests).toHaveLength(1);
    clock.advance(1);
    await checker.checkNow();
    expect(requests).toHaveLength(2);
    clock.advance(10_000);
    await received(3);
    // The third does not end before its timeout, three periods later.
    clock.advance(29_000);
    const joined = checker.checkNow();
    expect(requests).toHaveLength(3);
    clock.advance(1_000);
    await joined;
    expect(clock.nextTimerMs).toBe(50_000);
    clock.advance(0);
    await checker.checkNow();
    expect(requests).toHaveLength(4);
  });

  it("are spread by a tenth of the period", async () => {
    const { url } = await makeServer(() => 200);
    for (const [next, dueMs] of [
      [0, 9_000],
      [0.999, 10_998],
    ] as const) {
      const { clock, checker, replica } = setUp({ random: { ...middle, next: () => next } });
      checker.sync([replica(url)]);
      await checker.checkNow();
      expect(clock.nextTimerMs).toBeCloseTo(dueMs, 3);
    }
  });

  it("are bounded in number", async () => {
    const { url, requests, received } = await makeServer(() => undefined);
    const { clock, checker, replica } = setUp();
    checker.sync(Array.from({ length: 40 }, (_, index) => replica(url, `r${index}`)));
    await received(32);
    clock.advance(2_999);
    expect(requests).toHaveLength(32);
    clock.advance(1);
    await received(40);
  });

  it("leave out replicas that left, at once", async () => {
    const { url, server, requests, received } = await makeServer(() => undefined);
    const { clock, checker, replica } = setUp();
    const [first, second] = [replica(url, "first"), replica(url, "second")];
    checker.sync([first, second]);
    await received(2);
    checker.sync([second]);
    await server.untilClosed(1);
    expect(first.health).toBe("healthy");
    const done = checker.checkNow();
    clock.advance(3_000);
    await done;
    expect(clock.pendingTimers).toBe(1);
    expect(requests).toHaveLength(2);
  });

  it("stop at once and leave nothing behind", async () => {
    const { url, received } = await makeServer(() => undefined);
    const { clock, checker, replica } = setUp();
    const checked = replica(url);
    checker.sync([checked]);
    await received(1);
    await checker.stop();
    expect(clock.pendingTimers).toBe(0);
    checker.sync([replica(url, "late")]);
    await checker.checkNow();
    expect(clock.pendingTimers).toBe(0);
    expect(checked.health).toBe("healthy");
  });

  it("say nothing where there is no /health, which is said once", async () => {
    const { url } = await makeServer(() => 404);
    const { checker, replica, warnings } = setUp();
    const checked = replica(url);
    checker.sync([checked]);
    for (let time = 0; time < 4; time++) await checker.checkNow();
    expect(checked.health).toBe("healthy");
    expect(warnings).toEqual([expect.stringContaining("D#r has no /health (status 404)")]);
  });

  it("notice that an engine died and that it is back", async () => {
    await using engine = new MockVLLMEngine();
    await engine.start();
    const { checker, replica } = setUp();
    const checked = replica(engine.url);
    checker.sync([checked]);
    await checker.checkNow();
    await engine.crash();
    for (let time = 0; time < 3; time++) await checker.checkNow();
    expect(checked.health).toBe("unhealthy");
    await engine.start();
    await checker.checkNow();
    expect(checked.health).toBe("healthy");
    await checked.destroy();
  });
});

describe("generation probes", () => {
  const probeGeneration: ProbeGeneration = { intervalMs: 1000, timeoutMs: 500 };

  it("find an engine that answers /health but generates nothing, and that it is well again", async () => {
    await using engine = new MockVLLMEngine();
    await engine.start();
    const { clock, checker, replica } = setUp({ probeGeneration });
    const checked = replica(engine.url);
    checker.sync([checked]);
    await checker.checkNow();
    engine.injectFault({
      match: { path: "/v1/completions" },
      fault: { kind: "stallBeforeHeaders" },
      times: 3,
    });
    const probes = (): number => engine.requests.filter(({ path }) => path === "/v1/completions").length;
    for (let time = 1; time <= 3; time++) {
      // The first comes within one interval, the others 1.1 intervals apart.
      clock.advance(time === 1 ? 500 : 600);
      while (probes() < time) await nextTurn();
      clock.advance(500);
      while (engine.openResponses > 0) await nextTurn();
      await checker.checkNow();
    }
    expect(checked.health).toBe("unhealthy");
    clock.advance(600);
    while (checked.health !== "healthy") await nextTurn();
    expect(engine.requests.filter(({ path }) => path === "/v1/completions").at(-1)).toMatchObject({
      status: 200,
      body: { model: "mock-model", prompt: "1", max_tokens: 1, temperature: 0, stream: false },
    });
    await checked.destroy();
  });

  it("come never more often than configured, and later only", async () => {
    const { url, requests } = await makeServer(() => 200);
    const { clock, checker, replica } = setUp({ probeGeneration: { intervalMs: 60_000, timeoutMs: 500 } });
    checker.sync([replica(url)]);
    await checker.checkNow();
    expect(requests).toEqual(["GET /health"]);
    expect(clock.pendingTimers).toBe(2);
  });

  it("take one body or another", async () => {
    const messages = [{ role: "user", content: "hi" }];
    const { url, bodies, requests, received } = await makeServer((path) =>
      path === "/health" ? 200 : { json: { choices: [{}], usage: { completion_tokens: 1 } } },
    );
    const { clock, checker, replica } = setUp({
      probeGeneration: { ...probeGeneration, body: { model: "own", messages, stream: true } },
    });
    checker.sync([replica(url)]);
    await checker.checkNow();
    clock.advance(500);
    await received(2);
    expect(requests[1]).toBe("POST /v1/chat/completions");
    expect(bodies[1]).toEqual({ model: "own", messages, stream: false });
  });

  it.each([
    ["an error status", 500, "unhealthy"],
    ["an error in a 200", { json: { error: { message: "no" }, choices: [{}] } }, "unhealthy"],
    ["no choices", { json: { choices: [] } }, "unhealthy"],
    ["no tokens", { json: { choices: [{ text: "" }], usage: { completion_tokens: 0 } } }, "unhealthy"],
    ["something else", { json: "hello" }, "unhealthy"],
    [
      "a token that is no text yet",
      { json: { choices: [{ text: "" }], usage: { completion_tokens: 1 } } },
      "healthy",
    ],
    ["a wrong request", 400, "healthy"],
    ["too many requests", 429, "healthy"],
  ] as const)("judge %s", async (_name, answer, health) => {
    const { url, requests, received } = await makeServer((path) => (path === "/health" ? 200 : answer));
    const { clock, checker, replica, warnings } = setUp({
      probeGeneration: { intervalMs: 1000, timeoutMs: 9000 },
    });
    const checked = replica(url);
    checker.sync([checked]);
    await checker.checkNow();
    clock.advance(500);
    for (let probes = 1; probes <= 3; probes++) {
      await received(probes + 1);
      // It was judged when the next one is planned.
      while (clock.nextTimerMs !== clock.now() + 1100) await nextTurn();
      if (probes < 3) clock.advance(1100);
    }
    expect(requests.filter((each) => each.startsWith("POST"))).toHaveLength(3);
    expect(checked.health).toBe(health);
    expect(warnings).toHaveLength(answer === 400 ? 1 : 0);
  });

  it("do not take a slow engine for a dead one while it answers others", async () => {
    const { url, received } = await makeServer((path) => (path === "/health" ? 200 : undefined));
    const { clock, checker, replica } = setUp({ probeGeneration });
    const checked = replica(url);
    checker.sync([checked]);
    await checker.checkNow();
    for (let probes = 1; probes <= 4; probes++) {
      clock.advance(probes === 1 ? 500 : 600);
      await received(probes + 1);
      checked.lease().release("success");
      clock.advance(500);
      while (clock.pendingTimers < 2) await nextTurn();
    }
    expect(checked.health).toBe("healthy");
  });
});

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
