import { expect, it } from "vitest";
import { PDHealthMeter } from "./pd-health.ts";

it("counts the handoffs of each pair, in the order in which pairs first met", () => {
  const meter = new PDHealthMeter("d", () => undefined);
  for (const [prefill, decode] of [
    ["p1", "d1"],
    ["p2", "d1"],
    ["p1", "d2"],
    ["p1", "d1"],
    // Not the pair of "p1" and "d1 d2".
    ["p1 d1", "d2"],
    ["p1", "d1 d2"],
  ] as const)
    meter.handedOver(prefill, decode);

  expect(meter.health().pairs).toEqual([
    { prefill: "p1", decode: "d1", handoffs: 2 },
    { prefill: "p2", decode: "d1", handoffs: 1 },
    { prefill: "p1", decode: "d2", handoffs: 1 },
    { prefill: "p1 d1", decode: "d2", handoffs: 1 },
    { prefill: "p1", decode: "d1 d2", handoffs: 1 },
  ]);
});
