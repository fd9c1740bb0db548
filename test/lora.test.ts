import { request } from "undici";
import { afterEach, describe, expect, it } from "vitest";
import { buildOpenaiApp } from "../src/builders/build-openai-app.ts";
import { buildPdOpenaiApp } from "../src/builders/build-pd-openai-app.ts";
import { LLMConfig } from "../src/config/llm-config.ts";
import { run } from "../src/serve/run.ts";
import { mockAnswer, MockVLLMEngine } from "../src/testing/index.ts";
import { post, readStream } from "./support/client.ts";
import { model, type PDCluster, type PDClusterOptions, startPDCluster } from "./support/pd-cluster.ts";
import { until } from "./support/until.ts";

let cluster: PDCluster | undefined;

afterEach(async () => {
  await cluster?.stop();
  cluster = undefined;
});

const folder = "s3://bucket/loras";
const path = "/v1/chat/completions";
const loraConfig = { dynamicLoraLoadingPath: `${folder}/`, maxDownloadTries: 1 };

async function start(lora: object | null = {}, more: PDClusterOptions = {}): Promise<PDCluster> {
  const config = lora === null ? {} : { loraConfig: { ...loraConfig, ...lora } };
  cluster = await startPDCluster({ prefills: 1, decodes: 1, ...more, config });
  return cluster;
}

const chat = (adapter: string, extra: object = {}): Record<string, unknown> => ({
  model: `${model}:${adapter}`,
  messages: [{ role: "user", content: "adapt" }],
  max_tokens: 5,
  ...extra,
});

async function expectRight(url: string, adapter: string): Promise<void> {
  const answer = await post(url + path, chat(adapter));
  expect(answer.text).toContain('"choices"');
  expect(JSON.parse(answer.text).choices[0].message.content).toBe(mockAnswer(chat(adapter) as never, 5));
}

/** Loads and unloads an engine was asked for, in order: `+a`, `-a`. */
function changes({ requests }: MockVLLMEngine): readonly string[] {
  return requests.flatMap((entry) => {
    const name = (entry.body as { lora_name?: string } | undefined)?.lora_name?.replace(`${model}:`, "");
    if (entry.path === "/v1/load_lora_adapter") return [`+${name}`];
    return entry.path === "/v1/unload_lora_adapter" ? [`-${name}`] : [];
  });
}

describe("adapters of prefill and decode", () => {
  it("are loaded on both engines before their first request, once", async () => {
    const { url, prefills, decodes, engines, app } = await start();
    await expectRight(url, "sql");
    await expectRight(url, "sql");

    for (const engine of engines) {
      const [load] = engine.requests.filter((entry) => entry.path === "/v1/load_lora_adapter");
      expect(load!.body).toEqual({ lora_name: `${model}:sql`, lora_path: `${folder}/sql` });
      expect(changes(engine)).toEqual(["+sql"]);
    }
    const models = [...prefills, ...decodes].flatMap(({ requests }) =>
      requests.flatMap(({ phase, body }) => (phase === undefined ? [] : [(body as { model: string }).model])),
    );
    expect(models).toEqual(Array.from({ length: 4 }, () => `${model}:sql`));
    expect(prefills[0]!.ledger.consumed).toBe(2);
    expect(app.pdHealth()[0]).toMatchObject({ disaggregated: 2, decodeOnly: {} });
  });

  it("are loaded once for requests that come together", async () => {
    const { url, engines } = await start();
    await Promise.all(Array.from({ length: 10 }, () => expectRight(url, "sql")));

    expect(engines.map(changes)).toEqual([["+sql"], ["+sql"]]);
  });

  it("stay where they are: requests go to engines that have them", async () => {
    const { url, prefills, decodes } = await start({}, { prefills: 3, decodes: 3 });
    for (let index = 0; index < 12; index += 1) await expectRight(url, "sql");

    for (const pool of [prefills, decodes]) expect(pool.flatMap(changes)).toEqual(["+sql"]);
  });

  it("make room for one another, the longest unused first", async () => {
    const { url, engines } = await start({ maxNumAdaptersPerReplica: 2 });
    for (const adapter of ["a", "b", "a", "c", "b"]) await expectRight(url, adapter);

    const expected = ["+a", "+b", "-b", "+c", "-a", "+b"];
    expect(engines.map(changes)).toEqual([expected, expected]);
  });

  it("are not unloaded while they are used", async () => {
    const { url, decodes } = await start(
      { maxNumAdaptersPerReplica: 1 },
      { engine: { latency: { interTokenMs: 5 } } },
    );
    const first = post(url + path, chat("a", { stream: true, max_tokens: 20 }));
    await until(() => decodes[0]!.requests.some(({ phase, tokens }) => phase === "decode" && tokens > 0));
    const second = post(url + path, chat("b"));
    const answers = await Promise.all([first, second]);

    expect(readStream(answers[0].text)).toMatchObject({
      done: true,
      error: undefined,
      finishReason: expect.anything(),
    });
    expect(answers[1].status).toBe(200);
    expect(changes(decodes[0]!)).toEqual(["+a", "-a", "+b"]);
    const unloaded = decodes[0]!.requests.find((entry) => entry.path === "/v1/unload_lora_adapter")!;
    const stream = decodes[0]!.requests.find(({ phase }) => phase === "decode")!;
    expect(unloaded.arrivedAt).toBeGreaterThanOrEqual(stream.finishedAt!);
  });

  it("are loaded again after an engine was restarted", async () => {
    const { url, prefills, decodes } = await start();
    await expectRight(url, "sql");
    await decodes[0]!.restart();
    await expectRight(url, "sql");
    await prefills[0]!.restart();
    await expectRight(url, "sql");

    expect(changes(decodes[0]!)).toEqual(["+sql", "+sql"]);
    expect(changes(prefills[0]!)).toEqual(["+sql", "+sql"]);
  });

  it("are listed while both engines have them", async () => {
    const { url, app } = await start();
    const ids = async (): Promise<readonly string[]> => {
      const answer = await request(`${url}/v1/models`);
      return ((await answer.body.json()) as { data: { id: string }[] }).data.map(({ id }) => id);
    };
    await until(() => serving(app, `Decode:${model}`) && serving(app, `Prefill:${model}`));
    expect(await ids()).toEqual([model]);
    await expectRight(url, "sql");
    expect(await ids()).toEqual([model, `${model}:sql`]);
  });

  it("do not touch requests for the model itself", async () => {
    const { url, engines } = await start();
    const answer = await post(url + path, { ...chat("x"), model });

    expect(answer.status).toBe(200);
    expect(engines.flatMap(changes)).toEqual([]);
  });

  it("that an engine has already, unknown to us, are taken as loaded", async () => {
    const { url, engines } = await start();
    for (const engine of engines) {
      await post(`${engine.url}/v1/load_lora_adapter`, {
        lora_name: `${model}:sql`,
        lora_path: `${folder}/sql`,
      });
    }
    await expectRight(url, "sql");
  });
});

describe("where adapters lie", () => {
  const loaded = (engine: MockVLLMEngine): unknown =>
    engine.requests.find((entry) => entry.path === "/v1/load_lora_adapter")?.body;

  it.each([
    ["a folder that engines have", "/mnt/loras/", "/mnt/loras/sql"],
    ["a function", (id: string) => Promise.resolve(`org/${id.split(":")[1]}-lora`), "org/sql-lora"],
  ] as const)("is said by the client configuration: %s", async (_what, loraAdapterPath, expected) => {
    const { url, engines } = await start(
      { dynamicLoraLoadingPath: undefined },
      { client: { loraAdapterPath } },
    );
    await expectRight(url, "sql");
    for (const engine of engines)
      expect(loaded(engine)).toEqual({ lora_name: `${model}:sql`, lora_path: expected });
  });

  it("is warned of when it differs between prefill and decode", () => {
    const warnings: string[] = [];
    const side = (more: object) =>
      new LLMConfig({
        modelLoadingConfig: { modelId: model },
        engineKwargs: { kv_transfer_config: { kv_connector: "NixlConnector", kv_role: "kv_both" } },
        endpoints: ["http://engine:8000"],
        ...more,
      });
    const app = buildPdOpenaiApp({ prefillConfig: side({}), decodeConfig: side({ loraConfig }) });
    app.withEnvironment({ warn: (message) => warnings.push(message) }).checked();
    const expected = `but prefill has no lora_config and decode has "${folder}"`;
    expect(app.notes().filter((note) => note.includes(expected)).length).toBe(1);
    expect(warnings).toEqual([expect.stringContaining(expected)]);
  });

  it("is a folder or a function", () => {
    const client = { loraAdapterPath: 5 } as never;
    expect(() => new LLMConfig({ modelLoadingConfig: { modelId: model }, client })).toThrow(
      /client\.loraAdapterPath: Input should be a folder, or a function/,
    );
  });
});

describe("adapters of data-parallel ranks", () => {
  it("are loaded once for all ranks behind a URL", async () => {
    const { url, engines } = await start(
      {},
      { prefillRanks: { size: 2, perNode: 2 }, decodeRanks: { size: 2, perNode: 2 } },
    );
    await Promise.all(Array.from({ length: 8 }, () => expectRight(url, "sql")));
    expect(engines.map(changes)).toEqual([["+sql"], ["+sql"]]);
    for (const engine of engines) await engine.restart();
    await expectRight(url, "sql");
    await expectRight(url, "sql");
    expect(engines.map(changes)).toEqual([
      ["+sql", "+sql"],
      ["+sql", "+sql"],
    ]);
  });
});

describe("an adapter that can't be loaded", () => {
  it.each(["../secrets", "a/../../b", "/etc/passwd", "a//b", ".", "a\\b", "a\u0000b", "%2e%2e/b"])(
    "%j leads out of the folder: 404, and no engine is asked to load it",
    async (name) => {
      const { url, engines } = await start();
      const answer = await post(url + path, chat(name));
      expect(answer.status).toBe(404);
      expect(JSON.parse(answer.text).error).toMatchObject({ code: "model_not_found" });
      expect(engines.flatMap((engine) => changes(engine))).toEqual([]);
    },
  );

  it("is not there: 404 in the engine's words, tried once", async () => {
    const { url, engines } = await start(
      { maxDownloadTries: 3 },
      { engine: { adapterPaths: [`${folder}/sql`] } },
    );
    const answer = await post(url + path, chat("nosql"));

    expect(answer.status).toBe(404);
    expect(JSON.parse(answer.text).error.message).toContain("No adapter found");
    expect(engines.flatMap(changes)).toEqual(["+nosql"]);
    await expectRight(url, "sql");
  });

  it("is tried again after a second", async () => {
    const { url, decodes } = await start({ maxDownloadTries: 2 });
    const fault = { kind: "status", status: 500 } as const;
    decodes[0]!.injectFault({ fault, match: { path: "/v1/load_lora_adapter" }, times: 1 });
    await expectRight(url, "sql");

    const [first, second] = decodes[0]!.requests.filter((entry) => entry.path === "/v1/load_lora_adapter");
    expect(second!.arrivedAt - first!.arrivedAt).toBeGreaterThan(900);
  });

  it("is loaded by another engine instead", async () => {
    const { url, decodes } = await start({}, { decodes: 2 });
    const fault = { kind: "status", status: 503 } as const;
    for (const engine of decodes)
      engine.injectFault({ fault, match: { path: "/v1/load_lora_adapter", nth: 1 } });
    await expectRight(url, "sql");

    expect(
      cluster!.app.status().deployments[`Decode:${model}`]!.replicas.map(({ health }) => health),
    ).toEqual(["healthy", "healthy"]);
  });

  it("takes longer than downloadTimeoutS: 504", async () => {
    const { url, decodes } = await start({ downloadTimeoutS: 0.2 });
    const fault = { kind: "stallBeforeHeaders" } as const;
    decodes[0]!.injectFault({ fault, match: { path: "/v1/load_lora_adapter" } });
    const answer = await post(url + path, chat("sql"));

    expect(answer.status).toBe(504);
    expect(JSON.parse(answer.text).error.message).toContain("downloadTimeoutS");
    await decodes[0]!.idle();
  });
});

describe("without lora_config", () => {
  it("an adapter nobody has is unknown, in Ray's words", async () => {
    const { url, engines, app } = await start(null);
    await until(() => serving(app, `Decode:${model}`));
    const answer = await post(url + path, chat("sql"));

    expect(answer.status).toBe(404);
    expect(JSON.parse(answer.text).error).toMatchObject({
      code: "model_not_found",
      message: `The model \`${model}:sql\` does not exist. Must setup lora config for multiplexed requests.`,
    });
    expect(engines.flatMap(({ requests }) => requests.filter(({ phase }) => phase !== undefined))).toEqual(
      [],
    );
  });

  it.each(["sql", `${model}:sql`])(
    "adapters that engines were started with as %s are served",
    async (name) => {
      const { url, engines, app } = await start(null, { engine: { adapters: { [name]: "/adapters/sql" } } });
      await until(() => serving(app, `Decode:${model}`) && serving(app, `Prefill:${model}`));
      await expectRight(url, "sql");

      const models = engines.flatMap(({ requests }) =>
        requests.flatMap(({ phase, body }) =>
          phase === undefined ? [] : [(body as { model: string }).model],
        ),
      );
      expect(models).toEqual([name, name]);
      expect(engines.flatMap(changes)).toEqual([]);
      expect(app.pdHealth()[0]).toMatchObject({ disaggregated: 1 });
    },
  );

  it("an adapter that only decode has is decoded alone, never prefilled with another model", async () => {
    const { url, prefills, app } = await start(null, {
      decodeEngine: { adapters: { sql: "/adapters/sql" } },
    });
    await until(() => serving(app, `Decode:${model}`) && serving(app, `Prefill:${model}`));
    await expectRight(url, "sql");

    expect(prefills[0]!.requests.filter(({ phase }) => phase !== undefined)).toEqual([]);
    expect(app.pdHealth()[0]).toMatchObject({ decodeOnly: { no_prefill: 1 } });
  });
});

it("one pool loads adapters as well", async () => {
  await using engine = new MockVLLMEngine();
  await engine.start();
  const app = buildOpenaiApp({
    llmConfigs: [
      new LLMConfig({ modelLoadingConfig: { modelId: model }, loraConfig, endpoints: [engine.url] }),
    ],
  }).withEnvironment({ warn: () => undefined });
  const server = await run(app, { port: 0, name: "lora-single" });
  await expectRight(server.url, "sql");
  await server.shutdown({ graceMs: 0 });

  expect(changes(engine)).toEqual(["+sql"]);
});

function serving(app: PDCluster["app"], deployment: string): boolean {
  return app.status().deployments[deployment]!.replicas.every(({ servedModels }) => servedModels !== null);
}
