import { join } from "node:path";
import { defineConfig } from "vitest/config";

const source = join(import.meta.dirname, "..", "..", "src");

export default defineConfig({
  test: { include: ["*.vitest.ts"] },
  // Only because this example lies within the library; a project of yours has it in node_modules.
  resolve: {
    alias: [
      { find: /^serve-llm$/, replacement: join(source, "index.ts") },
      { find: /^serve-llm\/testing$/, replacement: join(source, "testing", "index.ts") },
    ],
  },
});
