import * as fc from "fast-check";
import { describe, expect, it } from "vitest";

import { FakeClock } from "../testing/fake-clock.ts";
import { makeReplica } from "./replica.fixture.ts";
import { type CallOutcome, ReplicaHealth } from "./replica-health.ts";

function makeHealth(): { clock: FakeClock; health: ReplicaHealth; states: string[] } {
  const clock = new FakeClock();
  const states: string[] = [];
  const options = { consecutiveFailures: 3, baseEjectionMs: 1000, maxEjectionMs: 4000 };
  const health: ReplicaHealth = new ReplicaHealth(clock, options, () => states.push(health.state));
  return { clock, health, states };
}

function fail(health: ReplicaHealth, times: number): void {
  for (let time = 0; time < times; time++) health.record("failure");
}

describe("ejection by outcomes", () => {
  it("needs failures in a row", () => {
    const { health } = makeHealth();
    fail(health, 2);
    health.record("success");
    fail(health, 2);
    expect(health.state).toBe("healthy");
    fail(health, 1);
    expect(health.state).toBe("ejected");
  });

  it("does not count what says nothing about the engine", () => {
    const { health } = makeHealth();
    fail(health, 2);
    for (let time = 0; time < 100; time++) health.record("neutral");
    expect(health.state).toBe("healthy");
    fail(health, 1);
    expect(health.state).toBe("ejected");
  });

  it("ends with a probe, later after each failed one, up to a limit", () => {
    const { clock, health, states } = makeHealth();
    fail(health, 3);
    for (const durationMs of [1000, 2000, 4000, 4000]) {
      clock.advance(durationMs - 1);
      expect(health.state).toBe("ejected");
      clock.advance(1);
      expect(health.state).toBe("probing");
      health.record("failure", true);
      expect(health.state).toBe("ejected");
    }
    expect(health.ejections).toBe(5);
    clock.advance(4000);
    health.record("success", true);
    expect(health.state).toBe("healthy");
    expect(health.ejections).toBe(0);
    expect(clock.pendingTimers).toBe(0);
    expect(states.slice(0, 3)).toEqual(["ejected", "probing", "ejected"]);
  });

  it("goes on probing when a probe said nothing, or an old call failed", () => {
    const { clock, health } = makeHealth();
    fail(health, 3);
    clock.advance(1000);
    health.record("neutral", true);
    health.record("failure");
    expect(health.state).toBe("probing");
  });

  it("is not prolonged by calls that were running already", () => {
    const { clock, health } = makeHealth();
    fail(health, 10);
    expect(health.ejections).toBe(1);
    clock.advance(1000);
    expect(health.state).toBe("probing");
  });
});

describe("health checks", () => {
  it("decide over outcomes", () => {
    const { health } = makeHealth();
    health.setChecked(false);
    health.record("success");
    fail(health, 5);
    expect(health.state).toBe("unhealthy");
    health.setChecked(true);
    expect(health.state).toBe("healthy");
    fail(health, 2);
    expect(health.state).toBe("healthy");
  });

  it("do not end an ejection early", () => {
    const { health } = makeHealth();
    fail(health, 3);
    health.setChecked(true);
    expect(health.state).toBe("ejected");
  });

  it("stop the timer of an ejection", () => {
    const { clock, health } = makeHealth();
    fail(health, 3);
    health.setChecked(false);
    expect(clock.pendingTimers).toBe(0);
    clock.advance(10_000);
    expect(health.state).toBe("unhealthy");
  });
});

it("does nothing any more when disposed: calls that fail because their sockets are closed set no timer", () => {
  const { clock, health, states } = makeHealth();
  fail(health, 3);
  health.dispose();
  fail(health, 3);
  health.setChecked(false);
  expect(clock.pendingTimers).toBe(0);
  expect(states).toEqual(["ejected"]);
});

type Step = CallOutcome | "checkedWell" | "checkedIll" | number;

const anyStep = fc.oneof<fc.Arbitrary<Step>[]>(
  fc.constantFrom<Step[]>("success", "failure", "failure", "neutral", "checkedWell", "checkedIll"),
  fc.integer({ min: 0, max: 5000 }),
);

it("always recovers, whatever happened: with a good check, the longest ejection, and one good call", () => {
  fc.assert(
    fc.property(fc.array(anyStep, { maxLength: 60 }), (steps) => {
      const clock = new FakeClock();
      const replica = makeReplica({ clock, outlierDetection: { baseEjectionMs: 1000, maxEjectionMs: 4000 } });
      for (const step of steps) {
        if (typeof step === "number") clock.advance(step);
        else if (step === "checkedWell") replica.setChecked(true);
        else if (step === "checkedIll") replica.setChecked(false);
        else if (replica.hasFreeSlot) replica.lease().release(step);
        expect(clock.pendingTimers).toBe(replica.health === "ejected" ? 1 : 0);
      }
      replica.setChecked(true);
      clock.advance(4000);
      expect(replica.hasFreeSlot).toBe(true);
      replica.lease().release("success");
      expect(replica.health).toBe("healthy");
      expect(clock.pendingTimers).toBe(0);
    }),
  );
});
