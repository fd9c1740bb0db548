import { afterEach, describe, expect, it } from "vitest";

import { buildOpenaiApp } from "../src/builders/build-openai-app.ts";
import { RequestError } from "../src/errors/request-error.ts";
import type { AdminOptions } from "../src/ingress/admin-calls.ts";
import { makeIngress } from "../src/ingress/make-ingress.ts";
import { OpenAiIngress } from "../src/ingress/openai-ingress.ts";
import { errorIn, pdFixture, post } from "./door-fixtures.ts";
import { json, scriptedEngine, type ScriptedAnswer, type ScriptedEngine } from "./support/scripted-engine.ts";

const admin: AdminOptions = { guard: (request) => request.header("authorization") === "Bearer admin" };
const authorization = "Bearer admin";
const cleanups: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

type Ask = (path: string, init?: RequestInit) => Promise<Response>;

/** One model per list of engines, `m0`, `m1` ... */
async function app(models: readonly (readonly ScriptedAnswer[])[]): Promise<{
  readonly ask: Ask;
  readonly engines: readonly (readonly ScriptedEngine[])[];
}> {
  const engines = await Promise.all(
    models.map((answers) => Promise.all(answers.map((answer) => scriptedEngine(answer)))),
  );
  const made = buildOpenaiApp({
    llmConfigs: engines.map((each, index) => ({
      modelLoadingConfig: { modelId: `m${index}` },
      endpoints: each.map(({ url }, place) => ({ url, name: `e${index}-${place}` })),
    })),
    ingressClsConfig: { ingressExtraKwargs: { admin } },
  });
  cleanups.push(...engines.flat().map((each) => () => Promise.resolve(each[Symbol.asyncDispose]())));
  cleanups.push(() => made.shutdown({ graceMs: 0 }));
  return {
    ask: (path, { headers, ...init } = {}) =>
      made.fetch(
        new Request(`http://h${path}`, { ...init, headers: { authorization, ...(headers as object) } }),
      ),
    engines,
  };
}

const paths = (engines: readonly ScriptedEngine[]): readonly string[] =>
  engines.flatMap(({ received }) => received.map(({ method, path }) => `${method} ${path}`));

describe("routes that administer engines", () => {
  it("do not exist by default", async () => {
    await using fixture = await pdFixture();
    for (const path of ["/sleep", "/wake_up", "/reset_prefix_cache", "/start_profile", "/pause"]) {
      const response = await fixture.app.fetch(new Request(`http://h${path}`, { method: "POST" }));
      expect([path, response.status]).toEqual([path, 404]);
    }
    expect((await fixture.app.fetch(new Request("http://h/is_sleeping"))).status).toBe(404);
  });

  it("need a guard", async () => {
    for (const bad of [{}, { guard: true }, { guard: () => true, timeoutMs: -1 }]) {
      await expect(pdFixture({ ingress: { admin: bad as never } })).rejects.toThrow(
        /admin\.(guard|timeoutMs)/,
      );
    }
    const ingressCls = makeIngress(OpenAiIngress, {
      routes: { resetMm: { method: "POST", path: "/reset_mm_cache", goesTo: "every-engine" } },
    });
    await expect(pdFixture({ ingressCls })).rejects.toThrow(/routes\.resetMm: It goes to every engine/);
  });

  it("put every engine of both sides to sleep, and wake it", async () => {
    await using fixture = await pdFixture({ ingress: { admin } });
    const ask: Ask = (path, init) =>
      fixture.app.fetch(new Request(`http://h${path}`, { headers: { authorization }, ...init }));
    const asleep = async (): Promise<unknown> =>
      ((await (await ask("/is_sleeping")).json()) as { is_sleeping: unknown }).is_sleeping;
    expect(await asleep()).toBe(false);
    const slept = await ask("/sleep?level=1&mode=abort", { method: "POST" });
    const model = fixture.prefill.options.model;
    expect([slept.status, await slept.json()]).toMatchObject([
      200,
      {
        results: [`Prefill:${model}`, `Decode:${model}`].map((deployment) => ({
          deployment,
          replicas: [expect.any(String)],
          ok: true,
          status: 200,
          body: null,
          error: null,
        })),
      },
    ]);
    expect(await asleep()).toBe(true);
    const woken = await ask(`/wakeup?deployment=Decode:${model}`, { method: "POST" });
    expect(((await woken.json()) as { results: unknown[] }).results).toHaveLength(1);
    // One that sleeps is enough.
    expect(await asleep()).toBe(true);
    await (await ask("/wake_up", { method: "POST" })).text();
    expect(await asleep()).toBe(false);
    const received = (engine: typeof fixture.prefill): readonly string[] =>
      engine.requests.map(({ method, path }) => `${method} ${path}`);
    expect(received(fixture.prefill)).toContain("POST /sleep");
    expect(received(fixture.decode)).toContain("POST /wake_up");
  });

  it("ask the guard first, whose word is final", async () => {
    const seen: string[] = [];
    const refusal = new RequestError("Who are you?", { status: 401, code: "invalid_api_key" });
    for (const [guard, status] of [
      [() => false, 403],
      [() => Promise.resolve(false), 403],
      [() => undefined as never, 403],
      [() => Promise.reject(refusal), 401],
      [
        () => {
          throw refusal;
        },
        401,
      ],
    ] as const) {
      await using fixture = await pdFixture({ ingress: { admin: { guard } } });
      const response = await fixture.app.fetch(
        new Request("http://h/sleep", { ...post("not JSON"), method: "POST" }),
      );
      expect(response.status).toBe(status);
      await response.text();
      for (const engine of [fixture.prefill, fixture.decode])
        seen.push(...engine.requests.map(({ path }) => path));
    }
    expect(seen.filter((path) => path.startsWith("/sleep"))).toEqual([]);
  });

  it("take what Ray's clients send as well as vLLM's", async () => {
    const { ask, engines } = await app([[json({}), json({})], [json({})]]);
    const body = { model: "m0", options: { level: 2, tags: ["weights", "kv_cache"] } };
    expect((await ask("/sleep?mode=wait", post(body))).status).toBe(200);
    expect(paths(engines[0]!)).toEqual(
      Array.from({ length: 2 }, () => "POST /sleep?mode=wait&level=2&tags=weights&tags=kv_cache"),
    );
    expect(paths(engines[1]!)).toEqual([]);
    expect((await ask("/reset_prefix_cache?model=m1", { method: "POST" })).status).toBe(200);
    expect(paths(engines[1]!)).toEqual(["POST /reset_prefix_cache"]);
  });

  it.each([
    ["/sleep", {}, 400, "missing_field"],
    ["/sleep?model=nobody", {}, 404, "model_not_found"],
    ["/sleep?model=m0&deployment=nobody", {}, 404, "deployment_not_found"],
    ["/sleep?model=m0&model=m1", {}, 400, "invalid_parameter"],
    ["/sleep?model=m0", { model: "m0" }, 400, "invalid_parameter"],
    ["/sleep?level=1", { model: "m0", options: { level: 2 } }, 400, "invalid_parameter"],
    ["/sleep", { model: "m0", level: 2 }, 400, "invalid_parameter"],
    ["/sleep", { model: "m0", options: { level: {} } }, 400, "invalid_parameter"],
    ["/sleep", { model: "m0", options: [] }, 400, "invalid_parameter"],
    ["/sleep", { model: 1 }, 400, "invalid_parameter"],
    ["/sleep", [], 400, "invalid_json"],
  ])("%s %j is a %i", async (path, body, status, code) => {
    const { ask, engines } = await app([[json({})], [json({})]]);
    const response = await ask(path, post(body));
    expect([response.status, (await errorIn(response))["code"]]).toEqual([status, code]);
    expect(paths(engines.flat())).toEqual([]);
  });

  it("tell what each engine said when some did not", async () => {
    const { ask } = await app([
      [
        json({ success: true }),
        json({ success: false }),
        json({ detail: "Not Found" }, 404),
        (_response) => _response.destroy(),
      ],
    ]);
    const response = await ask("/reset_prefix_cache", { method: "POST" });
    const answer = (await response.json()) as { error: object; results: { replicas: string[] }[] };
    expect(response.status).toBe(502);
    expect(answer.error).toMatchObject({
      code: "engine_command_failed",
      message: expect.stringMatching(/^3 of 4 engines .* VLLM_SERVER_DEV_MODE=1/),
    });
    expect(answer.results).toMatchObject([
      { replicas: ["e0-0"], ok: true, status: 200, body: { success: true } },
      { replicas: ["e0-1"], ok: false, status: 200, body: { success: false } },
      { replicas: ["e0-2"], ok: false, status: 404, body: { detail: "Not Found" } },
      { replicas: ["e0-3"], ok: false, status: null, body: null, error: expect.any(String) },
    ]);
  });

  it("pass on what all engines refuse", async () => {
    const refusal = json({ error: "level must be 1 or 2" }, 400);
    const { ask } = await app([[refusal, refusal]]);
    const response = await ask("/sleep?level=5", { method: "POST" });
    expect([response.status, (await errorIn(response))["code"]]).toEqual([400, "engine_command_failed"]);
  });

  it("are a call of the handle too, which no guard guards", async () => {
    await using fixture = await pdFixture();
    const results = await fixture.app.handle.commandEngines("resetPrefixCache", {
      options: { reset_running_requests: true },
    });
    expect(results.map(({ ok, body }) => [ok, body])).toEqual([
      [true, { success: true }],
      [true, { success: true }],
    ]);
    expect(fixture.prefill.requests.map(({ path }) => path)).toContain("/reset_prefix_cache");
    await expect(
      fixture.app.handle.commandEngines("sleep", { deployments: ["nobody"] }),
    ).rejects.toMatchObject({
      status: 404,
      code: "deployment_not_found",
    });
  });

  it("reach an engine once, whichever number of ranks is behind it", async () => {
    const engine = await scriptedEngine(json({}));
    cleanups.push(() => Promise.resolve(engine[Symbol.asyncDispose]()));
    const made = buildOpenaiApp({
      llmConfigs: [{ modelLoadingConfig: { modelId: "m" }, endpoints: [{ url: engine.url, dpRanks: 3 }] }],
    });
    cleanups.push(() => made.shutdown({ graceMs: 0 }));
    const [result, ...others] = await made.handle.commandEngines("startProfile");
    expect([result?.replicas.length, others.length]).toEqual([
      made.status().deployments["LLMServer:m"]?.replicas.length,
      0,
    ]);
    expect(paths([engine])).toEqual(["POST /start_profile"]);
  });
});
