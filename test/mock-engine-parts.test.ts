import * as fc from "fast-check";
import { describe, expect, it } from "vitest";

import { FakeClock, decodeTokens, encodeText, mockAnswer, seededRandom } from "../src/testing/index.ts";
import { KvLedger, type KvClaim, type PinnedKv } from "../src/testing/kv-ledger.ts";
import { SideChannelClient, SideChannelServer, type PullRefusal } from "../src/testing/side-channel.ts";

function pinnedKv(requestId: string, blockIds: readonly number[]): PinnedKv {
  return {
    requestId,
    blockIds,
    fingerprint: "f",
    promptTokens: 5,
    tensorParallelSize: 1,
    leaseToken: undefined,
  };
}

function claimFor(kv: PinnedKv, changes: Partial<KvClaim> = {}): KvClaim {
  return { ...kv, engineId: "e", ...changes };
}

describe("KvLedger", () => {
  it("stays balanced whatever happens, and never gives a block twice", () => {
    const action = fc.oneof(
      fc.record({ kind: fc.constant("prefill" as const), blocks: fc.integer({ min: 1, max: 6 }) }),
      fc.record({ kind: fc.constant("consume" as const), which: fc.nat(12) }),
      fc.record({ kind: fc.constant("release" as const), which: fc.nat(12) }),
      fc.record({ kind: fc.constant("heartbeat" as const), which: fc.nat(12) }),
      fc.record({ kind: fc.constant("wait" as const), ms: fc.integer({ min: 0, max: 60 }) }),
      fc.record({ kind: fc.constant("crash" as const) }),
    );
    fc.assert(
      fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
        const clock = new FakeClock();
        const ledger = new KvLedger(clock, 16, 50);
        const handles: PinnedKv[] = [];
        const consumedOnce = new Set<string>();
        for (const step of actions) {
          const kv = "which" in step ? handles[step.which] : undefined;
          if (step.kind === "prefill") {
            const blockIds = ledger.allocate(step.blocks);
            if (blockIds === undefined) {
              expect(ledger.blocksTotal - ledger.blocksInUse).toBeLessThan(step.blocks);
              continue;
            }
            const made = pinnedKv(`r${handles.length}`, blockIds);
            handles.push(made);
            ledger.pin(made);
          } else if (step.kind === "consume" && kv !== undefined) {
            if (ledger.consume("e", claimFor(kv)) === undefined) {
              expect(consumedOnce.has(kv.requestId)).toBe(false);
              consumedOnce.add(kv.requestId);
            }
          } else if (step.kind === "release" && kv !== undefined) ledger.release(kv.requestId);
          else if (step.kind === "heartbeat" && kv !== undefined) ledger.heartbeat(kv.requestId);
          else if (step.kind === "wait") clock.advance(step.ms);
          else if (step.kind === "crash") ledger.lose();
          const held = ledger.pinned.flatMap((pinned) => pinned.blockIds);
          expect(new Set(held).size).toBe(held.length);
          expect(held.length).toBe(ledger.blocksInUse);
        }
        expect(ledger.consumed).toBe(consumedOnce.size);
        clock.advance(50);
        ledger.assertBalanced();
        expect(clock.pendingTimers).toBe(0);
      }),
    );
  });

  it("names what is open when it is not balanced", () => {
    const ledger = new KvLedger(new FakeClock(), 4, 50);
    const blockIds = ledger.allocate(2) ?? [];
    expect(() => ledger.assertBalanced()).toThrow("2 blocks in use");
    ledger.pin(pinnedKv("r", blockIds));
    expect(() => ledger.assertBalanced()).toThrow("1 pinned (r)");
    ledger.free([...blockIds]);
    ledger.release("r");
    expect(() => ledger.assertBalanced()).toThrow("free twice");
  });

  it("remembers how each handle ended", () => {
    const clock = new FakeClock();
    const ledger = new KvLedger(clock, 8, 50);
    const make = (id: string): PinnedKv => {
      const kv = pinnedKv(id, ledger.allocate(1) ?? []);
      ledger.pin(kv);
      return kv;
    };
    const [consumed, released, expired] = [make("consumed"), make("released"), make("expired")];
    expect(ledger.consume("e", claimFor(consumed))).toBeUndefined();
    expect(ledger.release("released")).toBe(true);
    expect(ledger.release("released")).toBe(false);
    clock.advance(50);
    const reasons = [consumed, released, expired].map((kv) => ledger.consume("e", claimFor(kv)));
    expect(reasons).toEqual(["consumed", "released", "expired"]);
  });
});

describe("side channel", () => {
  it("carries heartbeats that keep a lease, fetches and releases", async () => {
    const clock = new FakeClock();
    const ledger = new KvLedger(clock, 8, 30);
    const server = new SideChannelServer(ledger, () => "e");
    const port = await server.listen("127.0.0.1", 0);
    const client = new SideChannelClient();
    const pull = async (claim: KvClaim): Promise<PullRefusal | undefined> =>
      new Promise((resolve) => client.pull("127.0.0.1", port, claim, resolve));
    const kv = pinnedKv("r", ledger.allocate(2) ?? []);
    const unwanted = pinnedKv("u", ledger.allocate(2) ?? []);
    ledger.pin(kv);
    ledger.pin(unwanted);
    clock.advance(20);
    client.heartbeat("127.0.0.1", port, "r");
    client.release("127.0.0.1", port, "u");
    // One connection keeps the order, so an answer means the messages before it were handled.
    expect(await pull(claimFor(kv, { requestId: "nobody" }))).toBe("unknown");
    expect(ledger.released).toBe(1);
    clock.advance(20);
    expect(ledger.expired).toBe(0);
    expect(await pull(claimFor(kv))).toBeUndefined();
    expect(await pull(claimFor(kv))).toBe("consumed");
    await server.close();
    expect(await pull(claimFor(kv))).toBe("unreachable");
    client.close();
    ledger.assertBalanced();
  });
});

describe("tokenizer", () => {
  it("gives every text back", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        const wellFormed = Buffer.from(text).toString();
        expect(decodeTokens(encodeText(wellFormed))).toBe(wellFormed);
      }),
    );
  });

  it("makes about one token of four characters, and one of a word it knows", () => {
    expect(encodeText("abcdefgh")).toHaveLength(2);
    expect(encodeText(" amber river 東京")).toHaveLength(3);
    expect(encodeText("")).toEqual([]);
    fc.assert(
      fc.property(fc.string({ unit: "grapheme-ascii", maxLength: 200 }), (text) => {
        expect(encodeText(text).length).toBeLessThanOrEqual(text.length);
        expect(encodeText(text)).toEqual(encodeText(text));
      }),
    );
  });

  it("survives ids that nothing encodes to", () => {
    expect(decodeTokens([-1, 1.5, Number.MAX_SAFE_INTEGER])).toBe("\ufffd\ufffd\ufffd");
  });
});

describe("mockAnswer", () => {
  it("is a function of the prompt, and of everything that changes the prompt", () => {
    const base = { messages: [{ role: "user", content: "hi" }] };
    const variants: readonly Readonly<Record<string, unknown>>[] = [
      base,
      { messages: [{ role: "user", content: "hi!" }] },
      { messages: [{ role: "system", content: "hi" }] },
      { ...base, tools: [{ type: "function", function: { name: "f" } }] },
      { ...base, chat_template_kwargs: { enable_thinking: false } },
      { ...base, add_generation_prompt: false },
      { ...base, continue_final_message: true },
      { ...base, documents: [{ text: "d" }] },
      { ...base, response_format: { type: "json_object" } },
      { prompt: "hi" },
    ];
    const answers = variants.map((request) => mockAnswer(request));
    expect(new Set(answers).size).toBe(variants.length);
    expect(
      variants.map((request) => mockAnswer({ ...request, temperature: 0, stream: true, max_tokens: 3 })),
    ).toEqual(answers);
    expect(mockAnswer({ messages: [{ role: "user", content: [{ type: "text", text: "hi" }] }] })).toBe(
      answers[0],
    );
  });

  it("begins the same however long it may be", () => {
    fc.assert(
      fc.property(fc.string(), fc.integer({ min: 1, max: 30 }), (prompt, maxTokens) => {
        const whole = mockAnswer({ prompt });
        const part = mockAnswer({ prompt }, maxTokens);
        expect(whole.startsWith(part)).toBe(true);
        expect(part.split(" ").length - 1).toBe(Math.min(maxTokens, whole.split(" ").length - 1));
      }),
    );
  });
});

describe("FakeClock", () => {
  it("fires in order of time, ties in order of setting, also what is set meanwhile", () => {
    const clock = new FakeClock({ nowMs: 100, wallMs: 1000 });
    const fired: string[] = [];
    clock.setTimer(() => fired.push(`late@${clock.now()}`), 20);
    clock.setTimer(() => {
      fired.push(`first@${clock.now()}`);
      clock.setTimer(() => fired.push(`nested@${clock.now()}`), 5);
    }, 10);
    clock.setTimer(() => fired.push("tie"), 10);
    const cancelled = clock.setTimer(() => fired.push("never"), 10);
    cancelled.cancel();
    expect([clock.pendingTimers, clock.nextTimerMs]).toEqual([3, 110]);
    clock.advance(20);
    expect(fired).toEqual(["first@110", "tie", "nested@115", "late@120"]);
    expect([clock.now(), clock.wallNow(), clock.pendingTimers, clock.nextTimerMs]).toEqual([
      120,
      1020,
      0,
      undefined,
    ]);
  });

  it("starts timers over, also fired ones", () => {
    const clock = new FakeClock();
    let fired = 0;
    const timer = clock.setTimer(() => fired++, 10);
    clock.advance(9);
    timer.refresh();
    clock.advance(9);
    expect(fired).toBe(0);
    clock.advance(1);
    timer.refresh();
    clock.advance(10);
    expect(fired).toBe(2);
  });

  it("does not go back", () => {
    expect(() => new FakeClock().advance(-1)).toThrow(RangeError);
    expect(() => new FakeClock().advance(Number.NaN)).toThrow(RangeError);
  });
});

describe("seededRandom", () => {
  it("repeats, and differs by seed", () => {
    const draw = (seed: number): unknown[] => {
      const random = seededRandom(seed);
      return [random.next(), random.id(), random.next()];
    };
    expect(draw(1)).toEqual(draw(1));
    expect(draw(1)).not.toEqual(draw(2));
  });

  it("is spread over [0, 1), ids are 32 hexadecimal digits", () => {
    const random = seededRandom(9);
    const tenths = new Set(Array.from({ length: 500 }, () => Math.floor(random.next() * 10)));
    expect([...tenths].sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(random.id()).toMatch(/^[0-9a-f]{32}$/);
  });
});
