import type { app as theApp } from "../../app.ts";

const kept = globalThis as { pdApp?: Promise<typeof theApp> };

/** The application, made with the first request and kept when Next reloads modules in development. */
export function pdApp(): Promise<typeof theApp> {
  // In a project of yours: `buildPdOpenaiApp({ ... })` here.
  kept.pdApp ??= import("../../app.ts").then(({ app }) => app);
  return kept.pdApp;
}
