import { inspect } from "node:util";

import * as fc from "fast-check";
import { describe, expect, it } from "vitest";

import {
  type ArgumentKind,
  argumentKinds,
  parseVllmWords,
  vllmArgumentList,
} from "./support/vllm-argument-parser.ts";
import { ConfigurationError } from "../src/errors/configuration-error.ts";
import { LLMConfig } from "../src/config/llm-config.ts";
import type { LLMConfigInit } from "../src/config/llm-config-init.ts";
import {
  vllmEngineArguments,
  vllmFrontendArguments,
  vllmSwitches,
} from "../src/config/vllm-engine-arguments.ts";
import { vllmFlags } from "../src/config/vllm-flags.ts";

const modelLoadingConfig = {
  modelId: "llama-8b",
  modelSource: "meta-llama/Llama-3.1-8B-Instruct",
};
const nixl = { kv_connector: "NixlConnector", kv_role: "kv_both" };
const random = { next: () => 0, id: () => "0".repeat(32) };

function config(more: Partial<LLMConfigInit> = {}): LLMConfig {
  return new LLMConfig({ modelLoadingConfig, engineKwargs: { kv_transfer_config: nixl }, ...more });
}

describe("toVllmCommand", () => {
  it("is exactly what starts the seed's prefill engine", () => {
    const prefill = config({
      acceleratorType: "A100",
      engineKwargs: { tensor_parallel_size: 2, kv_transfer_config: nixl },
      runtimeEnv: { envVars: { UCX_NET_DEVICES: "mlx5_0:1" } },
    });
    const { command, env, notes } = prefill.toVllmCommand({
      role: "prefill",
      rank: 1,
      nodeIp: "10.0.0.9",
      random,
    });
    expect(command).toEqual([
      "vllm",
      "serve",
      "meta-llama/Llama-3.1-8B-Instruct",
      "--served-model-name",
      "llama-8b",
      "--port",
      "8000",
      "--tensor-parallel-size",
      "2",
      "--kv-transfer-config",
      '{"kv_connector":"NixlConnector","kv_role":"kv_both","engine_id":"AAAAAA-10.0.0.9-20002"}',
    ]);
    expect(env).toEqual({
      UCX_NET_DEVICES: "mlx5_0:1",
      VLLM_NIXL_SIDE_CHANNEL_HOST: "10.0.0.9",
      VLLM_NIXL_SIDE_CHANNEL_PORT: "20002",
      CUDA_VISIBLE_DEVICES: "0,1",
    });
    expect(notes).toEqual([]);
  });

  it("keeps decode's side channels apart from prefill's", () => {
    const port = (role: "prefill" | "decode", more = {}) =>
      config(more).toVllmCommand({ role, nodeIp: "10.0.0.9" }).env["VLLM_NIXL_SIDE_CHANNEL_PORT"];
    expect([port("prefill"), port("decode")]).toEqual(["20000", "22000"]);
    expect(port("decode", { experimentalConfigs: { NIXL_SIDE_CHANNEL_PORT_BASE: 30_000 } })).toBe("30000");
  });

  it("takes address and port from the endpoint of the rank, and what is given over it", () => {
    const decode = config({ endpoints: ["http://10.0.0.1:8200", "http://[fd00::2]:8300/v1"] });
    const words = (options: Parameters<LLMConfig["toVllmCommand"]>[0]) => decode.toVllmCommand(options);
    expect(words({ rank: 1 }).command).toContain("8300");
    expect(words({ rank: 1 }).env["VLLM_NIXL_SIDE_CHANNEL_HOST"]).toBe("fd00::2");
    const given = words({ rank: 0, port: 9, host: "0.0.0.0", nodeIp: "10.9.9.9", gpuOffset: 4 });
    expect(given.command.slice(3, 9)).toEqual([
      "--served-model-name",
      "llama-8b",
      "--host",
      "0.0.0.0",
      "--port",
      "9",
    ]);
    expect(given.env).toMatchObject({ VLLM_NIXL_SIDE_CHANNEL_HOST: "10.9.9.9", CUDA_VISIBLE_DEVICES: "4" });
    expect(words({ rank: 7 }).notes.join()).toMatch(/other hosts can't reach 127\.0\.0\.1/);
  });

  it("gives each data-parallel rank its address, rank, port and GPUs", () => {
    const ranks = config({
      engineKwargs: { data_parallel_size: 4, tensor_parallel_size: 2, kv_transfer_config: nixl },
      experimentalConfigs: { dp_size_per_node: 2 },
      endpoints: [0, 1, 2, 3].map((rank) => `http://node-${Math.floor(rank / 2)}:${8000 + rank}`),
    });
    const { command, env } = ranks.toVllmCommand({ rank: 3, role: "decode" });
    expect(parseVllmWords(command.slice(3))).toMatchObject({
      data_parallel_size: 4,
      data_parallel_rank: 3,
      data_parallel_address: "node-0",
      data_parallel_rpc_port: 29_550,
      port: "8003",
    });
    expect(env).toMatchObject({ VLLM_NIXL_SIDE_CHANNEL_PORT: "22003", CUDA_VISIBLE_DEVICES: "2,3" });
    expect(() => ranks.toVllmCommand({ rank: 4 })).toThrow(/rank: .*4 processes.*0 to 3; got 4/);
  });

  it("knows processes that hold several ranks", () => {
    const engineKwargs = { data_parallel_size: 4 };
    const nodes = config({
      engineKwargs,
      endpoints: [
        { url: "http://a:1", dpRanks: 2 },
        { url: "http://b:1", dpRanks: 2 },
      ],
    });
    const second = nodes.toVllmCommand({ rank: 1 });
    expect(parseVllmWords(second.command.slice(3))).toMatchObject({
      data_parallel_hybrid_lb: true,
      data_parallel_size_local: 2,
      data_parallel_start_rank: 2,
      data_parallel_address: "a",
    });
    expect(second.env["CUDA_VISIBLE_DEVICES"]).toBe("0,1");
    const one = config({ engineKwargs, endpoints: [{ url: "http://a:1", dpRanks: 4 }] }).toVllmCommand();
    expect(one.command.join(" ")).not.toMatch(/rank/);
    expect(one.env["CUDA_VISIBLE_DEVICES"]).toBe("0,1,2,3");
  });

  it("never shows a secret, and never puts one on the command line", () => {
    const secret = "hunter2-secret";
    const command = config({
      engineKwargs: { hf_token: secret, api_key: secret, kv_transfer_config: nixl },
      runtimeEnv: { envVars: { AWS_SECRET_ACCESS_KEY: secret, TOKENIZERS_PARALLELISM: "false" } },
      client: { apiKey: secret },
    }).toVllmCommand();
    expect(command.env).toMatchObject({
      HF_TOKEN: secret,
      VLLM_API_KEY: secret,
      AWS_SECRET_ACCESS_KEY: secret,
    });
    expect(command.toShell()).toContain('HF_TOKEN="${HF_TOKEN:?}"');
    expect(command.toShell()).toContain("TOKENIZERS_PARALLELISM=false");
    for (const shown of [
      command.command.join(" "),
      command.toShell(),
      JSON.stringify(command),
      inspect(command),
    ]) {
      expect(shown).not.toContain(secret);
    }
    expect(() => config({ engineKwargs: { api_key: [secret, "b"] } }).toVllmCommand()).toThrow(
      /api_key.*plain sight/,
    );
  });

  it("says what a person has to see to", () => {
    const notes = (more: Partial<LLMConfigInit>) => config(more).toVllmCommand().notes.join("\n");
    expect(notes({ engineKwargs: { task: "generate" } })).toMatch(/task is gone.*runner and convert/);
    expect(notes({ modelLoadingConfig: { modelId: "m", modelSource: "s3://bucket/m" } })).toMatch(
      /weights are in s3/,
    );
    expect(notes({ loraConfig: {} })).toMatch(/enable_lora is not/);
  });

  it("refuses what can't be started", () => {
    const refuse = (engineKwargs: Readonly<Record<string, unknown>>, pattern: RegExp): void =>
      expect(() => config({ engineKwargs }).toVllmCommand({ role: "prefill" })).toThrow(pattern);
    refuse({}, /kv_transfer_config is required/);
    refuse({ kv_transfer_config: nixl, served_model_name: "x" }, /model_loading_config/);
    refuse(
      { kv_transfer_config: nixl, enforce_eager: "perhaps" },
      /enforce_eager: Input should be a valid boolean/,
    );
    refuse({ kv_transfer_config: nixl, max_num_seqs: true }, /max_num_seqs: vLLM has a value here/);
    refuse({ kv_transfer_config: nixl, seed: Number.NaN }, /seed: .*NaN is not JSON/);
    refuse({ kv_transfer_config: nixl, allowed_media_domains: ["a", "-b"] }, /starts with '-'/);
    expect(() => config().toVllmCommand({ rank: -1 })).toThrow(ConfigurationError);
  });

  it("can be pasted into a shell", () => {
    const shell = config({ engineKwargs: { chat_template: "it's {{ x }}" } })
      .toVllmCommand()
      .toShell();
    expect(shell).toContain(`--chat-template 'it'\\''s {{ x }}'`);
    expect(
      shell.split("\n").every((line, index, all) => line.endsWith(" \\") === index < all.length - 1),
    ).toBe(true);
  });
});

describe("vllmFlags", () => {
  const ours = [...argumentKinds].filter(([name]) => !name.startsWith("_") && name !== "help");

  it("knows the arguments vLLM has, and which of them are switches", () => {
    expect(
      vllmArgumentList.engine_args.map(({ name }) => name).filter((name) => !vllmEngineArguments.has(name)),
    ).toEqual([]);
    const frontend = vllmArgumentList.frontend_flags.map((flag) => flag.slice(2).replaceAll("-", "_"));
    expect(frontend.filter((name) => !vllmFrontendArguments.has(name))).toEqual([]);
    for (const [name, kind] of ours)
      expect([name, vllmSwitches.has(name)]).toEqual([name, kind === "switch"]);
  });

  it("says every argument so that vLLM reads the same value", () => {
    const anyArgument = fc
      .constantFrom(...ours)
      .chain(([name, kind]) => values[kind].map((value) => [name, value] as const));
    fc.assert(
      fc.property(fc.uniqueArray(anyArgument, { selector: ([name]) => name, maxLength: 12 }), (pairs) => {
        const kwargs = Object.fromEntries(pairs);
        const expected = Object.fromEntries(pairs.filter(([name, value]) => !isLeftOut(name, value)));
        expect(parseVllmWords(vllmFlags(kwargs).words)).toEqual(expected);
      }),
      { numRuns: 1000 },
    );
  });
});

const word = fc.string();
const item = word.filter((text) => !text.startsWith("-"));
const integer = fc.oneof(fc.integer(), fc.constantFrom(1e21, 2 ** 53));
const values: Readonly<Record<ArgumentKind, fc.Arbitrary<unknown>>> = {
  switch: fc.boolean(),
  integer,
  float: fc.double({ noNaN: true, noDefaultInfinity: true }).filter((number) => !Object.is(number, -0)),
  text: word,
  list: fc.oneof(fc.array(item, { maxLength: 4 }), fc.tuple(word)),
  integers: fc.array(integer, { maxLength: 4 }),
  json: fc
    .dictionary(
      fc.string().filter((key) => key !== "__proto__"),
      fc.jsonValue(),
    )
    .map((value) => JSON.parse(JSON.stringify(value)) as unknown),
  optional: fc.oneof(fc.constant(true), fc.constant(false)),
};

/** What vLLM does on its own is not said. */
function isLeftOut(name: string, value: unknown): boolean {
  if (Array.isArray(value)) return value.length === 0;
  const oneWay = [
    "disable_log_stats",
    "aggregate_engine_logging",
    "data_parallel_multi_port_external_lb",
    "hf_token",
  ];
  return value === false && oneWay.includes(name);
}
