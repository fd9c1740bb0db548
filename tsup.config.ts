import { defineConfig } from "tsup";

const shared = {
  target: "node20" as const,
  platform: "node" as const,
  sourcemap: true,
  splitting: true,
  treeshake: true,
};

const library = {
  ...shared,
  entry: {
    index: "src/index.ts",
    testing: "src/testing/index.ts",
    opentelemetry: "src/observability/opentelemetry.ts",
  },
};

export default defineConfig([
  { ...library, format: ["esm"] },
  // p-queue is ESM only. Node can require it, Jest before Node 24.9 can't: the CommonJS build carries it.
  { ...library, format: ["cjs"], noExternal: ["p-queue"] },
  // tsup sets `baseUrl`, which TypeScript 6 reports as deprecated.
  {
    ...library,
    format: ["esm", "cjs"],
    dts: { only: true, compilerOptions: { ignoreDeprecations: "6.0" } },
  },
  {
    ...shared,
    entry: { cli: "src/cli/main.ts" },
    format: ["esm"],
    splitting: false,
    dts: false,
  },
]);
