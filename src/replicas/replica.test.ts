import { describe, expect, it } from "vitest";

import { FakeClock } from "../testing/fake-clock.ts";
import { makeReplica } from "./replica.fixture.ts";

describe("slots", () => {
  it("are given back once by a lease", () => {
    const replica = makeReplica({ maxOngoingRequests: 2 });
    const first = replica.lease();
    const second = replica.lease();
    expect(replica.hasFreeSlot).toBe(false);
    first.release("success");
    first.release("failure");
    expect(replica.inFlight).toBe(1);
    expect(replica.succeeded).toBe(1);
    second.release("neutral");
    expect(replica.inFlight).toBe(0);
    expect(replica.succeeded).toBe(1);
  });

  it("while probing: one probe at a time, beside calls from before", () => {
    const clock = new FakeClock();
    const replica = makeReplica({ clock });
    const old = replica.lease();
    for (let time = 0; time < 3; time++) replica.lease().release("failure");
    clock.advance(5000);
    expect(replica.health).toBe("probing");
    expect(replica.hasFreeSlot).toBe(true);
    const probe = replica.lease();
    expect(probe.probe).toBe(true);
    expect(replica.hasFreeSlot).toBe(false);
    old.release("failure");
    expect(replica.health).toBe("probing");
    expect(replica.hasFreeSlot).toBe(false);
    probe.release("neutral");
    expect(replica.hasFreeSlot).toBe(true);
    replica.lease().release("success");
    expect(replica.health).toBe("healthy");
  });
});

describe("restart detection", () => {
  it("reports a new engine id once, not the first one, a rank or one seen before", () => {
    const restarts: (string | undefined)[][] = [];
    const replica = makeReplica({
      observer: { onEngineRestart: (replica, previous) => restarts.push([previous, replica.engineId]) },
    });
    replica.engineId = "a";
    replica.engineId = "a";
    replica.engineId = "a_dp0";
    replica.engineId = "a_dp1";
    replica.engineId = undefined;
    expect(replica.engineId).toBe("a");
    expect(restarts).toEqual([]);
    replica.engineId = "b_dp1";
    replica.engineId = "a";
    replica.engineId = "b";
    expect(restarts).toEqual([["a", "b"]]);
  });

  it("remembers a few ids only", () => {
    let restarts = 0;
    const replica = makeReplica({ observer: { onEngineRestart: () => restarts++ } });
    for (let id = 0; id < 40; id++) replica.engineId = `e${id}`;
    expect(restarts).toBe(39);
    replica.engineId = "e30";
    expect(restarts).toBe(39);
    replica.engineId = "e0";
    expect(restarts).toBe(40);
  });
});

describe("draining", () => {
  it("waits for running requests and KV holds", async () => {
    const replica = makeReplica({});
    const lease = replica.lease();
    replica.addHold();
    let drained = false;
    const done = replica.drain().then(() => {
      drained = true;
    });
    lease.release("success");
    await Promise.resolve();
    expect(drained).toBe(false);
    expect(replica.holds).toBe(1);
    replica.removeHold();
    await done;
    expect(drained).toBe(true);
  });

  it("ends when it is destroyed meanwhile", async () => {
    const replica = makeReplica({});
    replica.addHold();
    const done = replica.drain();
    await replica.destroy();
    await done;
    expect(replica.draining).toBe(true);
  });
});
