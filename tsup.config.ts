import { defineConfig } from "tsup";

const shared = {
  target: "node20" as const,
  platform: "node" as const,
  sourcemap: true,
  splitting: true,
  treeshake: true,
};

export default defineConfig([
  {
    ...shared,
    entry: {
      index: "src/index.ts",
      testing: "src/testing/index.ts",
      opentelemetry: "src/observability/opentelemetry.ts",
    },
    format: ["esm", "cjs"],
    // tsup sets `baseUrl`, which TypeScript 6 reports as deprecated.
    dts: { compilerOptions: { ignoreDeprecations: "6.0" } },
  },
  {
    ...shared,
    entry: { cli: "src/cli/main.ts" },
    format: ["esm"],
    splitting: false,
    dts: false,
  },
]);
