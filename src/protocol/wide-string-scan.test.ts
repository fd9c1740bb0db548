import { afterEach, describe, expect, it, vi } from "vitest";
import { wideStringScan } from "./wide-string-scan.ts";

/** What a process gets whose WebAssembly is another. */
async function scanWith(webAssembly: unknown): Promise<unknown> {
  vi.stubGlobal("WebAssembly", webAssembly);
  vi.resetModules();
  const module = await import("./wide-string-scan.ts");
  return module.wideStringScan();
}

afterEach(() => {
  vi.unstubAllGlobals();
});

describe("wideStringScan", () => {
  it("makes one scan, which goes over whole escapes and stops at everything else", () => {
    const scan = wideStringScan();
    expect(wideStringScan()).toBe(scan);
    const skip = (text: string): number | undefined => scan?.skip(new TextEncoder().encode(text), 0, 0);
    expect(skip("")).toBe(0);
    expect(skip("x".repeat(40_000))).toBe(40_000);
    expect(skip(`${String.raw`\\\"\u00e9`.repeat(4000)}"`)).toBe(40_000);
    expect(skip(`${"x".repeat(5000)}\\`)).toBe(5000);
    expect(skip(`${"x".repeat(5000)}\\u00e`)).toBe(5000);
    expect(skip(`${"x".repeat(5000)}\\u00gex`)).toBe(5000);
    expect(skip(`${"x".repeat(5000)}\n`)).toBe(5000);
  });

  it("is not there without WebAssembly, where it lacks SIMD and where it must not be used", async () => {
    function Refuses(): never {
      throw new TypeError("Wasm code generation disallowed by embedder");
    }
    expect(await scanWith(undefined)).toBeUndefined();
    expect(await scanWith({ Module: Refuses, Instance: Refuses })).toBeUndefined();
  });
});
