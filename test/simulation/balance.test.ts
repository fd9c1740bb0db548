import { describe, expect, it } from "vitest";
import { simulate, type SimulationOptions } from "./simulation.ts";

const seeds = [1, 2, 3];
const uniform = { replicas: 8, utilisation: 0.7, requests: 10_000 } as const;

function each(options: SimulationOptions, check: (result: ReturnType<typeof simulate>) => void): void {
  for (const seed of seeds) check(simulate({ ...options, seed }));
}

describe("balance", () => {
  it("power of two keeps the fullest of 8 replicas within 1.25 of the mean at 70 % load, at every moment", () => {
    each({ ...uniform, policy: "power-of-two", slots: 32 }, ({ peakToMean, maxToMean }) => {
      expect(peakToMean).toBeLessThan(1.25);
      expect(maxToMean).toBeLessThan(1.25);
    });
  });

  it.each(["power-of-two", "least-loaded", "round-robin", "consistent-hash", "kv-pressure"])(
    "%s sends every replica its share",
    (policy) => {
      each({ ...uniform, policy }, ({ maxToMean }) => expect(maxToMean).toBeLessThan(1.25));
    },
  );

  it("prefix affinity finds what is cached, within 5 % of the best, while load stays within 1.5", () => {
    const options = { policy: "prefix-cache-affinity", slots: 32, prefixes: 200, cachedPrefixes: 60 };
    each({ ...uniform, ...options }, ({ hitShare, bestHitShare, peakToMean, maxToMean }) => {
      expect(hitShare).toBeGreaterThan(0.95 * bestHitShare);
      expect(peakToMean).toBeLessThan(1.5);
      expect(maxToMean).toBeLessThan(1.5);
    });
    // What it is worth: nobody looks for the cache here.
    const blind = simulate({ ...uniform, ...options, policy: "power-of-two" });
    expect(blind.hitShare).toBeLessThan(0.8 * blind.bestHitShare);
  });
});

describe("reports of engines that are seconds old", () => {
  it.each(["power-of-two", "least-loaded", "kv-pressure"])("make no herd under %s", (policy) => {
    for (const scrapeMs of [1_000, 10_000]) {
      each({ ...uniform, policy, scrapeMs, slots: 32 }, (old) => {
        const none = simulate({ ...uniform, policy, scrapeMs: 0, slots: 32 });
        expect(old.peakToMean).toBeLessThan(1.1 * none.peakToMean);
        expect(old.p99WaitMs).toBeLessThan(50);
      });
    }
  });

  it("make hardly one among eight processes that each believe theirs", () => {
    for (const policy of ["power-of-two", "least-loaded", "kv-pressure"]) {
      each({ ...uniform, policy, routers: 8, slots: 32 }, ({ peakToMean, maxToMean }) => {
        expect(peakToMean).toBeLessThan(1.35);
        expect(maxToMean).toBeLessThan(1.15);
      });
    }
  });

  it("tell of requests that somebody else has there", () => {
    const options = { ...uniform, policy: "power-of-two", slots: 32, occupied: 24, utilisation: 0.5 };
    const blind = simulate({ ...options, scrapeMs: 0 });
    each(options, ({ shares: [first], p99WaitMs }) => {
      expect(first!).toBeLessThan(0.8 * blind.shares[0]!);
      expect(p99WaitMs).toBeLessThan(0.25 * blind.p99WaitMs);
    });
  });
});

describe("a session's owner", () => {
  it("is not overrun because eight processes each sent it little", () => {
    const options = { policy: "session-affinity", routers: 8, slots: 32, prefixes: 200, cachedPrefixes: 60 };
    each({ ...uniform, ...options }, ({ hitShare, maxToMean }) => {
      expect(hitShare).toBeGreaterThan(0.95);
      expect(maxToMean).toBeLessThan(1.5);
    });
  });
});

it("the same seed gives the same numbers", () => {
  const run = () => simulate({ ...uniform, policy: "power-of-two", requests: 2_000, seed: 7 });
  expect(run()).toEqual(run());
});
