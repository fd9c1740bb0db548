import { describe, expect, it } from "vitest";
import { measureSizes } from "./measure.ts";

describe("the package", () => {
  it("keeps its size budget; `npm run size` prints it", async () => {
    const sizes = await measureSizes();
    expect(sizes.filter(({ bytes }) => bytes < 10_000)).toEqual([]);
    expect(sizes.filter(({ bytes, budget }) => bytes > budget)).toEqual([]);
  });
});
