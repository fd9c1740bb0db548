import { afterEach, expect, it } from "vitest";

import { buildOpenaiApp } from "../src/builders/build-openai-app.ts";
import type { HttpRequest } from "../src/adapters/http-exchange.ts";
import type { JsonObjectIndex } from "../src/protocol/json-object-index.ts";
import type { PendingRequest, RequestRouter } from "../src/routing/request-router.ts";
import { MockVLLMEngine } from "../src/testing/index.ts";
import { post } from "./door-fixtures.ts";

const variable = "RAY_SERVE_SESSION_ID_HEADER_KEY";

afterEach(() => {
  delete process.env[variable];
});

/** One engine, and an application whose router notes the session of every request. */
async function recording(ingressExtraKwargs: Readonly<Record<string, unknown>> = {}) {
  const engine = new MockVLLMEngine({ model: "m" });
  await engine.start();
  const sessions: (string | undefined)[] = [];
  const requestRouterClass = (): RequestRouter => ({
    chooseReplicas: (replicas, request: PendingRequest) => {
      sessions.push(request.sessionId);
      return [replicas];
    },
  });
  const app = buildOpenaiApp({
    llmConfigs: [
      {
        modelLoadingConfig: { modelId: "m" },
        deploymentConfig: { requestRouterConfig: { requestRouterClass } },
        endpoints: [engine.url],
      },
    ],
    ingressClsConfig: { ingressExtraKwargs },
  });
  return {
    app,
    sessions,
    async [Symbol.asyncDispose]() {
      await app.shutdown({ graceMs: 0 });
      await engine.stop();
    },
  };
}

it.each([
  [undefined, "x-session-id"],
  ["X-Conversation_Id", "x-conversation-id"],
])("with the header %s in the environment, routers see the session of %s", async (name, sent) => {
  if (name !== undefined) process.env[variable] = name;
  await using running = await recording();
  const body = { model: "m", messages: [{ role: "user", content: "a" }], max_tokens: 1 };
  for (const headers of [{ [sent]: "one" }, { "x-other": "two" }] as Record<string, string>[]) {
    const request = new Request("http://h/v1/chat/completions", post(body, headers));
    expect((await running.app.fetch(request)).status).toBe(200);
  }
  expect(running.sessions).toEqual(["one", undefined]);
});

it("calls of the handle have sessions by the ingress's options, and else by their own", async () => {
  await using running = await recording({
    sessionField: "user",
    sessionKey: (request: HttpRequest, body: JsonObjectIndex) =>
      body.value("seed") === 7 ? `${request.method} ${request.path}` : undefined,
  });
  const { handle } = running.app;
  const chat = { messages: [{ role: "user" as const, content: "a" }], max_tokens: 1 };
  await handle.chat({ ...chat, user: "ann", seed: 7 }, { sessionId: "own" });
  await handle.chat({ ...chat, user: "ann" }, { sessionId: "own" });
  await handle.completions({ prompt: "a", max_tokens: 1 }, { sessionId: "own" });
  await handle.completions({ prompt: "a", max_tokens: 1 });
  expect(running.sessions).toEqual(["POST /v1/chat/completions", "ann", "own", undefined]);
});
