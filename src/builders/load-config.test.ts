import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import type { LLMConfig } from "../config/llm-config.ts";
import { ConfigurationError } from "../errors/configuration-error.ts";
import type { Application } from "../serve/application.ts";
import { type LoadConfigOptions, loadConfig } from "./load-config.ts";

type Json = Readonly<Record<string, unknown>>;

const config: Json = {
  model_loading_config: { model_id: "llama-8b" },
  engine_kwargs: { kv_transfer_config: { kv_connector: "NixlConnector", kv_role: "kv_both" } },
};
const pd: Json = {
  name: "pd",
  import_path: "ray.serve.llm:build_pd_openai_app",
  args: { prefill_config: config, decode_config: config },
};
const engines: LoadConfigOptions = { prefill: ["http://p:8000"], decode: ["http://d:8000"] };

/** The configurations of the two sides, as the graph was bound with them. */
function sides(app: Application): { readonly prefill: LLMConfig; readonly decode: LLMConfig } {
  const { llmDeployments } = app.node.args as { llmDeployments: readonly Application[] };
  const args = llmDeployments[0]!.node.args as Record<"prefillServer" | "decodeServer", Application>;
  const configOf = (server: Application): LLMConfig =>
    (server.node.args as { llmConfig: LLMConfig }).llmConfig;
  return { prefill: configOf(args.prefillServer), decode: configOf(args.decodeServer) };
}

function issuesOf(source: Json | string, options: LoadConfigOptions = engines): readonly string[] {
  try {
    loadConfig(source, options);
  } catch (error) {
    if (error instanceof ConfigurationError) {
      return error.issues.map(({ path, message }) => `${path.join(".")}: ${message}`);
    }
    throw error;
  }
  return [];
}

describe("loadConfig", () => {
  let folder = "";
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "serve-llm-config-"));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it("reads a file, text, or what was parsed", () => {
    const text = JSON.stringify({ applications: [pd] });
    const file = join(folder, "serve.yaml");
    writeFileSync(file, text);
    for (const source of [file, text, `applications:\n  - ${JSON.stringify(pd)}\n`, { applications: [pd] }]) {
      const { applications } = loadConfig(source, engines);
      expect(applications.map(({ name, routePrefix }) => [name, routePrefix])).toEqual([["pd", "/"]]);
      const { prefill, decode } = sides(applications[0]!.app);
      expect([prefill.endpoints, decode.endpoints]).toEqual([
        [{ url: "http://p:8000" }],
        [{ url: "http://d:8000" }],
      ]);
    }
  });

  it("takes our names, and a side that is a file of its own", () => {
    const file = join(folder, "decode.yaml");
    writeFileSync(file, JSON.stringify(config));
    const application = {
      importPath: "serve-llm:buildPdOpenaiApp",
      args: { prefillConfig: config, decodeConfig: file },
    };
    const { applications } = loadConfig({ applications: [application] }, engines);
    expect(sides(applications[0]!.app).decode.endpoints).toEqual([{ url: "http://d:8000" }]);
  });

  it("puts in the API key and the limit of time, where the file says nothing", () => {
    const own = { ...config, client: { api_key: "own", totalTimeoutMs: 5 } };
    const source = {
      http_options: { request_timeout_s: 90, host: "0.0.0.0", keep_alive_timeout_s: 7 },
      applications: [{ ...pd, args: { prefill_config: config, decode_config: own } }],
    };
    const { applications, http } = loadConfig(source, { ...engines, apiKey: "common" });
    const { prefill, decode } = sides(applications[0]!.app);
    expect(prefill.client).toMatchObject({ apiKey: "common", totalTimeoutMs: 90_000 });
    expect(decode.client).toMatchObject({ apiKey: "own", totalTimeoutMs: 5 });
    expect(http).toEqual({ host: "0.0.0.0", port: undefined, rootPath: "", keepAliveTimeoutMs: 7_000 });
  });

  it("gives endpoints to models that are not split, by their id", () => {
    const model = (id: string): Json => ({ model_loading_config: { model_id: id } });
    const application = {
      import_path: "ray.serve.llm:build_openai_app",
      args: { llm_configs: [model("a"), model("b")] },
    };
    const { applications } = loadConfig(
      { applications: [application] },
      { endpoints: { a: ["http://a"], b: ["http://b"] } },
    );
    const { llmDeployments } = applications[0]!.app.node.args as { llmDeployments: readonly Application[] };
    const found = llmDeployments.map(
      ({ node }) => (node.args as { llmConfig: LLMConfig }).llmConfig.endpoints,
    );
    expect(found).toEqual([[{ url: "http://a" }], [{ url: "http://b" }]]);
  });

  it("puts the file's options over those from code", () => {
    const deployments = [{ name: "Decode:llama-8b", max_ongoing_requests: 5 }];
    const { applications } = loadConfig({ applications: [{ ...pd, deployments }] }, engines);
    const { llmDeployments } = applications[0]!.app.node.args as { llmDeployments: readonly Application[] };
    const { prefillServer, decodeServer } = llmDeployments[0]!.node.args as Record<string, Application>;
    expect(decodeServer?.node.options["maxOngoingRequests"]).toBe(5);
    expect(prefillServer?.node.options["maxOngoingRequests"]).toBe(1_000_000_000);
  });

  it("names what has no effect", () => {
    const { notes } = loadConfig(
      { target_capacity: 50, applications: [{ ...pd, runtime_env: { env_vars: { A: "1" } } }] },
      engines,
    );
    expect(notes).toEqual([
      expect.stringMatching(/^target_capacity has no effect/),
      expect.stringMatching(/^pd: runtime_env has no effect/),
    ]);
  });

  it("refuses what it can't do, with the place", () => {
    const broken = {
      ...pd,
      args: { prefill_config: { ...config, engine_kwargs: {} }, decode_config: config },
    };
    expect(issuesOf({ applications: [broken] })).toEqual([
      "applications.0.args.prefill_config: kv_transfer_config is required for P/D disaggregation",
    ]);
    expect(issuesOf({ applications: [{ ...pd, import_path: "my_app:app" }] })).toEqual([
      expect.stringMatching(/^applications\.0\.import_path: Nothing can be imported from a Python path/),
    ]);
    expect(issuesOf({ applications: [{ ...pd, deployments: [{ name: "Decode:other" }] }] })).toEqual([
      expect.stringMatching(
        /^applications\.0\.deployments\.0\.name: Deployment 'Decode:other' does not exist/,
      ),
    ]);
    expect(issuesOf({ http_options: { ssl_certfile: "a.pem" }, applications: [pd] })).toEqual([
      expect.stringMatching(/^http_options\.ssl_certfile: TLS towards clients/),
    ]);
    expect(issuesOf("applications: [")).toEqual([expect.stringMatching(/Could not read applications: \[/)]);
    expect(issuesOf("applications:\n  - [")).toEqual([expect.stringMatching(/Not valid YAML/)]);
    expect(issuesOf(join(folder, "none.yaml"))).toEqual([expect.stringMatching(/there is no such file/)]);
  });

  it("refuses endpoints that nobody, or more than one, would use", () => {
    expect(issuesOf({ applications: [pd] }, { ...engines, endpoints: { other: ["http://o"] } })).toEqual([
      "other: Endpoints were given that no application of the config uses",
    ]);
    const second = { ...pd, name: "second", route_prefix: "/second" };
    expect(issuesOf({ applications: [pd, second] }, engines)).toEqual([
      expect.stringMatching(/^prefill: 2 applications or models/),
      expect.stringMatching(/^decode: 2 applications or models/),
    ]);
  });

  it("builds without endpoints, for those who put them in later; the start refuses", async () => {
    const { applications } = loadConfig({ applications: [pd] });
    const start = applications[0]!.app.start();
    await expect(start).rejects.toThrow(
      /"(Prefill|Decode):llama-8b" is not valid:\n {2}endpoints: No endpoints are given/,
    );
  });
});
