import { join } from "node:path";
import { defineConfig } from "vitest/config";

const source = join(import.meta.dirname, "src");

export default defineConfig({
  // Examples import the package by its name.
  resolve: {
    alias: [
      { find: /^serve-llm$/, replacement: join(source, "index.ts") },
      { find: /^serve-llm\/testing$/, replacement: join(source, "testing", "index.ts") },
    ],
  },
  test: {
    include: ["src/**/*.test.ts", "test/**/*.test.ts"],
    setupFiles: ["test/support/fixed-seed.ts"],
    testTimeout: 90_000,
    hookTimeout: 90_000,
    // Some tests run child processes and a type checker: on a busy two-core machine that takes its time.
    maxWorkers: 2,
    coverage: {
      provider: "v8",
      include: ["src/**"],
      exclude: ["src/**/*.test.ts"],
    },
  },
});
