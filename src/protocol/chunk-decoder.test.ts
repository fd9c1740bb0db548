import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeEventStream, type ChunkDecoderOptions } from "./chunk-decoder.ts";

const options: ChunkDecoderOptions = {
  errorFromEvent: (body, status) => new Error(`event ${status}: ${body.message}`),
  errorFromMalformed: (cause) => new Error("malformed", { cause }),
};

/** The text as a source in pieces, which records that it was closed. */
class Source implements AsyncIterable<Uint8Array> {
  readonly #bytes: Uint8Array;
  readonly #size: number;
  closed = false;

  constructor(text: string, size = text.length) {
    this.#bytes = new TextEncoder().encode(text);
    this.#size = Math.max(1, size);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    try {
      for (let position = 0; position < this.#bytes.length; position += this.#size) {
        yield this.#bytes.subarray(position, position + this.#size);
      }
    } finally {
      this.closed = true;
    }
  }
}

async function collect(
  source: AsyncIterable<Uint8Array>,
  overrides: Partial<ChunkDecoderOptions> = {},
): Promise<unknown[]> {
  const chunks: unknown[] = [];
  for await (const chunk of decodeEventStream(source, { ...options, ...overrides })) chunks.push(chunk);
  return chunks;
}

describe("decodeEventStream", () => {
  it("gives every chunk, however the bytes are cut", async () => {
    const chunk = fc.record({
      id: fc.string({ unit: "grapheme" }),
      choices: fc.array(fc.jsonValue({ maxDepth: 1 })),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(chunk),
        fc.constantFrom("\n", "\r\n", "\r"),
        fc.integer({ min: 1, max: 40 }),
        async (chunks, lineBreak, size) => {
          const texts = chunks.map((value) => JSON.stringify(value));
          const text = [...texts, "[DONE]"].map((data) => `data: ${data}${lineBreak}${lineBreak}`).join("");
          expect(await collect(new Source(text, size))).toEqual(
            texts.map((value) => JSON.parse(value) as unknown),
          );
        },
      ),
    );
  });

  it("stops at [DONE] and closes the source", async () => {
    const source = new Source('data: {"a":1}\n\ndata: [DONE]\n\ndata: {"b":1}\n\n', 5);
    expect(await collect(source)).toEqual([{ a: 1 }]);
    expect(source.closed).toBe(true);
  });

  it("closes the source when the consumer leaves", async () => {
    const source = new Source('data: {"a":1}\n\n'.repeat(50), 15);
    for await (const chunk of decodeEventStream(source, options)) {
      expect(chunk).toEqual({ a: 1 });
      break;
    }
    expect(source.closed).toBe(true);
  });

  it("takes a last event without its blank line", async () => {
    expect(await collect(new Source('data: {"a":1}\n\ndata: {"b":2}'))).toEqual([{ a: 1 }, { b: 2 }]);
  });

  it("gives the chunks before an error event, then throws it", async () => {
    const chunks: unknown[] = [];
    const reading = (async () => {
      const source = new Source(
        'data: {"a":1}\n\ndata: {"error": {"message": "dead", "code": 503}}\n\ndata: [DONE]\n\n',
      );
      for await (const chunk of decodeEventStream(source, options)) chunks.push(chunk);
    })();
    await expect(reading).rejects.toThrow("event 503: dead");
    expect(chunks).toEqual([{ a: 1 }]);
  });

  it.each([
    ["event: error\ndata: out of memory\n\n", "event 500: out of memory"],
    ['data: {"error":"x"}\n\n', "event 500: x"],
    ["data: {broken\n\n", "malformed"],
    ["data: [1]\n\n", "malformed"],
    ['data: {"a":1', "malformed"],
  ])("%j throws %s", async (text, message) => {
    await expect(collect(new Source(text))).rejects.toThrow(message);
  });

  it("bounds an event", async () => {
    await expect(
      collect(new Source(`data: "${"x".repeat(2000)}"`, 100), { maxEventLength: 1000 }),
    ).rejects.toThrow("malformed");
  });

  it("passes on what the source throws", async () => {
    async function* broken(): AsyncGenerator<Uint8Array> {
      yield new TextEncoder().encode('data: {"a":1}\n\n');
      throw new Error("disconnected");
    }
    await expect(collect(broken())).rejects.toThrow("disconnected");
  });
});
