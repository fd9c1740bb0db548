import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";

import { toSnakeCase } from "../../src/config/casing.ts";
import { experimentalKeys } from "../../src/config/experimental-configs.ts";
import { llmConfigSchema } from "../../src/config/llm-config-schema.ts";
import { engineCommands } from "../../src/llm/engine-commands.ts";
import { LLMHandle } from "../../src/llm/llm-handle.ts";
import { compatibilityPage } from "./compatibility-page.ts";
import { rayConfigFields, rayExperimentalKeys, rayModules, rayServerMethods } from "./ray-names.ts";

const read = (path: string): string => readFileSync(new URL(path, import.meta.url), "utf8");
const page = read("../../docs/ray-compatibility.md");

/** `__all__` of Ray 2.58.0's public modules, as its inventory lists them. */
const inventory = {
  "ray.serve.llm":
    "LLMConfig LLMServingArgs ModelLoadingConfig CloudMirrorConfig LoraConfig build_llm_deployment build_openai_app " +
    "build_pd_openai_app build_dp_deployment build_dp_openai_app LLMServer LLMRouter",
  "ray.serve.llm.deployment": "LLMServer PDDecodeServer PDPrefillServer PDProxyServer DPServer",
  "ray.serve.llm.ingress": "OpenAiIngress make_fastapi_ingress",
  "ray.serve.llm.request_router": "PrefixCacheAffinityRouter KVAwareRouter",
  "ray.serve.llm.openai_api_models":
    "ChatCompletionRequest ChatCompletionResponse ChatCompletionStreamResponse CompletionRequest CompletionResponse " +
    "CompletionStreamResponse EmbeddingRequest EmbeddingResponse TranscriptionRequest TranscriptionResponse " +
    "TranscriptionStreamResponse ErrorResponse",
} as const;

/** What Ray's server answers to a handle. */
const serverMethods =
  "chat completions embeddings transcriptions score tokenize detokenize check_health record_routing_stats sleep wakeup " +
  "is_sleeping pause resume is_paused reset_prefix_cache start_profile stop_profile collective_rpc llm_config";

describe("docs/ray-compatibility.md", () => {
  it("is what its data says", () => {
    expect(page).toBe(compatibilityPage());
  });

  it("has every public name of Ray, in its module's section", () => {
    expect(Object.keys(rayModules)).toEqual(Object.keys(inventory));
    for (const [module, names] of Object.entries(inventory)) {
      const section = page.split(`## \`${module}\`\n`)[1]?.split("\n## ")[0] ?? "";
      for (const name of names.split(" ")) expect(section, module).toContain(`| \`${name}\` |`);
    }
  });

  it("has every field and every experimental key that is read here", () => {
    const ours = ["endpoints", "scaling_target", "client"];
    const fields = Object.keys(llmConfigSchema.shape).map(toSnakeCase);
    expect(Object.keys(rayConfigFields).toSorted()).toEqual(
      fields.filter((name) => !ours.includes(name)).toSorted(),
    );
    expect(Object.keys(rayExperimentalKeys).toSorted()).toEqual([...experimentalKeys].toSorted());
  });

  it("has every method of Ray's server, and names only methods and commands that are there", () => {
    expect(Object.keys(rayServerMethods).toSorted()).toEqual(serverMethods.split(" ").toSorted());
    const commands = Object.keys(engineCommands).map((name) => `commandEngines("${name}")`);
    const known = new Set([...Object.getOwnPropertyNames(LLMHandle.prototype), ...commands]);
    const named = Object.values(rayServerMethods).flatMap(({ here }) => here ?? []);
    expect(named.filter((name) => !known.has(name))).toEqual([]);
    expect(commands.filter((name) => !named.includes(name))).toEqual([]);
  });

  it("names only what is exported", () => {
    const source = read("../../src/index.ts");
    const names = Object.values(rayModules).flatMap((module) => module.flatMap(({ here }) => here));
    for (const name of names) expect(source).toMatch(new RegExp(`\\b${name}\\b`));
  });
});
