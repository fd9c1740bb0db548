import { describe, expect, it } from "vitest";
import { LLMConfig } from "../config/llm-config.ts";
import type { AdapterMetadata } from "../config/model-card.ts";
import type { LLMServerProtocol } from "../llm/llm-server-protocol.ts";
import { loraAdaptersIn, type ListLoraAdapters } from "../llm/lora-listing.ts";
import type { DeploymentContext } from "../serve/deployment-context.ts";
import { FakeClock, seededRandom } from "../testing/index.ts";
import { ModelCatalog } from "./model-catalog.ts";

function server(modelId: string, path?: string): LLMServerProtocol {
  const loraConfig = path === undefined ? {} : { loraConfig: { dynamicLoraLoadingPath: path } };
  const unused = (): Promise<never> => Promise.reject(new Error("not called"));
  return {
    llmConfig: new LLMConfig({
      modelLoadingConfig: { modelId },
      engineKwargs: { max_model_len: 100 },
      ...loraConfig,
    }),
    chat: unused,
    completions: unused,
    forward: unused,
    checkHealth: () => undefined,
  };
}

function adapter(base: string, name: string): AdapterMetadata {
  return {
    model_id: `${base}:${name}`,
    base_model_id: base,
    max_request_context_length: 50,
    bucket_uri: `s3://b/${name}`,
  };
}

function catalog(
  servers: readonly LLMServerProtocol[],
  list?: ListLoraAdapters,
): { readonly models: ModelCatalog; readonly clock: FakeClock; readonly warnings: string[] } {
  const clock = new FakeClock();
  const warnings: string[] = [];
  const context: DeploymentContext = {
    name: "ingress",
    options: {},
    clock,
    random: seededRandom(1),
    warn: (message) => warnings.push(message),
    observe: () => undefined,
  };
  return { models: new ModelCatalog(servers, list, context), clock, warnings };
}

describe("models", () => {
  it("are found by id, and by the id before an adapter's name", () => {
    const [first, second] = [server("m"), server("llama3:8b")];
    const { models } = catalog([first, second]);
    expect(models.serverFor("m:adapter:1")).toBe(first);
    expect(models.serverFor("llama3:8b")).toBe(second);
    expect(() => models.serverFor(undefined)).toThrow("Available models: ['m', 'llama3:8b']");
    expect(() => models.serverFor("x:y")).toThrow(
      'Got request for model "x:y". Could not find base model with ID "x".',
    );
    expect(() => models.serverFor("")).toThrow("Could not find base model");
  });

  it("are shown with what clients look for", async () => {
    const { models } = catalog([server("org/m")]);
    const [card] = await models.list();
    expect(card).toMatchObject({
      id: "org/m",
      object: "model",
      created: 1_786_700_000,
      max_model_len: 100,
      parent: null,
    });
    expect(await models.card("org--m")).toEqual(card);
    await expect(models.card("org--x")).rejects.toMatchObject({
      status: 404,
      message: expect.stringContaining("org/x"),
    });
  });

  it("must be there, once each", () => {
    expect(() => catalog([])).toThrow("List of models is empty.");
    expect(() => catalog([server("m"), server("m")])).toThrow("Duplicate models found.");
  });
});

describe("adapters", () => {
  it("follow their model, and are listed once in a while", async () => {
    let listings = 0;
    const { models, clock } = catalog([server("m", "s3://b"), server("plain")], async ({ modelId }) => {
      listings += 1;
      return [adapter(modelId, "a"), adapter(modelId, "x:y")];
    });
    expect((await models.list()).map(({ id, parent }) => [id, parent])).toEqual([
      ["m", null],
      ["m:a", "m"],
      ["m:x:y", "m"],
      ["plain", null],
    ]);
    expect(await models.card("m:a")).toMatchObject({
      max_model_len: 50,
      metadata: { bucket_uri: "s3://b/a" },
    });
    await expect(models.card("m:nope")).rejects.toMatchObject({ status: 404 });
    expect(listings).toBe(1);
    clock.advance(30_000);
    await models.list();
    expect(listings).toBe(2);
  });

  it("do not take their model along when listing fails", async () => {
    const { models, warnings } = catalog([server("m", "s3://b")], () =>
      Promise.reject(new Error("no network")),
    );
    expect((await models.list()).map(({ id }) => id)).toEqual(["m"]);
    expect(warnings).toEqual([expect.stringContaining("no network")]);
  });

  it("are the sub-folders with a readable configuration", async () => {
    const files: Readonly<Record<string, string>> = {
      "s3://b/good/adapter_config.json": '{"max_length": 7}',
      "s3://b/broken/adapter_config.json": "{",
    };
    const warnings: string[] = [];
    const list = loraAdaptersIn(
      { subfolders: async () => ["good", "broken", "empty"], readText: async (path) => files[path] },
      (message) => warnings.push(message),
    );
    const found = await list(server("m", "s3://b").llmConfig);
    expect(found).toEqual([
      { model_id: "m:good", base_model_id: "m", max_request_context_length: 7, bucket_uri: "s3://b/good" },
    ]);
    expect(warnings).toHaveLength(2);
  });
});
