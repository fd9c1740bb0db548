import { describe, expect, it } from "vitest";
import { EngineStreamError } from "../errors/engine-stream-error.ts";
import type { ByteSink } from "../internal/byte-stream.ts";
import { FakeClock } from "../testing/fake-clock.ts";
import { batchedSource } from "./stream-batching.ts";

/** A source and a client that are played by the test. */
function batched(): {
  readonly clock: FakeClock;
  readonly engine: ByteSink;
  readonly written: string[];
  readonly client: { full: boolean; resumed: number; resume(): void };
} {
  const clock = new FakeClock();
  const written: string[] = [];
  let engine: ByteSink | undefined;
  const client = { full: false, resumed: 0, resume: () => source.resume() };
  const source = batchedSource(
    {
      pipe: (sink) => void (engine = sink),
      resume: () => void (client.resumed += 1),
    },
    50,
    clock,
  );
  source.pipe({
    write: (chunk) => {
      written.push(Buffer.from(chunk).toString());
      return !client.full;
    },
    end: () => void written.push("<end>"),
    fail: ({ code }) => void written.push(`<${code}>`),
  });
  return { clock, engine: engine!, written, client };
}

const bytes = (text: string): Uint8Array => Buffer.from(text);

describe("batchedSource", () => {
  it("sends the first token at once, gathers what comes within an interval, and keeps no timer", () => {
    const { clock, engine, written } = batched();
    for (const token of ["a", "b", "c"]) engine.write(bytes(token));
    expect(written).toEqual(["a"]);
    clock.advance(50);
    expect(written).toEqual(["a", "bc"]);
    engine.write(bytes("d"));
    engine.end();
    expect(written).toEqual(["a", "bc", "d", "<end>"]);
    expect(clock.pendingTimers).toBe(0);
  });

  it("sends the next one at once after an interval without any", () => {
    const { clock, engine, written } = batched();
    engine.write(bytes("a"));
    clock.advance(51);
    engine.write(bytes("b"));
    expect(written).toEqual(["a", "b"]);
  });

  it("sends what it has before a failure", () => {
    const { engine, written } = batched();
    engine.write(bytes("a"));
    engine.write(bytes("b"));
    engine.fail(new EngineStreamError({ phase: "decode", replica: "d" }, "truncated"));
    expect(written).toEqual(["a", "b", "<stream_truncated>"]);
  });

  it("never leaves the engine waiting for a client that reads again", () => {
    const { clock, engine, written, client } = batched();
    engine.write(bytes("a"));
    expect(engine.write(bytes("b"))).toBe(true);
    client.full = true;
    // The batch fills the client; nobody told the engine so far, because nothing was written meanwhile.
    clock.advance(50);
    client.full = false;
    client.resume();
    expect(engine.write(bytes("c"))).toBe(true);
    clock.advance(50);
    expect(written).toEqual(["a", "b", "c"]);
  });

  it("tells the engine to wait while the client is full, and to go on when it is not", () => {
    const { engine, client } = batched();
    client.full = true;
    expect(engine.write(bytes("a"))).toBe(false);
    expect(engine.write(bytes("b"))).toBe(false);
    client.full = false;
    client.resume();
    expect(client.resumed).toBe(1);
  });
});
