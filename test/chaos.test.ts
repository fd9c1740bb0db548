import { describe, expect, it } from "vitest";
import { runChaos } from "./chaos/chaos-run.ts";

describe("chaos", () => {
  it.each([1, 2, 3, 5, 8, 13])(
    "seed %i: every answer is right or an explicit error, and every account is closed",
    { timeout: 60_000 },
    async (seed) => {
      const report = await runChaos({ seed, requests: 200 });

      expect(report.problems).toEqual([]);
      expect(report.right + report.explicitErrors + report.aborted).toBe(200);
      expect(report.right).toBeGreaterThan(100);
    },
  );
});
