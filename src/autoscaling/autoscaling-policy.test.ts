import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { parseAutoscalingConfig } from "../config/autoscaling-config.ts";
import { ConfigurationError } from "../errors/configuration-error.ts";
import { applyDelay, decideReplicas, initialAutoscalingState } from "./autoscaling-policy.ts";
import type { AutoscalingState } from "./autoscaling-policy.ts";
import { replicaBounds } from "./replica-bounds.ts";

const configs = fc
  .record({
    min: fc.integer({ min: 0, max: 20 }),
    more: fc.integer({ min: 0, max: 80 }),
    targetOngoingRequests: fc.double({ min: 0.1, max: 50, noNaN: true }),
    upscalingFactor: fc.option(fc.double({ min: 0.01, max: 4, noNaN: true })),
    downscalingFactor: fc.option(fc.double({ min: 0.01, max: 4, noNaN: true })),
    upscaleDelayS: fc.integer({ min: 0, max: 100 }),
    downscaleDelayS: fc.integer({ min: 0, max: 100 }),
    downscaleToZeroDelayS: fc.option(fc.integer({ min: 0, max: 100 })),
  })
  .map(({ min, more, ...rest }) =>
    parseAutoscalingConfig({ minReplicas: min, maxReplicas: Math.max(1, min + more), ...rest }),
  );
const instant = configs.map((config) => ({
  ...config,
  upscaleDelayS: 0,
  downscaleDelayS: 0,
  downscaleToZeroDelayS: 0,
}));
const replicas = fc.integer({ min: 0, max: 120 });
const load = fc.double({ min: 0, max: 5000, noNaN: true });

describe("decideReplicas", () => {
  it("stays within the bounds, whatever the capacity", () => {
    fc.assert(
      fc.property(
        configs,
        replicas,
        replicas,
        load,
        fc.option(fc.integer({ min: 0, max: 100 })),
        fc.constantFrom("UP" as const, "DOWN" as const, null),
        fc.integer({ min: 1, max: 8 }),
        (config, currentReplicas, targetReplicas, totalRequests, percent, direction, gangSize) => {
          const capacity = { percent, direction };
          const input = {
            config,
            currentReplicas,
            targetReplicas,
            totalRequests,
            capacity,
            gangSize,
            nowS: 0,
          };
          const { replicas: decided, beforeBounds } = decideReplicas(input);
          const { lower, upper } = replicaBounds(config, capacity);
          expect(decided).toBeGreaterThanOrEqual(lower);
          expect(decided).toBeLessThanOrEqual(upper);
          expect(Number.isInteger(decided)).toBe(true);
          expect(beforeBounds % gangSize).toBe(0);
        },
      ),
    );
  });

  it("never wants fewer replicas for more load", () => {
    fc.assert(
      fc.property(
        instant,
        replicas,
        replicas,
        load,
        load,
        (config, currentReplicas, targetReplicas, a, b) => {
          const decide = (totalRequests: number) =>
            decideReplicas({ config, currentReplicas, targetReplicas, totalRequests, nowS: 0 }).replicas;
          expect(decide(Math.min(a, b))).toBeLessThanOrEqual(decide(Math.max(a, b)));
        },
      ),
    );
  });

  it("keeps the target until the load pointed one way for the whole delay", () => {
    const ticks = fc.array(fc.tuple(fc.double({ min: 0, max: 4.9, noNaN: true }), load), { maxLength: 30 });
    fc.assert(
      fc.property(configs, ticks, fc.integer({ min: 1, max: 20 }), (given, steps, start) => {
        const config = {
          ...given,
          minReplicas: 0,
          maxReplicas: 1000,
          upscaleDelayS: 5,
          downscaleDelayS: 5,
          downscaleToZeroDelayS: null,
        };
        let state: AutoscalingState = initialAutoscalingState;
        let elapsedS = 0;
        for (const [gapS, totalRequests] of steps) {
          elapsedS += gapS;
          if (elapsedS >= 4.9) break;
          const decision = decideReplicas({
            config,
            currentReplicas: start,
            targetReplicas: start,
            totalRequests,
            nowS: elapsedS,
            state,
          });
          expect(decision.replicas).toBe(start);
          state = decision.state;
        }
      }),
    );
  });

  it("starts the delay again after a look the other way", () => {
    const config = parseAutoscalingConfig({ maxReplicas: 10, upscaleDelayS: 10, downscaleDelayS: 10 });
    let state: AutoscalingState | undefined;
    const targets = [20, 20, 2, 20, 20, 20].map((totalRequests, index) => {
      const decision = decideReplicas({
        config,
        currentReplicas: 2,
        targetReplicas: 2,
        totalRequests,
        nowS: index * 5,
        state,
      });
      state = decision.state;
      return decision.replicas;
    });
    expect(targets).toEqual([2, 2, 2, 2, 2, 10]);
  });

  it("needs two steps to zero", () => {
    const config = parseAutoscalingConfig({ minReplicas: 0, maxReplicas: 10, downscaleDelayS: 0 });
    const decide = (count: number) =>
      decideReplicas({ config, currentReplicas: count, targetReplicas: count, totalRequests: 0, nowS: 0 });
    expect(decide(7).replicas).toBe(1);
    expect(decide(1).replicas).toBe(0);
  });

  it("does not touch the state on a cold start", () => {
    const config = parseAutoscalingConfig({ minReplicas: 0, maxReplicas: 10, upscalingFactor: 3 });
    const state = { decisionCounter: -2, decisionTimestampS: 7, custom: { seen: 1 } };
    const input = { config, currentReplicas: 0, targetReplicas: 0, totalRequests: 1, nowS: 9, state };
    expect(decideReplicas(input)).toEqual({ replicas: 3, beforeBounds: 3, state });
  });

  it("reads a null target as the default of two", () => {
    const config = parseAutoscalingConfig({ maxReplicas: 10, targetOngoingRequests: null, upscaleDelayS: 0 });
    const input = { config, currentReplicas: 1, targetReplicas: 1, totalRequests: 8, nowS: 0 };
    expect(decideReplicas(input).replicas).toBe(4);
  });

  it("gives a policy its own state back and nothing else", () => {
    const config = parseAutoscalingConfig({ maxReplicas: 10, upscaleDelayS: 0 });
    const input = { config, currentReplicas: 1, targetReplicas: 1, totalRequests: 0, nowS: 0 };
    const first = decideReplicas(input, () => ({ replicas: 3, state: { runs: 1 } }));
    const second = decideReplicas({ ...input, state: first.state }, ({ state }) => ({
      replicas: 1,
      state: { runs: (state.custom["runs"] as number) + 1 },
    }));
    expect([first.replicas, first.state.custom, second.state.custom]).toEqual([3, { runs: 1 }, { runs: 2 }]);
  });

  it("lets a policy scale up from zero without a delay", () => {
    const config = parseAutoscalingConfig({ minReplicas: 0, maxReplicas: 10 });
    const input = { config, currentReplicas: 0, targetReplicas: 0, totalRequests: 0, nowS: 0 };
    expect(decideReplicas(input, () => ({ replicas: 2.5 })).replicas).toBe(3);
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY, "3" as unknown as number])(
    "refuses a policy that wants %s replicas",
    (wanted) => {
      const config = parseAutoscalingConfig({});
      const input = { config, currentReplicas: 1, targetReplicas: 1, totalRequests: 0, nowS: 0 };
      expect(() => decideReplicas({ ...input, deployment: "decode" }, () => ({ replicas: wanted }))).toThrow(
        ConfigurationError,
      );
    },
  );
});

describe("applyDelay", () => {
  it("forgets a run as soon as the target is right", () => {
    const config = parseAutoscalingConfig({ maxReplicas: 10 });
    const state = { decisionCounter: 4, decisionTimestampS: 1, custom: {} };
    expect(applyDelay(3, { targetReplicas: 3, config, nowS: 2, state })).toEqual({
      replicas: 3,
      state: initialAutoscalingState,
    });
  });
});
