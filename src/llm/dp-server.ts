import { isEndpointList } from "../config/endpoint.ts";
import { dataParallelLayout } from "../config/data-parallel-layout.ts";
import type { LLMConfig } from "../config/llm-config.ts";
import { dataParallelDeploymentOptions } from "../config/server-options.ts";
import { ConfigurationError } from "../errors/configuration-error.ts";
import type { DeploymentContext } from "../serve/deployment-context.ts";
import type { DeploymentInit } from "../serve/deployment.ts";
import { LLMServer, type LLMServerArguments } from "./llm-server.ts";

/**
 * The ranks of one data-parallel model as one pool: every rank answers requests of its own. Mirrors Ray's `DPServer`.
 * With a `data_parallel_size` of 1 it is a plain {@link LLMServer}.
 */
export class DPServer extends LLMServer {
  /** Deployments are named after their classes, also when a bundler has renamed them. */
  static override readonly name: string = "DPServer";

  /**
   * Options for `serve.deployment(DPServer).options(...)`: one replica for each rank, scheduled together. Mirrors
   * Ray's `DPServer.get_deployment_options`.
   *
   * @throws ConfigurationError when `num_replicas` is not `data_parallel_size`, or autoscaling is asked for
   */
  static override getDeploymentOptions(llmConfig: LLMConfig): DeploymentInit {
    return dataParallelDeploymentOptions(llmConfig) as DeploymentInit;
  }

  /** @throws ConfigurationError when the endpoints are not those of all ranks */
  constructor(args: LLMServerArguments, context: DeploymentContext) {
    checkRanks(args.llmConfig, context.name);
    super(args, context);
  }
}

/** Endpoints that a source finds are not known yet. */
function checkRanks(config: LLMConfig, deployment: string): void {
  const { size, perNode } = dataParallelLayout(config);
  const { endpoints } = config;
  if (size === 1 || !isEndpointList(endpoints)) return;
  const ranks = endpoints.reduce((sum, { dpRanks = 1 }) => sum + dpRanks, 0);
  const nodes = perNode === undefined ? undefined : size / perNode;
  if (ranks === size || endpoints.length === nodes) return;
  throw new ConfigurationError(`Deployment "${deployment}"`, [
    {
      path: ["endpoints"],
      type: "value_error",
      message: "The endpoints are not those of all data-parallel ranks",
      expected:
        nodes === undefined
          ? `one endpoint for each of ${size} ranks (data_parallel_size)`
          : `one endpoint for each of ${size} ranks (data_parallel_size), or one for each of ${nodes} nodes`,
      received: `${endpoints.length} endpoints with ${ranks} ranks`,
    },
  ]);
}
