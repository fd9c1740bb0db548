import { afterEach, describe, expect, it } from "vitest";

import { buildOpenaiApp } from "../src/builders/build-openai-app.ts";
import { defaultRoutes, type Route } from "../src/ingress/routes.ts";
import { errorIn } from "./door-fixtures.ts";
import { json, scriptedEngine, type ScriptedAnswer } from "./support/scripted-engine.ts";

const cleanups: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

/** Whatever any JSON route wants. */
const body = {
  model: "m",
  messages: [{ role: "user", content: "a" }],
  prompt: "a",
  input: "a",
  text_1: "a",
  text_2: "b",
  query: "a",
  documents: ["b"],
  tokens: [1],
  max_tokens: 2,
};
const paths = Object.values(defaultRoutes as Readonly<Record<string, Route>>).flatMap(
  ({ method, path, body: rules }) =>
    method === "POST" && rules?.kind === "json" ? (typeof path === "string" ? [path] : path) : [],
);

async function ask(path: string, answer: ScriptedAnswer, init: RequestInit = {}, maxBodyBytes = 10_000) {
  const engine = await scriptedEngine(answer);
  cleanups.push(() => Promise.resolve(engine[Symbol.asyncDispose]()));
  const app = buildOpenaiApp({
    llmConfigs: [{ modelLoadingConfig: { modelId: "m" }, endpoints: [engine.url] }],
    ingressClsConfig: { ingressExtraKwargs: { maxBodyBytes } },
  });
  cleanups.push(() => app.shutdown({ graceMs: 0 }));
  const headers = { "content-type": "application/json" };
  const request = { method: "POST", headers, body: JSON.stringify(body), ...init };
  return { response: await app.fetch(new Request(`http://h${path}`, request)), engine };
}

describe.each(paths)("POST %s", (path) => {
  it("refuses a body beyond the limit, and one of another type, before any engine", async () => {
    const large = await ask(path, json({}), {}, 10);
    expect(large.response.status).toBe(413);
    const form = await ask(path, json({}), { headers: { "content-type": "text/plain" } });
    expect([form.response.status, (await errorIn(form.response))["code"]]).toEqual([
      415,
      "unsupported_media_type",
    ]);
    expect([...large.engine.received, ...form.engine.received]).toEqual([]);
  });

  it("passes on what the engine refuses", async () => {
    const { response } = await ask(path, json({ error: { message: "not so", type: "Bad", code: 422 } }, 422));
    expect([response.status, (await errorIn(response))["message"]]).toEqual([422, "not so"]);
  });

  it("answers with an error in OpenAI's shape when the engine fails", async () => {
    const { response, engine } = await ask(path, json({ detail: "broke" }, 500));
    expect(response.status).toBeGreaterThanOrEqual(500);
    expect(await errorIn(response)).toMatchObject({
      message: expect.any(String),
      type: expect.any(String),
      code: expect.anything(),
    });
    expect(engine.received.length).toBeGreaterThan(0);
  });
});
