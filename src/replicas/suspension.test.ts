import { afterEach, describe, expect, it } from "vitest";

import { CancelToken } from "../internal/cancel-token.ts";
import { FakeClock } from "../testing/fake-clock.ts";
import { MockVLLMEngine } from "../testing/mock-vllm-engine.ts";
import { HealthChecker } from "./health-checker.ts";
import { LoopbackServer, makeReplica } from "./replica.fixture.ts";
import type { Replica } from "./replica.ts";
import { recheckSuspension, Suspension } from "./suspension.ts";

const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

function replicaAt(url: string): Replica {
  const replica = makeReplica({ url });
  cleanups.push(() => replica.destroy());
  return replica;
}

const options = () => ({
  clock: new FakeClock(),
  cancel: new CancelToken(),
  timeoutMs: 1000,
  timeoutOption: "t",
});

describe("Suspension", () => {
  it("tells when the replica is in or out of use, not when only the reason changes", () => {
    const changes: unknown[] = [];
    const suspension: Suspension = new Suspension(() => changes.push(suspension.state));
    suspension.set("paused", true);
    suspension.set("sleeping", true);
    expect(suspension.state).toBe("sleeping");
    suspension.set("sleeping", false);
    expect(suspension.state).toBe("paused");
    suspension.set("paused", false);
    expect(changes).toEqual(["paused", undefined]);
  });
});

describe("recheckSuspension", () => {
  it.each([
    [200, '{"is_sleeping":false}', undefined],
    [404, "", undefined],
    [200, '{"is_sleeping":true}', "sleeping"],
    [200, "null", "sleeping"],
    [200, "not JSON", "sleeping"],
    [503, "", "sleeping"],
  ])("%i %s", async (status, body, state) => {
    const server = await new LoopbackServer((_request, response) =>
      response.writeHead(status).end(body),
    ).listen();
    cleanups.push(() => server[Symbol.asyncDispose]());
    const replica = replicaAt(server.url);
    const other = replicaAt(server.url);
    for (const each of [replica, other]) each.suspension.set("sleeping", true);
    await recheckSuspension(replica, [replica, other], options());
    expect([replica.suspension.state, other.suspension.state]).toEqual([state, state]);
  });

  it("heeds no answer that a command has overtaken", async () => {
    const asked: { replica?: Replica } = {};
    const server = await new LoopbackServer((_request, response) => {
      asked.replica!.suspension.beginCommand()();
      response.end('{"is_sleeping":false}');
    }).listen();
    cleanups.push(() => server[Symbol.asyncDispose]());
    const replica = (asked.replica = replicaAt(server.url));
    replica.suspension.set("sleeping", true);
    await recheckSuspension(replica, [replica], options());
    expect(replica.suspension.state).toBe("sleeping");
  });
});

it("the health check finds an engine awake that was started anew", async () => {
  const engine = new MockVLLMEngine();
  await engine.start();
  cleanups.push(() => engine.stop());
  const checker = new HealthChecker({
    clock: new FakeClock(),
    random: { next: () => 0.5, id: () => "" },
    healthCheckPeriodS: 10,
    healthCheckTimeoutS: 3,
    modelId: undefined,
    warn: () => undefined,
  });
  cleanups.push(() => checker.stop());
  const replica = replicaAt(engine.url);
  replica.suspension.set("sleeping", true);
  await fetch(`${engine.url}/sleep`, { method: "POST" });
  checker.sync([replica]);
  await checker.checkNow();
  expect(replica.suspension.state).toBe("sleeping");
  await fetch(`${engine.url}/wake_up`, { method: "POST" });
  await checker.checkNow();
  expect(replica.suspension.state).toBeUndefined();
});
