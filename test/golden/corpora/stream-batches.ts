import { EngineStreamError } from "../../../src/errors/engine-stream-error.ts";
import type { ByteSink, ByteSource } from "../../../src/internal/byte-stream.ts";
import { batchedSource } from "../../../src/llm/stream-batching.ts";
import { FakeClock } from "../../../src/testing/fake-clock.ts";
import { same } from "../compare.ts";

/** Something that left: when, and which items. */
interface Write {
  readonly atMs: number;
  readonly items: readonly string[];
}

/**
 * Checks a case of stream batching. By rule: the items and their order are Ray's, an error comes after everything
 * before it, and nothing leaves later than Ray's interval allows. Other than in Ray, the first item leaves at once, as
 * does one that comes when nothing was sent for an interval; and without an interval each item leaves as it comes
 * (Ray's null gathers a whole answer, which here is asked for by leaving `stream` out).
 */
export function checkBatching(
  input: Readonly<Record<string, unknown>>,
  expected: Readonly<Record<string, unknown>>,
): void {
  const items = input["items"] as readonly (readonly [number, string])[];
  const intervalMs = (input["interval_ms"] as number | null) ?? 0;
  const raises = items.findIndex(([, value]) => value === "$raise");
  const sent = raises < 0 ? items : items.slice(0, raises);
  const { writes, failed } = play(items, intervalMs);

  const left = writes.flatMap((write) => write.items);
  same(left, (expected["batches"] as readonly (readonly string[])[]).flat(), "items");
  same(failed, expected["raised"] !== undefined, "raised");
  if (intervalMs === 0) {
    same(
      writes,
      sent.map(([atMs, item]) => ({ atMs, items: [item] })),
      "each item leaves as it comes",
    );
    return;
  }
  const [first] = sent;
  if (first !== undefined) same(writes[0], { atMs: first[0], items: [first[1]] }, "the first item");
  let index = 0;
  const end = items.at(-1)?.[0] ?? 0;
  for (const [place, { atMs, items: batch }] of writes.entries()) {
    for (const _item of batch) {
      const [cameAt] = sent[index++]!;
      if (atMs < cameAt || atMs > cameAt + intervalMs)
        throw new Error(`an item of ${cameAt} ms left at ${atMs} ms`);
    }
    const previous = writes[place - 1]?.atMs ?? -Infinity;
    if (atMs - previous < intervalMs && atMs < end)
      throw new Error(`two batches left within ${intervalMs} ms, at ${previous} and ${atMs}`);
  }
}

/** Sends the items at their times through what `stream_batching_interval_ms` puts between engine and client. */
function play(
  items: readonly (readonly [number, string])[],
  intervalMs: number,
): { readonly writes: readonly Write[]; readonly failed: boolean } {
  const clock = new FakeClock();
  const writes: Write[] = [];
  let failed = false;
  let engine: ByteSink | undefined;
  const source: ByteSource = { pipe: (sink) => (engine = sink), resume: () => undefined };
  const batched = intervalMs === 0 ? source : batchedSource(source, intervalMs, clock);
  batched.pipe({
    write(chunk) {
      const items = Buffer.from(chunk).toString().split("\n").slice(0, -1);
      writes.push({ atMs: clock.now(), items });
      return true;
    },
    end: () => undefined,
    fail: () => (failed = true),
  });
  for (const [atMs, value] of items) {
    clock.advance(atMs - clock.now());
    if (value === "$raise") {
      engine!.fail(new EngineStreamError({ phase: "decode", replica: "d" }, "truncated"));
      break;
    }
    engine!.write(Buffer.from(`${value}\n`));
  }
  if (!failed) engine!.end();
  same(clock.pendingTimers, 0, "timers left");
  return { writes, failed };
}
