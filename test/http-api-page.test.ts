import { readFileSync } from "node:fs";
import { join } from "node:path";

import { describe, expect, it } from "vitest";

import { adminRoutes } from "../src/ingress/admin-calls.ts";
import { defaultRoutes, type RouteMap } from "../src/ingress/routes.ts";

const page = readFileSync(join(import.meta.dirname, "..", "docs", "http-api.md"), "utf8");

/** Name and paths of each row of the page's tables. */
const rows = new Map(
  [...page.matchAll(/^\| `(\w+)` \| `(GET|POST) ([^|]+)` \|(?: ([^|]+) \|)?$/gm)].map(
    ([, name, method, paths, target]) => [
      name!,
      { method, paths: paths!.split("`, `"), target: target?.split(/[:,]/)[0] },
    ],
  ),
);

const words = {
  here: "answered here",
  "prefill-decode": "prefill and decode",
  decode: "decode",
  "every-engine": undefined,
};

describe("docs/http-api.md", () => {
  it("has every route, where it goes, and no other", () => {
    const routes: RouteMap = { ...defaultRoutes, ...adminRoutes };
    const expected = Object.entries(routes).map(([name, { method, path, goesTo = "here" }]) => [
      name,
      { method, paths: typeof path === "string" ? [path] : path, target: words[goesTo] },
    ]);
    expect(Object.fromEntries(rows)).toEqual(Object.fromEntries(expected));
  });
});
