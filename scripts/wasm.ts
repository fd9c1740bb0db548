// Compiles the WebAssembly of the library. The result is committed, so that a build needs no compiler for it.
import { writeFile } from "node:fs/promises";
import { compiledFile, compiledText } from "./compile-wat.ts";

await writeFile(compiledFile, await compiledText());
