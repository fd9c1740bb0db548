import { buildPdOpenaiApp } from "../../src/builders/build-pd-openai-app.ts";
import type { ClientConfigInit } from "../../src/config/client-config.ts";
import type { EndpointInit } from "../../src/config/endpoint.ts";
import { LLMConfig } from "../../src/config/llm-config.ts";
import type { LLMConfigInit, LLMDeploymentOptions } from "../../src/config/llm-config-init.ts";
import type { Application } from "../../src/serve/application.ts";
import type { ApplicationEnvironment } from "../../src/serve/deployment-context.ts";
import type { OpenAiIngress } from "../../src/ingress/openai-ingress.ts";
import type { KvHoldCounts } from "../../src/llm/kv-holds.ts";
import type { PDProxyServer } from "../../src/llm/pd-proxy-server.ts";
import type { PDProxyOptions } from "../../src/llm/pd-proxy-options.ts";
import { run, type RunningApplication } from "../../src/serve/run.ts";
import { MockVLLMEngine, type MockVLLMEngineOptions } from "../../src/testing/index.ts";

export interface PDClusterOptions {
  readonly prefills?: number | undefined;
  readonly decodes?: number | undefined;
  readonly engine?: MockVLLMEngineOptions | undefined;
  /** Over `engine`, for the decode side. */
  readonly decodeEngine?: MockVLLMEngineOptions | undefined;
  readonly client?: ClientConfigInit | undefined;
  readonly prefillDeployment?: LLMDeploymentOptions | undefined;
  readonly decodeDeployment?: LLMDeploymentOptions | undefined;
  readonly proxy?: PDProxyOptions | undefined;
  /** @default PDProxyServer */
  readonly proxyClass?: typeof PDProxyServer | undefined;
  readonly ingress?: Readonly<Record<string, unknown>> | undefined;
  readonly environment?: Partial<ApplicationEnvironment> | undefined;
  /** `engine_kwargs.kv_transfer_config` of both sides. @default Nixl */
  readonly kvTransferConfig?: Readonly<Record<string, unknown>> | undefined;
  /** Data-parallel ranks of the prefill side: `size` in all, `perNode` behind each engine's URL. @default none */
  readonly prefillRanks?: RanksOfSide | undefined;
  readonly decodeRanks?: RanksOfSide | undefined;
  /** More about each engine's endpoint. */
  readonly endpoint?: ((engine: MockVLLMEngine) => Partial<EndpointInit>) | undefined;
  /** More of the configuration of both sides. */
  readonly config?: Partial<LLMConfigInit> | undefined;
}

export interface RanksOfSide {
  readonly size: number;
  /** @default 1: external load balancing, an endpoint for each rank */
  readonly perNode?: number | undefined;
}

/** Mock engines and an application in front of them, on a real port. */
export interface PDCluster {
  readonly prefills: readonly MockVLLMEngine[];
  readonly decodes: readonly MockVLLMEngine[];
  readonly engines: readonly MockVLLMEngine[];
  readonly app: Application<OpenAiIngress>;
  readonly server: RunningApplication<OpenAiIngress>;
  readonly url: string;
  stop(): Promise<void>;
}

export const model = "mock-model";

/** Starts everything; call `stop` in the end. */
export async function startPDCluster(options: PDClusterOptions = {}): Promise<PDCluster> {
  const pool = (role: "prefill" | "decode", count = 2, ranks: RanksOfSide | undefined): MockVLLMEngine[] => {
    const perNode = ranks?.perNode ?? 1;
    return Array.from({ length: ranks === undefined ? count : ranks.size / perNode }, (_, node) => {
      const own = role === "decode" ? options.decodeEngine : {};
      const parallel =
        ranks === undefined ? {} : { dataParallelSize: perNode, dataParallelStartRank: node * perNode };
      return new MockVLLMEngine({ ...options.engine, ...own, ...parallel, role });
    });
  };
  const prefills = pool("prefill", options.prefills, options.prefillRanks);
  const decodes = pool("decode", options.decodes, options.decodeRanks);
  const engines = [...prefills, ...decodes];
  await Promise.all(engines.map((engine) => engine.start()));
  const side = (
    pool: readonly MockVLLMEngine[],
    name: string,
    ranks: RanksOfSide | undefined,
    deploymentConfig: LLMDeploymentOptions = {},
  ) =>
    new LLMConfig({
      modelLoadingConfig: { modelId: model },
      engineKwargs: {
        kv_transfer_config: options.kvTransferConfig ?? { kv_connector: "NixlConnector", kv_role: "kv_both" },
        ...(ranks === undefined ? {} : { data_parallel_size: ranks.size }),
      },
      ...(ranks?.perNode === undefined ? {} : { experimentalConfigs: { dp_size_per_node: ranks.perNode } }),
      deploymentConfig,
      endpoints: pool.map((engine, index) => ({
        url: engine.url,
        name: `${name}${index}`,
        ...options.endpoint?.(engine),
      })),
      client: options.client,
      ...options.config,
    });
  const app = buildPdOpenaiApp({
    prefillConfig: side(prefills, "p", options.prefillRanks, options.prefillDeployment),
    decodeConfig: side(decodes, "d", options.decodeRanks, options.decodeDeployment),
    proxyClsConfig: {
      proxyCls: options.proxyClass,
      proxyExtraKwargs: options.proxy as Readonly<Record<string, unknown>> | undefined,
    },
    ingressClsConfig: { ingressExtraKwargs: options.ingress },
  }).withEnvironment({ warn: () => undefined, ...options.environment });
  const server = await run(app, { port: 0, name: `test-${nextName++}` });
  return {
    prefills,
    decodes,
    engines,
    app,
    server,
    url: server.url,
    async stop() {
      await server.shutdown({ graceMs: 0 });
      await Promise.all(engines.map((engine) => engine.stop()));
    },
  };
}

let nextName = 0;

/** What became of the KV that the proxy asked for. */
export function holds({ app }: PDCluster): KvHoldCounts {
  return app.status().deployments["PDProxyServer"]!.details!["kvHolds"] as KvHoldCounts;
}
