import { describe, expect, it } from "vitest";

import { parseDeploymentOptions } from "../config/deployment-options.ts";
import { LLMConfig } from "../config/llm-config.ts";
import { DPServer } from "../llm/dp-server.ts";
import { LLMServer } from "../llm/llm-server.ts";
import type { Application } from "../serve/application.ts";
import { deployment } from "../serve/deployment.ts";
import { buildDpDeployment } from "./build-dp-deployment.ts";
import { buildDpOpenaiApp } from "./build-dp-openai-app.ts";
import { buildPdOpenaiApp } from "./build-pd-openai-app.ts";

const modelLoadingConfig = { modelId: "org/llama.8b" };
const ranks = (count: number): string[] =>
  Array.from({ length: count }, (_, rank) => `http://rank-${rank}:8000`);

function config(size: number, more: Readonly<Record<string, unknown>> = {}) {
  const kvTransfer = { kv_transfer_config: { kv_connector: "NixlConnector", kv_role: "kv_both" } };
  return { modelLoadingConfig, engineKwargs: { data_parallel_size: size, ...kvTransfer }, ...more };
}

describe("buildDpDeployment", () => {
  it("makes one replica for each rank, scheduled together", () => {
    const { node } = buildDpDeployment(config(4, { endpoints: ranks(4) }));
    expect(node.name).toBe("DPServer:org--llama_8b");
    expect(node.deployedClass).toBe(DPServer);
    expect(parseDeploymentOptions(node.options).config).toMatchObject({
      numReplicas: 4,
      autoscalingConfig: null,
      gangSchedulingConfig: { gangSize: 4, runtimeFailurePolicy: "RESTART_GANG" },
      healthCheckPeriodS: 10,
    });
  });

  it("refuses what does not go with data parallelism", () => {
    const build = (more: Readonly<Record<string, unknown>>) => () => buildDpDeployment(config(4, more));
    expect(build({ deploymentConfig: { numReplicas: 2 } })).toThrow(
      /num_replicas \(2\) must match data_parallel_size \(4\)/,
    );
    expect(build({ deploymentConfig: { autoscalingConfig: { minReplicas: 1, maxReplicas: 2 } } })).toThrow(
      /Autoscaling is not supported for data-parallel deployments/,
    );
    expect(build({ experimentalConfigs: { dp_size_per_node: 3 } })).toThrow(
      /experimental_configs.dp_size_per_node: .*divides data_parallel_size \(4\); got 3/,
    );
  });
});

describe("buildDpOpenaiApp", () => {
  it("wants the endpoints of all ranks, or of all nodes", () => {
    const build = (endpoints: readonly unknown[], experimentalConfigs = {}) =>
      buildDpOpenaiApp({ llmConfig: config(4, { endpoints, experimentalConfigs }) });
    expect(() => build(ranks(3))).toThrow(
      /endpoints: .*one endpoint for each of 4 ranks \(data_parallel_size\), or one endpoint with all of them; got 3 endpoints with 3 ranks/,
    );
    expect(() => build(ranks(2))).toThrow(/endpoints/);
    expect(() => build(ranks(3), { dp_size_per_node: 2 })).toThrow(/one for each of 2 nodes/);
    expect(() => build([{ url: "http://a", rank: 3, dpRanks: 2 }])).toThrow(
      /endpoints\[0\]: .*expected ranks from 0 to 3; got 2 ranks from 3/,
    );
    expect(build(ranks(4)).name).toBe("OpenAiIngress");
    expect(build(ranks(1)).name).toBe("OpenAiIngress");
    expect(build(ranks(2), { dp_size_per_node: 2 }).name).toBe("OpenAiIngress");
  });

  it("says where in its arguments a problem is", () => {
    const llmConfig = config(2, { deploymentConfig: { numReplicas: 3 } });
    expect(() => buildDpOpenaiApp({ llmConfig })).toThrow(/llmConfig\.deployment_config\.num_replicas/);
  });
});

describe("DPServer", () => {
  it("wants its ranks scheduled together, as Ray does", () => {
    const app = deployment(DPServer)
      .options({ numReplicas: 4 })
      .bind({ llmConfig: new LLMConfig(config(4, { endpoints: ranks(4) })) });
    expect(() => app.checked()).toThrow(
      /gang_scheduling_config\.gang_size: DPServer requires gang scheduling to be enabled/,
    );
  });
});

describe("buildPdOpenaiApp with data parallelism", () => {
  it("has a pool of ranks on the side that asks for it", () => {
    const app = buildPdOpenaiApp({
      prefillConfig: config(2, { endpoints: ranks(2) }),
      decodeConfig: config(1, { endpoints: ["http://decode:8000"] }),
    });
    const { llmDeployments } = app.node.args as { readonly llmDeployments: readonly Application[] };
    const { prefillServer, decodeServer } = llmDeployments[0]!.node.args as {
      readonly prefillServer: Application;
      readonly decodeServer: Application;
    };
    expect(prefillServer.node.deployedClass).toBe(DPServer);
    expect(decodeServer.node.deployedClass).toBe(LLMServer);
    expect([prefillServer.name, decodeServer.name]).toEqual([
      "Prefill:org--llama_8b",
      "Decode:org--llama_8b",
    ]);
  });

  it("refuses autoscaling of ranks, naming the side", () => {
    const deploymentConfig = { autoscalingConfig: { minReplicas: 1, maxReplicas: 2 } };
    const build = () =>
      buildPdOpenaiApp({ prefillConfig: config(1), decodeConfig: config(2, { deploymentConfig }) });
    expect(build).toThrow(/decodeConfig\.deployment_config: Autoscaling is not supported/);
  });
});

describe("deployment().options()", () => {
  it("takes either spelling, and refuses what is wrong at once", () => {
    const made = deployment(LLMServer).options({ max_ongoing_requests: 5 }).options({ numReplicas: null });
    expect(made.deploymentOptions).toEqual({ maxOngoingRequests: 5 });
    expect(() => made.options({ maxOngoingRequest: 5 })).toThrow(/maxOngoingRequest.*did you mean/i);
    expect(() => made.options({ numReplicas: 2, num_replicas: 2 })).toThrow(/Given twice/);
  });
});
