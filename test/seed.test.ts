import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";

import {
  type Application,
  buildDpDeployment,
  buildPdOpenaiApp,
  type EndpointInit,
  LLMConfig,
  makeIngress,
  OpenAiIngress,
  PDProxyServer,
  serve,
} from "../src/index.ts";
import { seedYaml } from "../src/builders/seed-yaml.fixture.ts";
import { parseYaml } from "../src/config/read-yaml.ts";
import { mockAnswer, MockVLLMEngine } from "../src/testing/index.ts";
import { CliProcess } from "./cli-process.ts";

// The documentation that this library was written for, block by block. What is added is marked: where the engines are.

const messages = [{ role: "user", content: "Which way to the harbour?" }];
const expected = mockAnswer({ messages });
const modelLoadingConfig = { modelId: "llama-8b", modelSource: "meta-llama/Llama-3.1-8B-Instruct" };
const kvTransfer = { kv_transfer_config: { kv_connector: "NixlConnector", kv_role: "kv_both" } };

const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function engines(role: "prefill" | "decode", count: number): Promise<readonly MockVLLMEngine[]> {
  const made = Array.from({ length: count }, () => new MockVLLMEngine({ role, model: "llama-8b" }));
  await Promise.all(made.map((engine) => engine.start()));
  cleanups.push(() => Promise.all(made.map((engine) => engine.stop())));
  return made;
}

const urls = (pool: readonly MockVLLMEngine[]): string[] => pool.map(({ url }) => url);

/** Asks over HTTP and in process, whole and streamed; every answer must be right, and every KV handle used. */
async function isServed(app: Application<OpenAiIngress>, prefill: readonly MockVLLMEngine[]): Promise<void> {
  const running = await serve.run(app, { port: 0, name: "seed" });
  cleanups.push(() => running.shutdown({ graceMs: 0 }));
  const ask = (fields: object): Promise<Response> =>
    fetch(`${running.url}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ model: "llama-8b", messages, ...fields }),
    });
  const whole = (await (await ask({})).json()) as { choices: { message: { content: string } }[] };
  expect(whole.choices[0]?.message.content).toBe(expected);
  expect(await (await ask({ stream: true })).text()).toMatch(/\ndata: \[DONE\]\n\n$/);
  let text = "";
  for await (const chunk of app.handle.chat({ model: "llama-8b", messages, stream: true })) {
    text += chunk.choices[0]?.delta.content ?? "";
  }
  expect(text).toBe(expected);
  expect(app.pdHealth()).toMatchObject([{ requests: 3, disaggregated: 3 }]);
  for (const { ledger } of prefill) ledger.assertBalanced();
}

describe("Python API", () => {
  it("runs", async () => {
    const [prefill, decode] = [await engines("prefill", 1), await engines("decode", 2)];
    const prefillConfig = new LLMConfig({
      modelLoadingConfig,
      acceleratorType: "A100",
      deploymentConfig: { autoscalingConfig: { minReplicas: 1, maxReplicas: 2 } },
      engineKwargs: { tensor_parallel_size: 2, ...kvTransfer },
      endpoints: urls(prefill), // added
    });
    const decodeConfig = new LLMConfig({
      modelLoadingConfig,
      acceleratorType: "A100",
      deploymentConfig: { autoscalingConfig: { minReplicas: 2, maxReplicas: 8 } },
      engineKwargs: { gpu_memory_utilization: 0.95, ...kvTransfer },
      endpoints: urls(decode), // added
    });
    await isServed(buildPdOpenaiApp({ prefillConfig, decodeConfig }), prefill);
  });

  it("takes the same keyword arguments in Python's spelling", async () => {
    const [prefill, decode] = [await engines("prefill", 1), await engines("decode", 1)];
    const side = (pool: readonly MockVLLMEngine[]): LLMConfig =>
      new LLMConfig({
        model_loading_config: { model_id: "llama-8b", model_source: "meta-llama/Llama-3.1-8B-Instruct" },
        accelerator_type: "A100",
        deployment_config: { autoscaling_config: { min_replicas: 1, max_replicas: 2 } },
        engine_kwargs: kvTransfer,
        endpoints: urls(pool), // added
      });
    await isServed(buildPdOpenaiApp({ prefill_config: side(prefill), decode_config: side(decode) }), prefill);
  });
});

describe("YAML config", () => {
  let folder: string;
  let file: string;

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "serve-llm-seed-"));
    file = join(folder, "serve.yaml");
    writeFileSync(file, seedYaml);
  });

  afterAll(() => rmSync(folder, { recursive: true }));

  it("runs as it is with serve-llm run", async () => {
    const [prefill, decode] = [await engines("prefill", 1), await engines("decode", 2)];
    const places = ["--prefill", urls(prefill).join(","), "--decode", urls(decode).join(",")];
    await using command = new CliProcess(["run", file, ...places, "--port", "0", "--json"]);
    const { url, application } = await command.event("listening");
    expect(application).toBe("llm_pd_app");
    const response = await fetch(`${String(url)}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json", connection: "close" },
      body: JSON.stringify({ model: "llama-8b", messages }),
    });
    const body = (await response.json()) as { choices: { message: { content: string } }[] };
    expect(body.choices[0]?.message.content).toBe(expected);
    expect((await command.event("request"))["trace"]).toMatchObject({ mode: "pd", outcome: "success" });
    expect(await command.end("SIGTERM")).toBe(0);
  });

  it("comes out of serve-llm build as it went in, and again", async () => {
    await using build = new CliProcess(["build", "--target", "ray", file]);
    expect(await build.end()).toBe(0);
    expect(build.stdout).toBe(seedYaml);
    const again = join(folder, "again.yaml");
    writeFileSync(again, build.stdout);
    await using rebuilt = new CliProcess(["build", "--target", "ray", again, "--json"]);
    expect(await rebuilt.end()).toBe(0);
    expect(JSON.parse(rebuilt.stdout)).toEqual(parseYaml(seedYaml, "the seed"));
  });

  it("becomes a RayService and the engines' own commands", async () => {
    await using service = new CliProcess(["build", "--target", "rayservice", file, "--name", "llm"]);
    expect(await service.end()).toBe(0);
    const manifest = parseYaml(service.stdout, "the manifest") as { spec: { serveConfigV2: string } };
    expect(parseYaml(manifest.spec.serveConfigV2, "serveConfigV2")).toEqual(parseYaml(seedYaml, "the seed"));
    await using vllm = new CliProcess(["build", "--target", "vllm", file]);
    expect(await vllm.end()).toBe(0);
    expect(vllm.stdout.match(/vllm serve/g)).toHaveLength(3);
    expect(vllm.stdout).toContain("--gpu-memory-utilization 0.95");
  });
});

describe("the component API", () => {
  const configOf = (pool: readonly MockVLLMEngine[]): LLMConfig =>
    new LLMConfig({ modelLoadingConfig, engineKwargs: kvTransfer, endpoints: urls(pool) });

  it("composes the same application by hand", async () => {
    const [prefill, decode] = [await engines("prefill", 1), await engines("decode", 1)];
    const [prefillConfig, decodeConfig] = [configOf(prefill), configOf(decode)];

    const prefillDeployment = buildDpDeployment(prefillConfig, { namePrefix: "Prefill:" });
    const decodeDeployment = buildDpDeployment(decodeConfig, { namePrefix: "Decode:" });

    const proxyOptions = PDProxyServer.getDeploymentOptions(prefillConfig, decodeConfig);
    const proxy = serve.deployment(PDProxyServer).options(proxyOptions).bind({
      prefillServer: prefillDeployment,
      decodeServer: decodeDeployment,
    });

    const ingressOptions = OpenAiIngress.getDeploymentOptions([prefillConfig, decodeConfig]);
    const ingressCls = makeIngress(OpenAiIngress);
    const app = serve
      .deployment(ingressCls)
      .options(ingressOptions)
      .bind({ llmDeployments: [proxy] });

    await isServed(app, prefill);
    const built = buildPdOpenaiApp({ prefillConfig, decodeConfig });
    cleanups.push(() => built.shutdown());
    await built.start();
    expect(Object.keys(app.status().deployments)).toEqual(Object.keys(built.status().deployments));
  });
});

describe("autoscaling PD independently", () => {
  it("is read with every option of it", async () => {
    const [prefill, decode] = [await engines("prefill", 1), await engines("decode", 1)];
    const prefillConfig = new LLMConfig({
      modelLoadingConfig,
      engineKwargs: kvTransfer,
      endpoints: urls(prefill), // added
      deploymentConfig: {
        autoscalingConfig: {
          minReplicas: 1,
          maxReplicas: 4,
          targetOngoingRequests: 8,
          upscaleDelayS: 15,
          downscaleDelayS: 300,
        },
        maxOngoingRequests: 32,
      },
    });
    const decodeConfig = new LLMConfig({
      modelLoadingConfig,
      engineKwargs: kvTransfer,
      endpoints: urls(decode), // added
      deploymentConfig: {
        autoscalingConfig: {
          minReplicas: 2,
          maxReplicas: 8,
          targetOngoingRequests: 16,
          upscaleDelayS: 30,
          downscaleDelayS: 600,
        },
        maxOngoingRequests: 128,
      },
    });
    const app = buildPdOpenaiApp({ prefillConfig, decodeConfig });
    await isServed(app, prefill);
    const exported = app.toServeConfig().applications[0] as unknown as {
      readonly args: Readonly<Record<string, { readonly deployment_config: unknown }>>;
    };
    expect(exported.args["decode_config"]?.deployment_config).toEqual({
      autoscaling_config: {
        min_replicas: 2,
        max_replicas: 8,
        target_ongoing_requests: 16,
        upscale_delay_s: 30,
        downscale_delay_s: 600,
      },
      max_ongoing_requests: 128,
    });
    // Nothing here starts engines, and it says so.
    expect(app.notes().filter((note) => note.includes("autoscaling_config has no effect"))).toHaveLength(2);
  });
});

describe("data parallel and PD", () => {
  const dpConfig = (
    size: number,
    endpoints: readonly EndpointInit[] | readonly string[],
    more = {},
  ): LLMConfig =>
    new LLMConfig({
      modelLoadingConfig,
      engineKwargs: { data_parallel_size: size, tensor_parallel_size: 1, ...kvTransfer },
      experimentalConfigs: { dp_size_per_node: size },
      endpoints: [...endpoints],
      ...more,
    });

  it("serves two prefill ranks and four decode ranks", async () => {
    const [prefill, decode] = [await engines("prefill", 2), await engines("decode", 4)];
    const app = buildPdOpenaiApp({
      prefillConfig: dpConfig(2, urls(prefill)),
      decodeConfig: dpConfig(4, urls(decode)),
    });
    await isServed(app, prefill);
    const { deployments } = app.status();
    expect([
      deployments["Prefill:llama-8b"]?.replicas.length,
      deployments["Decode:llama-8b"]?.replicas.length,
    ]).toEqual([2, 4]);
  });

  it("wants num_replicas to be data_parallel_size, and no autoscaling", () => {
    const build = (deploymentConfig: object): unknown =>
      buildDpDeployment(dpConfig(2, ["http://a:1", "http://b:1"], { deploymentConfig }));
    expect(() => build({ numReplicas: 3 })).toThrow(/num_replicas \(3\) must match data_parallel_size/);
    expect(() => build({ autoscalingConfig: { minReplicas: 1, maxReplicas: 2 } })).toThrow(
      /Autoscaling is not supported for data-parallel deployments/,
    );
    expect(() => build({ numReplicas: 2 })).not.toThrow();
  });
});

describe("constraints", () => {
  const side = (more: object = {}): object => ({
    modelLoadingConfig,
    engineKwargs: kvTransfer,
    endpoints: ["http://a:1"],
    ...more,
  });
  const build = (prefill: object, decode: object): unknown =>
    buildPdOpenaiApp({ prefillConfig: prefill, decodeConfig: decode } as never);

  it.each([
    [
      "the same model",
      { modelLoadingConfig: { ...modelLoadingConfig, modelId: "other" } },
      /model id mismatch/,
    ],
    [
      "the same source",
      { modelLoadingConfig: { ...modelLoadingConfig, modelSource: "x" } },
      /source mismatch/,
    ],
    ["a kv_transfer_config", { engineKwargs: {} }, /kv_transfer_config is required/],
    [
      "no side-channel port",
      { runtimeEnv: { envVars: { VLLM_NIXL_SIDE_CHANNEL_PORT: "5600" } } },
      /VLLM_NIXL_SIDE_CHANNEL_PORT is managed/,
    ],
  ])("on both sides: %s", (_what, more, message) => {
    expect(() => build(side(), side(more))).toThrow(message);
    expect(() => build(side(more), side())).toThrow(message);
    expect(() => build(side(), side())).not.toThrow();
  });
});
