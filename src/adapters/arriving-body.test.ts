import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ArrivingBody } from "./arriving-body.ts";

describe("ArrivingBody", () => {
  it("has what came so far, whatever was announced", () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 8 }),
        fc.option(fc.nat(400), { nil: undefined }),
        (chunks, announced) => {
          const body = new ArrivingBody(announced);
          expect(body.bytes).toHaveLength(0);
          for (const [index, chunk] of chunks.entries()) {
            body.append(chunk);
            const soFar = Buffer.concat(chunks.slice(0, index + 1));
            expect(body.size).toBe(soFar.length);
            expect(Buffer.from(body.bytes).equals(soFar)).toBe(true);
          }
        },
      ),
    );
  });

  it("does not copy a body that comes at once", () => {
    const body = new ArrivingBody(3);
    const chunk = Buffer.from("abc");
    body.append(chunk);
    expect(body.bytes.buffer).toBe(chunk.buffer);
    expect(body.bytes.byteOffset).toBe(chunk.byteOffset);
  });

  it.each([
    [30 * 1024 * 1024, 8],
    [undefined, 4],
  ])("keeps room for no more than a few times what has come, of %s bytes", (announced, growth) => {
    const body = new ArrivingBody(announced);
    const chunk = new Uint8Array(64 * 1024);
    for (let count = 1; count <= 100; count += 1) {
      body.append(chunk);
      expect(body.bytes.buffer.byteLength).toBeLessThanOrEqual(Math.max(growth * body.size, 256 * 1024));
    }
    expect(body.bytes.buffer.byteLength).toBeGreaterThan(body.size);
  });

  it("copies little of what was announced: 4 MB move twice, when they are small", () => {
    const size = 4 * 1024 * 1024;
    const body = new ArrivingBody(size);
    const rooms = new Set<number>();
    for (let received = 0; received < size; received += 64 * 1024) {
      body.append(new Uint8Array(64 * 1024));
      rooms.add(body.bytes.buffer.byteLength);
    }
    expect([...rooms]).toEqual([64 * 1024, 512 * 1024, size]);
  });

  it("keeps no more room than was announced", () => {
    const body = new ArrivingBody(100_000);
    body.append(new Uint8Array(50_000));
    body.append(new Uint8Array(50_000));
    expect(body.bytes.buffer.byteLength).toBe(100_000);
  });
});
