import { afterEach, describe, expect, it } from "vitest";

import {
  type Application,
  buildDpDeployment,
  buildLlmDeployment,
  buildPdOpenaiApp,
  ConfigurationError,
  type DisaggregationContext,
  type DisaggregationDecision,
  editRequest,
  LLMConfig,
  type LLMConfigInit,
  type LLMRequest,
  OpenAiIngress,
  PDProxyServer,
  RequestError,
  serve,
} from "../src/index.ts";
import { mockAnswer, MockVLLMEngine } from "../src/testing/index.ts";
import { errorIn, modelRequests, post } from "./door-fixtures.ts";

const kvTransfer = { kv_transfer_config: { kv_connector: "NixlConnector", kv_role: "kv_both" } };
const messages = [{ role: "user", content: "Which way to the harbour?" }];
const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function engine(model: string): Promise<MockVLLMEngine> {
  const made = new MockVLLMEngine({ model });
  await made.start();
  cleanups.push(() => made.stop());
  return made;
}

function configOf(modelId: string, url = "http://a:1", more: Partial<LLMConfigInit> = {}): LLMConfig {
  return new LLMConfig({
    modelLoadingConfig: { modelId },
    engineKwargs: kvTransfer,
    endpoints: [url],
    ...more,
  });
}

/** The application's own way of being asked, stopped when the test is over. */
function asker(app: Application<OpenAiIngress>): (path: string, body?: object) => Promise<Response> {
  cleanups.push(() => app.shutdown({ graceMs: 0 }));
  return (path, body) => app.fetch(new Request(`http://h${path}`, body === undefined ? {} : post(body)));
}

describe("several models under one ingress", () => {
  async function mixed(): Promise<{
    readonly ask: (path: string, body?: object) => Promise<Response>;
    readonly engines: Readonly<Record<"prefill" | "decode" | "small", MockVLLMEngine>>;
    readonly app: Application<OpenAiIngress>;
  }> {
    const engines = {
      prefill: await engine("large"),
      decode: await engine("large"),
      small: await engine("small"),
    };
    const proxy = serve
      .deployment(PDProxyServer)
      .options({ name: "PDProxyServer:large" })
      .bind({
        prefillServer: buildDpDeployment(configOf("large", engines.prefill.url), { namePrefix: "Prefill:" }),
        decodeServer: buildDpDeployment(configOf("large", engines.decode.url), { namePrefix: "Decode:" }),
      });
    const small = buildLlmDeployment(configOf("small", engines.small.url, { engineKwargs: {} }));
    const app = serve.deployment(OpenAiIngress).bind({ llmDeployments: [proxy, small] });
    return { ask: asker(app), engines, app };
  }

  it("go each to its own engines, split or not", async () => {
    const { ask, engines, app } = await mixed();
    for (const model of ["large", "small"]) {
      const response = await ask("/v1/chat/completions", { model, messages });
      const { choices } = (await response.json()) as { choices: { message: { content: string } }[] };
      expect([model, choices[0]?.message.content]).toEqual([model, mockAnswer({ messages })]);
      expect((await ask("/tokenize", { model, prompt: "a" })).status).toBe(200);
    }
    const paths = (each: MockVLLMEngine): readonly string[] => modelRequests(each).map(({ path }) => path);
    expect(paths(engines.prefill)).toEqual(["/v1/chat/completions"]);
    expect(paths(engines.decode)).toEqual(["/v1/chat/completions", "/tokenize"]);
    expect(paths(engines.small)).toEqual(["/v1/chat/completions", "/tokenize"]);
    expect(app.pdHealth()).toMatchObject([{ deployment: "PDProxyServer:large", requests: 1 }]);
    engines.prefill.ledger.assertBalanced();
  });

  it("are listed, and must be named", async () => {
    const { ask, engines } = await mixed();
    const { data } = (await (await ask("/v1/models")).json()) as { data: { id: string }[] };
    expect(data.map(({ id }) => id)).toEqual(["large", "small"]);
    expect((await ask("/v1/models/small")).status).toBe(200);
    const unknown = await ask("/v1/chat/completions", { model: "medium", messages });
    expect([unknown.status, (await errorIn(unknown))["code"]]).toEqual([404, "model_not_found"]);
    const unnamed = await ask("/v1/chat/completions", { messages });
    expect([unnamed.status, (await errorIn(unnamed))["message"]]).toEqual([
      400,
      expect.stringContaining("['large', 'small']"),
    ]);
    expect(Object.values(engines).flatMap((each) => modelRequests(each))).toEqual([]);
  });

  it("keep their ids when they are bound by name", async () => {
    const only = await engine("small");
    const small = buildLlmDeployment(configOf("small", only.url, { engineKwargs: {} }));
    const ask = asker(serve.deployment(OpenAiIngress).bind({ llmDeployments: { alias: small } }));
    const { data } = (await (await ask("/v1/models")).json()) as { data: { id: string }[] };
    expect(data.map(({ id }) => id)).toEqual(["alias"]);
    expect((await ask("/v1/chat/completions", { model: "small", messages })).status).toBe(404);
  });
});

describe("a graph that can't be", () => {
  const pool = (namePrefix: string, config = configOf("m")): ReturnType<typeof buildDpDeployment> =>
    buildDpDeployment(config, { namePrefix });
  const proxy = (args: object, name = "Proxy"): Application<PDProxyServer> =>
    serve
      .deployment(PDProxyServer)
      .options({ name })
      .bind(args as never);
  const ingress = (args: unknown): Application<OpenAiIngress> =>
    serve
      .deployment(OpenAiIngress)
      .options({ name: "Front" })
      .bind(args as never);
  const [prefill, decode] = [pool("Prefill:"), pool("Decode:")];
  const source = { modelLoadingConfig: { modelId: "m", modelSource: "a/b" } };

  it.each([
    [
      "a side is missing",
      () => proxy({ prefillServer: prefill }),
      /"Proxy".*\n.*decodeServer: .*no deployment with engines/,
    ],
    [
      "a side is a configuration",
      () => proxy({ prefillServer: configOf("m"), decodeServer: decode }),
      /"Proxy".*\n.*prefillServer: .*got an instance of LLMConfig/,
    ],
    [
      "a side is a proxy",
      () =>
        proxy({
          prefillServer: proxy({ prefillServer: prefill, decodeServer: decode }, "Inner"),
          decodeServer: decode,
        }),
      /"Proxy".*\n.*prefillServer/,
    ],
    [
      "both sides are one",
      () => proxy({ prefillServer: prefill, decodeServer: prefill }),
      /"Proxy".*\n.*one deployment, "Prefill:m"/,
    ],
    [
      "sides serve two models",
      () => proxy({ prefillServer: prefill, decodeServer: pool("Decode:", configOf("n")) }),
      /"Proxy".*\n.*model id mismatch/,
    ],
    [
      "sides load two models",
      () =>
        proxy({
          prefillServer: pool("Prefill:", configOf("m", "http://a:1", source)),
          decodeServer: pool(
            "Decode:",
            configOf("m", "http://a:1", { modelLoadingConfig: { modelId: "m", modelSource: "c" } }),
          ),
        }),
      /"Proxy".*\n.*decodeServer: P\/D model source mismatch/,
    ],
    [
      "a side has no connector",
      () =>
        proxy({
          prefillServer: prefill,
          decodeServer: pool("Decode:", configOf("m", "http://a:1", { engineKwargs: {} })),
        }),
      /"Proxy".*\n.*decodeServer: kv_transfer_config is required/,
    ],
    [
      "an option does not exist",
      () => proxy({ prefillServer: prefill, decodeServer: decode, maxRetrys: 1 }),
      /"Proxy".*\n.*maxRetrys: Extra inputs/,
    ],
    [
      "two nodes have one name",
      () => proxy({ prefillServer: prefill, decodeServer: pool("Prefill:") }),
      /deployments\.Prefill:m: Two different deployments have this name/,
    ],
    [
      "there are no models",
      () => ingress({ llmDeployments: [] }),
      /"Front".*\n.*llmDeployments: List of models is empty/,
    ],
    ["models are not given", () => ingress({}), /"Front".*\n.*llmDeployments: Should be a list/],
    [
      "a model is a configuration",
      () => ingress({ llmDeployments: [prefill, configOf("m")] }),
      /"Front".*\n.*llmDeployments\[1\]: It serves no model/,
    ],
    [
      "a model is no list",
      () => ingress({ llmDeployments: prefill }),
      /"Front".*\n.*llmDeployments: Should be a list/,
    ],
    [
      "two models have one id",
      () => ingress({ llmDeployments: [prefill, decode] }),
      /"Front".*\n.*Duplicate models found/,
    ],
    [
      "a limit is no number",
      () => ingress({ llmDeployments: [prefill], max_body_bytes: "many" }),
      /"Front".*\n.*max_body_bytes: .*valid integer/,
    ],
    ["nothing is bound", () => ingress(undefined), /"Front".*\n.*bind: Arguments are given as one object/],
    [
      "a class of one's own can't be made",
      () => {
        class Broken extends OpenAiIngress {
          constructor(...args: ConstructorParameters<typeof OpenAiIngress>) {
            super(...args);
            throw new TypeError("no licence");
          }
        }
        return serve
          .deployment(Broken)
          .options({ name: "Front" })
          .bind({ llmDeployments: [prefill] });
      },
      /"Front".*\n.*It could not be made: no licence/,
    ],
  ])("%s: the node is named", async (_what, make, message) => {
    const start = async (): Promise<void> => {
      const app: Application = make();
      cleanups.push(() => app.shutdown());
      await app.start();
    };
    const error = await start().then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(ConfigurationError);
    expect((error as Error).message).toMatch(message);
  });

  it("is refused by builders before anything starts", () => {
    expect(() =>
      buildPdOpenaiApp({
        prefillConfig: configOf("m"),
        decodeConfig: configOf("m"),
        ingressClsConfig: { ingressExtraKwargs: { limits: { maxChoices: 0 } } },
      }),
    ).toThrow(/limits\.maxChoices/);
  });

  it("refuses functions that are no classes before anything is bound", () => {
    const wrong: readonly unknown[] = [
      () => new OpenAiIngress({} as never, {} as never),
      async () => 1,
      "LLMServer",
    ];
    for (const each of wrong) {
      expect(() => serve.deployment(each as typeof PDProxyServer)).toThrow(
        /deployment: Only classes can be deployed.*a class.*(a function|string)/s,
      );
    }
  });

  it("warns of what an ingress does not read, with the nearest name", async () => {
    const warnings: string[] = [];
    const app = ingress({ llmDeployments: [prefill], max_body_byte: 5 }).withEnvironment({
      warn: (message) => warnings.push(message),
    });
    cleanups.push(() => app.shutdown());
    await app.start();
    expect(warnings).toEqual([expect.stringMatching(/"max_body_byte"; did you mean "maxBodyBytes"/)]);
  });
});

describe("a proxy of one's own", () => {
  class HouseRules extends PDProxyServer {
    protected override async prepare(request: LLMRequest): Promise<LLMRequest> {
      await Promise.resolve();
      if (request.body.value("user") === "nobody") {
        throw new RequestError("Not you.", { status: 403, code: "not_you" });
      }
      return editRequest(request, { set: { temperature: 0, n: 1 }, remove: ["logit_bias"] });
    }

    protected override decide(context: DisaggregationContext): DisaggregationDecision {
      const skips = context.request.sessionId === "short";
      return skips ? { mode: "decode-only", reason: "custom" } : super.decide(context);
    }
  }

  it("changes, refuses and decides, on both legs", async () => {
    const [prefill, decode] = [await engine("m"), await engine("m")];
    const app = buildPdOpenaiApp({
      prefillConfig: configOf("m", prefill.url),
      decodeConfig: configOf("m", decode.url),
      proxyClsConfig: { proxyCls: HouseRules },
    });
    const ask = asker(app);
    // As two choices it would not be disaggregated.
    const body = { messages, temperature: 1, n: 2, logit_bias: { 1: 2 } };
    const response = await ask("/v1/chat/completions", body);
    const { choices } = (await response.json()) as { choices: { message: { content: string } }[] };
    expect(choices.map(({ message }) => message.content)).toEqual([mockAnswer({ messages })]);
    const bodies = [prefill, decode].map((each) => modelRequests(each).map(({ body }) => body));
    for (const [sent, ...more] of bodies) {
      expect(more).toEqual([]);
      expect(sent).toMatchObject({ temperature: 0 });
      expect(sent).not.toHaveProperty("logit_bias");
    }
    const refused = await ask("/v1/chat/completions", { messages, user: "nobody" });
    expect([refused.status, (await errorIn(refused))["code"]]).toEqual([403, "not_you"]);
    await app.handle.chat({ messages }, { sessionId: "short" });
    expect([modelRequests(prefill).length, modelRequests(decode).length]).toEqual([1, 2]);
    expect(app.pdHealth()[0]).toMatchObject({ requests: 2, disaggregated: 1 });
  });

  it("can't change what was decided already", () => {
    for (const edits of [{ set: { stream: true } }, { remove: ["model"] }]) {
      expect(() => editRequest({} as LLMRequest, edits)).toThrow(TypeError);
    }
  });
});
