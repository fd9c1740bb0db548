import { readFile } from "node:fs/promises";
import { join } from "node:path";
import createWabt from "wabt";

const protocol = join(import.meta.dirname, "..", "src", "protocol");

/** What the compiled module is written to. */
export const compiledFile = join(protocol, "json-string-scan-wasm.ts");

/** The text of {@link compiledFile}, as its source gives it. */
export async function compiledText(): Promise<string> {
  const wabt = await createWabt();
  const source = "json-string-scan.wat";
  const module = wabt.parseWat(source, await readFile(join(protocol, source)), { simd: true });
  try {
    module.validate();
    const base64 = Buffer.from(module.toBinary({}).buffer).toString("base64");
    return `/** ${source}, compiled by \`npm run wasm\`; base64. */\nexport const jsonStringScanWasm =\n  "${base64}";\n`;
  } finally {
    module.destroy();
  }
}
