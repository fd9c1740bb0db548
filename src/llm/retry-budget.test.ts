import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { RetryBudget } from "./retry-budget.ts";

const options = fc.record({
  share: fc.constantFrom(0, 0.01, 0.1, 0.25, 1 / 3, 0.5, 1),
  reserve: fc.integer({ min: 0, max: 20 }),
});
/** True: a request came; false: a retry is wanted. */
const traffic = fc.array(fc.boolean(), { maxLength: 400 });

describe("RetryBudget", () => {
  it("never allows more retries than a share of the traffic and what was saved up, in any stretch of time", () => {
    fc.assert(
      fc.property(options, traffic, ({ share, reserve }, events) => {
        const budget = new RetryBudget({ share, reserve });
        const granted = events.map((isRequest) => {
          if (!isRequest) return budget.withdraw() ? 1 : 0;
          budget.deposit();
          return 0;
        });
        for (let from = 0; from < events.length; from += 7) {
          let requests = 0;
          let retries = 0;
          for (let at = from; at < events.length; at += 1) {
            requests += events[at] === true ? 1 : 0;
            retries += granted[at]!;
            expect(retries).toBeLessThanOrEqual(reserve + requests * share + 1e-6);
          }
        }
      }),
    );
  });

  it("has its reserve at the start, and no more however much traffic went by", () => {
    fc.assert(
      fc.property(options, fc.nat(500), ({ share, reserve }, requests) => {
        const budget = new RetryBudget({ share, reserve });
        for (let count = 0; count < requests; count += 1) budget.deposit();
        let retries = 0;
        while (budget.withdraw()) retries += 1;
        expect(retries).toBe(reserve);
      }),
    );
  });

  it("refills: once it is empty, each so many requests are good for one retry", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 50 }),
        fc.integer({ min: 1, max: 20 }),
        fc.integer({ min: 1, max: 10 }),
        (every, reserve, rounds) => {
          const budget = new RetryBudget({ share: 1 / every, reserve });
          while (budget.withdraw());
          for (let round = 0; round < rounds; round += 1) {
            for (let request = 1; request < every; request += 1) {
              budget.deposit();
              expect(budget.withdraw()).toBe(false);
            }
            budget.deposit();
            expect([budget.withdraw(), budget.withdraw()]).toEqual([true, false]);
          }
        },
      ),
    );
  });
});
