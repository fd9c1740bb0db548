import { readFile } from "node:fs/promises";
import { expect, it } from "vitest";
import { compiledFile, compiledText } from "../scripts/compile-wat.ts";

it("the WebAssembly in the repository is what its source gives; if not, run `npm run wasm`", async () => {
  expect(await readFile(compiledFile, "utf8")).toBe(await compiledText());
});
