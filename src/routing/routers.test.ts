import * as fc from "fast-check";
import { describe, expect, it } from "vitest";

import { promptText } from "./prompt-text.ts";
import type { PendingRequest, ReplicaView, RequestRouterContext } from "./request-router.ts";
import { createRequestRouter } from "./router-registry.ts";

const names = [
  "power-of-two",
  "round-robin",
  "least-loaded",
  "prefix-cache-affinity",
  "consistent-hash",
  "session-affinity",
  "kv-pressure",
];

function context(more: Partial<RequestRouterContext> = {}): RequestRouterContext {
  return { random: () => 0, now: () => 0, kwargs: {}, ...more };
}

/** Numbers that repeat for a seed. */
function seeded(seed: number): () => number {
  let state = (seed % 2_147_483_646) + 1;
  return () => {
    state = (state * 16_807) % 2_147_483_647;
    return state / 2_147_483_647;
  };
}

function replica(id: string, more: Partial<ReplicaView> = {}): ReplicaView {
  return { id, inFlight: 0, maxOngoingRequests: 5, multiplexedModelIds: new Set(), labels: {}, ...more };
}

function request(more: Partial<PendingRequest> = {}): PendingRequest {
  return { requestId: "r", modelId: "m", attempt: 0, ...more };
}

function ids(ranks: readonly (readonly ReplicaView[])[]): readonly string[] {
  return ranks.flat().map(({ id }) => id);
}

const anyReplicas = fc
  .array(
    fc.record({
      inFlight: fc.nat(6),
      adapters: fc.subarray(["l1", "l2"]),
      load: fc.option(
        fc.record({
          running: fc.nat(9),
          waiting: fc.nat(3),
          kvCacheUsage: fc.double({ min: 0, max: 1, noNaN: true }),
          atMs: fc.constantFrom(0, -20_000),
        }),
        { nil: undefined },
      ),
    }),
    { minLength: 1, maxLength: 12 },
  )
  .map((items) =>
    items.map(({ inFlight, adapters, load }, index) =>
      replica(`r${index}`, { inFlight, multiplexedModelIds: new Set(adapters), engineLoad: load }),
    ),
  );
const anyRequest = fc
  .record({
    requestId: fc.string(),
    multiplexedModelId: fc.constantFrom(undefined, "", "l1", "l3"),
    sessionId: fc.constantFrom(undefined, "", "s1", "s2"),
    text: fc.constantFrom(undefined, "", "hello", "hello world"),
  })
  .map(({ text, ...rest }) => request({ ...rest, promptText: () => text }));

describe.each(names)("%s", (name) => {
  it("ranks only candidates, each once, and changes none", () => {
    fc.assert(
      fc.property(
        anyReplicas,
        fc.array(anyRequest, { minLength: 1, maxLength: 5 }),
        fc.nat(),
        (replicas, requests, seed) => {
          const router = createRequestRouter(name, context({ random: seeded(seed) }));
          router.updateReplicas?.(replicas);
          for (const [index, pending] of requests.entries()) {
            const candidates = Object.freeze(
              replicas.filter((_, position) => position === 0 || (position + index) % 3 > 0),
            );
            const ranked = ids(router.chooseReplicas(candidates, pending));
            expect(ranked.length).toBeGreaterThan(0);
            expect(new Set(ranked).size).toBe(ranked.length);
            for (const id of ranked) expect(candidates.some((candidate) => candidate.id === id)).toBe(true);
            router.onRequestRouted?.(pending, ranked[0] as string);
            router.onRequestCompleted?.(pending, ranked[0] as string);
          }
        },
      ),
    );
  });

  it("reaches a free replica whenever its own rules allow one", () => {
    fc.assert(
      fc.property(anyReplicas, anyRequest, fc.nat(), (replicas, pending, seed) => {
        fc.pre(replicas.some(({ inFlight }) => inFlight < 5));
        const router = createRequestRouter(name, context({ random: seeded(seed) }));
        router.updateReplicas?.(replicas);
        const ranked = router.chooseReplicas(replicas, pending).flat();
        if (name === "consistent-hash") {
          // By definition a key waits for its owner and two more, in each of two tiers.
          expect(ranked.length).toBeLessThanOrEqual(6);
          return;
        }
        expect(ranked.some(({ inFlight }) => inFlight < 5)).toBe(true);
      }),
    );
  });

  it("prefers replicas that have the adapter", () => {
    const replicas = [
      replica("a"),
      replica("b", { multiplexedModelIds: new Set(["l1"]), inFlight: 3 }),
      replica("c"),
    ];
    const router = createRequestRouter(name, context({ random: () => 0.99 }));
    router.updateReplicas?.(replicas);
    const pending = request({ multiplexedModelId: "l1", sessionId: "s", promptText: () => "text" });
    expect(ids(router.chooseReplicas(replicas, pending))[0]).toBe("b");
  });

  it("loads an unknown adapter in one place, among those with the fewest", () => {
    const full = new Set(["x"]);
    const replicas = [replica("a", { multiplexedModelIds: full }), replica("b"), replica("c"), replica("d")];
    const chosen = new Set<string>();
    for (let seed = 0; seed < 20; seed += 1) {
      const router = createRequestRouter(name, context({ random: seeded(seed) }));
      router.updateReplicas?.(replicas);
      const pending = request({ requestId: String(seed), multiplexedModelId: "new" });
      chosen.add(ids(router.chooseReplicas(replicas, pending))[0] as string);
    }
    expect(chosen.size).toBe(1);
    expect(chosen).not.toContain("a");
  });

  it("refuses arguments it does not have", () => {
    expect(() => createRequestRouter(name, context({ kwargs: { no_such: 1 } }))).toThrow(/no_such/);
  });
});

describe("round robin", () => {
  it("gives everybody a turn before anybody a second", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 20 }), fc.nat(), (count, seed) => {
        const replicas = Array.from({ length: count }, (_, index) => replica(`r${index}`));
        const router = createRequestRouter("round-robin", context({ random: seeded(seed) }));
        const turns = replicas.map(() => ids(router.chooseReplicas(replicas, request()))[0]);
        expect(new Set(turns).size).toBe(count);
      }),
    );
  });
});

describe("power of two", () => {
  it("draws every ordered pair alike", () => {
    const replicas = ["a", "b", "c"].map((id) => replica(id));
    const counts = new Map<string, number>();
    // A grid over both draws covers all outcomes equally.
    for (let first = 0; first < 3; first += 1) {
      for (let second = 0; second < 2; second += 1) {
        const draws = [(first + 0.5) / 3, (second + 0.5) / 2];
        const router = createRequestRouter("power-of-two", context({ random: () => draws.shift() ?? 0 }));
        const pair = ids(router.chooseReplicas(replicas, request())).join();
        counts.set(pair, (counts.get(pair) ?? 0) + 1);
      }
    }
    expect([...counts.keys()].sort()).toEqual(["a,b", "a,c", "b,a", "b,c", "c,a", "c,b"]);
  });

  it("takes the less loaded, by a fresh report of the engine too", () => {
    const engineLoad = { running: 4, waiting: 1, kvCacheUsage: 0.5, atMs: 0 };
    const pair = [replica("a", { inFlight: 1, engineLoad }), replica("b", { inFlight: 3 })];
    const choose = (nowMs: number, kwargs = {}) =>
      ids(
        createRequestRouter("power-of-two", context({ now: () => nowMs, kwargs })).chooseReplicas(
          pair,
          request(),
        ),
      )[0];
    expect(choose(9000)).toBe("b");
    expect(choose(10_001)).toBe("a");
    expect(choose(10_001, { load_max_age_s: 20 })).toBe("b");
  });
});

describe("least loaded", () => {
  it("puts the least loaded first, and the next one when that is full", () => {
    const router = createRequestRouter("least-loaded", context());
    const replicas = [
      replica("a", { inFlight: 3 }),
      replica("b", { inFlight: 1 }),
      replica("c", { inFlight: 2 }),
    ];
    expect(ids(router.chooseReplicas(replicas, request()))[0]).toBe("b");
    const full = replicas.map((each) => (each.id === "b" ? { ...each, maxOngoingRequests: 1 } : each));
    expect(ids(router.chooseReplicas(full, request()))).toEqual(["b", "c", "a"]);
  });
});

describe("consistent hash", () => {
  const replicas = Array.from({ length: 10 }, (_, index) =>
    replica(`r${index}`, { maxOngoingRequests: 1000 }),
  );
  const keys = Array.from({ length: 2000 }, (_, index) => `s${index}`);
  const ownerOf = (candidates: readonly ReplicaView[]) => {
    const router = createRequestRouter("consistent-hash", context());
    router.updateReplicas?.(candidates);
    return (sessionId: string) => ids(router.chooseReplicas(candidates, request({ sessionId })))[0] as string;
  };

  it("moves only the keys of a replica that left, and spreads them", () => {
    const before = ownerOf(replicas);
    const after = ownerOf(replicas.slice(1));
    for (const key of keys) if (before(key) !== "r0") expect(after(key)).toBe(before(key));
    const counts = new Map<string, number>();
    for (const key of keys) counts.set(before(key), (counts.get(before(key)) ?? 0) + 1);
    expect(counts.size).toBe(10);
    expect(Math.max(...counts.values())).toBeLessThan(2 * 200);
  });

  it("passes over a replica that has far more than its share, unless told not to", () => {
    const own = ownerOf(replicas)("key");
    const busy = replicas.map((each) => (each.id === own ? { ...each, inFlight: 100 } : each));
    const choose = (kwargs: Readonly<Record<string, unknown>>) =>
      ids(
        createRequestRouter("consistent-hash", context({ kwargs })).chooseReplicas(
          busy,
          request({ sessionId: "key" }),
        ),
      );
    expect(choose({})[0]).not.toBe(own);
    expect(choose({ load_factor: 0 })[0]).toBe(own);
    expect(choose({ num_fallback_replicas: 0 })).toHaveLength(1);
  });

  it("refuses what Ray refuses", () => {
    for (const value of [0, -1, 1.5, "x"]) {
      expect(() =>
        createRequestRouter("consistent-hash", context({ kwargs: { num_virtual_nodes: value } })),
      ).toThrow(/num_virtual_nodes must be a positive int, got/);
    }
  });
});

describe("kv pressure", () => {
  it("puts engines with a full cache or a queue last", () => {
    const load = { running: 1, waiting: 0, kvCacheUsage: 0.2, atMs: 0 };
    const replicas = [
      replica("full", { engineLoad: { ...load, kvCacheUsage: 0.95 } }),
      replica("queued", { engineLoad: { ...load, waiting: 2 } }),
      replica("calm", { engineLoad: load, inFlight: 4 }),
    ];
    const router = createRequestRouter("kv-pressure", context());
    expect(ids(router.chooseReplicas(replicas, request()))).toEqual(["calm", "queued", "full"]);
  });
});

describe("prefix affinity", () => {
  const text = (prompt: string) => request({ promptText: () => prompt });

  it("keeps its tree small", () => {
    let nowMs = 0;
    const kwargs = { eviction_threshold_chars: 100, eviction_target_chars: 50, match_rate_threshold: 1 };
    const router = createRequestRouter("prefix-cache-affinity", context({ now: () => (nowMs += 1), kwargs }));
    router.updateReplicas?.([replica("a"), replica("b")]);
    const prompts = Array.from({ length: 200 }, (_, index) => `${index}-`.padEnd(20, "x"));
    for (const prompt of prompts) router.onRequestRouted?.(text(prompt), "a");
    const known = prompts.filter(
      (prompt) => ids(router.chooseReplicas([replica("b"), replica("a")], text(prompt)))[0] === "a",
    );
    expect(known.length).toBeGreaterThan(0);
    expect(known.length).toBeLessThanOrEqual(10);
    expect(known).toContain(prompts.at(-1));
    nowMs += 10_000;
    for (const prompt of prompts.slice(0, 6)) router.onRequestRouted?.(text(prompt), "a");
    const kept = prompts.filter(
      (prompt) => ids(router.chooseReplicas([replica("b"), replica("a")], text(prompt)))[0] === "a",
    );
    expect(kept.length).toBeLessThanOrEqual(5);
  });

  it("forgets replicas that left", () => {
    const router = createRequestRouter("prefix-cache-affinity", context());
    router.updateReplicas?.([replica("a"), replica("b")]);
    router.onRequestRouted?.(text("hello"), "a");
    router.updateReplicas?.([replica("b")]);
    router.updateReplicas?.([replica("a"), replica("b")]);
    router.onRequestRouted?.(text("other words"), "a");
    expect(ids(router.chooseReplicas([replica("a"), replica("b")], text("hello")))[0]).toBe("b");
  });

  it.each([
    [{ eviction_target_chars: 500_000 }, /eviction_target_chars/],
    [{ tree_actor: "x" }, /tree_actor/],
    [{ match_rate_threshold: 2 }, /match_rate_threshold/],
    [{ do_eviction: "yes" }, /do_eviction/],
  ])("refuses %o", (kwargs, problem) => {
    expect(() => createRequestRouter("prefix-cache-affinity", context({ kwargs }))).toThrow(problem);
  });

  it("reads the text of a request", () => {
    expect(
      promptText({
        prompt: "p",
        messages: [{ content: [{ type: "text", text: "a" }, { type: "image_url" }] }],
      }),
    ).toBe("a");
    expect(promptText({ prompt: ["a", "b"] })).toBe("ab");
    expect(promptText({ prompt: [1, 2] })).toBeUndefined();
    expect(promptText({})).toBeUndefined();
  });
});
