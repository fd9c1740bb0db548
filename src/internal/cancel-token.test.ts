import { expect, it } from "vitest";
import { RequestCancelledError } from "../errors/request-cancelled-error.ts";
import { CancelToken } from "./cancel-token.ts";

const error = new RequestCancelledError("test");

it("tells every listener, whichever stop listening when they hear of it", () => {
  const token = new CancelToken();
  const heard: string[] = [];
  const stops = ["a", "b", "c"].map((name) =>
    token.onCancel(() => {
      heard.push(name);
      for (const stop of stops) stop();
    }),
  );
  token.cancel(error);
  expect(heard).toEqual(["a", "b", "c"]);
});

it("tells none that stopped before, in whatever order", () => {
  for (const order of [
    [0, 1],
    [1, 0],
    [2, 0],
    [0, 2],
  ]) {
    const token = new CancelToken();
    const heard: number[] = [];
    const stops = [0, 1, 2].map((name) => token.onCancel(() => heard.push(name)));
    for (const index of order) stops[index]!();
    stops[order[0]!]!();
    token.cancel(error);
    expect(heard).toEqual([0, 1, 2].filter((name) => !order.includes(name)));
  }
});
