import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Endpoint } from "../config/endpoint.ts";
import { RankAssignment, type RankEndpoint } from "./rank-assignment.ts";

const urls = (...names: readonly string[]): readonly Endpoint[] =>
  names.map((name) => ({ url: `http://${name}` }));
const shown = ({ url, rank, headers, place }: RankEndpoint): readonly unknown[] => [
  url.slice(7),
  place?.group,
  rank,
  headers?.["x-data-parallel-rank"],
];

describe("RankAssignment", () => {
  it("without a layout leaves endpoints as they are, but for several ranks behind one URL", () => {
    const [plain] = urls("a");
    const { endpoints, issues } = new RankAssignment(undefined).assign(
      [plain!, { url: "http://b", dpRanks: 2 }, { url: "http://c", rank: 4 }, { url: "http://c", rank: 5 }],
      true,
    );
    expect(endpoints[0]).toBe(plain);
    expect(endpoints.map(shown)).toEqual([
      ["a", undefined, undefined, undefined],
      ["b", "http://b", 0, "0"],
      ["b", "http://b", 1, "1"],
      ["c", "http://c", 4, "0"],
      ["c", "http://c", 5, "1"],
    ]);
    expect(issues).toEqual([]);
  });

  it("of a complete list tells how many ranks each endpoint has", () => {
    const counts = (perNode: number | undefined, ...names: readonly string[]) =>
      new RankAssignment({ size: 4, perNode }).assign(urls(...names), true).endpoints.map(shown);
    expect(counts(undefined, "a")).toEqual([
      ["a", "0", 0, "0"],
      ["a", "0", 1, "1"],
      ["a", "0", 2, "2"],
      ["a", "0", 3, "3"],
    ]);
    expect(counts(2, "a", "b")).toEqual([
      ["a", "0", 0, "0"],
      ["a", "0", 1, "1"],
      ["b", "0", 2, "0"],
      ["b", "0", 3, "1"],
    ]);
    // One endpoint for each rank, although the nodes have two each.
    expect(counts(2, "a", "b", "c", "d").map(([, , rank, header]) => [rank, header])).toEqual([
      [0, undefined],
      [1, undefined],
      [2, undefined],
      [3, undefined],
    ]);
  });

  it("keeps the ranks that endpoints name, and lets others keep theirs when one goes", () => {
    const assignment = new RankAssignment({ size: 3, perNode: undefined });
    const ranks = (...endpoints: readonly Endpoint[]) =>
      assignment.assign(endpoints, false).endpoints.map(({ url, rank }) => `${url.slice(7)}${rank}`);
    expect(ranks(...urls("a", "b"), { url: "http://c", rank: 0 })).toEqual(["a1", "b2", "c0"]);
    expect(ranks(...urls("b"), { url: "http://c", rank: 0 })).toEqual(["b2", "c0"]);
    expect(ranks(...urls("d", "b"), { url: "http://c", rank: 0 })).toEqual(["d1", "b2", "c0"]);
  });

  it("begins a new group when one is full, and refuses what fits in none", () => {
    const assignment = new RankAssignment({ size: 2, perNode: undefined });
    const { endpoints, issues } = assignment.assign(
      [...urls("a", "b", "c"), { url: "http://d", rank: 2 }, { url: "http://e", dpRanks: 3 }],
      false,
    );
    expect(endpoints.map(shown)).toEqual([
      ["a", "0", 0, undefined],
      ["b", "0", 1, undefined],
      ["c", "1", 0, undefined],
    ]);
    expect(issues.map(({ path, received }) => [path, received])).toEqual([
      [[3], "1 ranks from 2"],
      [[4], "3 ranks"],
    ]);
  });

  it("gives no place twice and moves nobody who stays, whatever comes and goes", () => {
    const endpoint = fc.record({
      url: fc.integer({ min: 0, max: 7 }).map((number) => `http://e${number}`),
      rank: fc.option(fc.integer({ min: 0, max: 3 }), { nil: undefined }),
      dpRanks: fc.option(fc.integer({ min: 1, max: 3 }), { nil: undefined }),
    });
    const snapshot = fc.uniqueArray(endpoint, { selector: ({ url }) => url, maxLength: 8 });
    fc.assert(
      fc.property(fc.array(snapshot, { maxLength: 4 }), (snapshots) => {
        const assignment = new RankAssignment({ size: 4, perNode: 2 });
        let before = new Map<string, string>();
        for (const endpoints of snapshots) {
          const { endpoints: ranks, issues } = assignment.assign(endpoints, false);
          const places = ranks.map(({ place, rank }) => `${place!.group}/${rank}`);
          expect(new Set(places).size).toBe(places.length);
          const refused = new Set(issues.map(({ path }) => path[0]));
          const expected = endpoints.flatMap(({ dpRanks = 2 }, index) => (refused.has(index) ? [] : dpRanks));
          expect(ranks.length).toBe(expected.reduce((sum, number) => sum + number, 0));
          const now = new Map<string, string>();
          for (const [index, { url, rank, dpRanks }] of endpoints.entries()) {
            if (refused.has(index)) continue;
            const own = ranks.filter((other) => other.url === url);
            if (rank !== undefined) expect(own[0]!.rank).toBe(rank);
            now.set(JSON.stringify([url, rank, dpRanks]), `${own[0]!.place!.group}/${own[0]!.rank}`);
          }
          for (const [key, place] of now) if (before.has(key)) expect(place).toBe(before.get(key));
          before = now;
        }
      }),
    );
  });
});
