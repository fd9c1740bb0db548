import type { Plugin } from "esbuild";
import { defineConfig } from "tsup";
import { pageBundle } from "./src/dashboard/page-bundle.ts";

/** Puts the status page, built, in the place of the module that builds it. */
const statusPage: Plugin = {
  name: "status-page",
  setup(build) {
    build.onLoad({ filter: /[\\/]dashboard[\\/]page-bundle\.ts$/ }, async () => ({
      contents: `const bundle = ${JSON.stringify(await pageBundle())};\nexport const pageBundle = async () => bundle;`,
      loader: "js",
    }));
  },
};

const shared = {
  target: "node20" as const,
  platform: "node" as const,
  sourcemap: true,
  splitting: true,
  treeshake: true,
  esbuildPlugins: [statusPage],
};

const library = {
  ...shared,
  entry: {
    index: "src/index.ts",
    testing: "src/testing/index.ts",
    kubernetes: "src/kubernetes/index.ts",
    opentelemetry: "src/observability/opentelemetry.ts",
    dashboard: "src/dashboard/dashboard.ts",
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
