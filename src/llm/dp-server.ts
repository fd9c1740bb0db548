import { isEndpointList } from "../config/endpoint.ts";
import { dataParallelLayout } from "../config/data-parallel-layout.ts";
import { parseDeploymentOptions } from "../config/deployment-options.ts";
import type { LLMConfig } from "../config/llm-config.ts";
import { dataParallelDeploymentOptions } from "../config/server-options.ts";
import { ConfigurationError } from "../errors/configuration-error.ts";
import { requireAllRanks } from "../replicas/require-all-ranks.ts";
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

  /** @throws ConfigurationError when the endpoints are not those of all ranks, or its options schedule no gang */
  constructor(args: LLMServerArguments, context: DeploymentContext) {
    checkRanks(args.llmConfig, context);
    super(args, context);
  }
}

/** Endpoints that a source finds are not known yet. */
function checkRanks(config: LLMConfig, { name, options }: DeploymentContext): void {
  const layout = dataParallelLayout(config);
  if (layout.size === 1) return;
  const gangSize = parseDeploymentOptions(options).config.gangSchedulingConfig?.gangSize;
  if (gangSize !== layout.size) {
    throw new ConfigurationError(`Deployment "${name}"`, [
      {
        path: ["gang_scheduling_config", "gang_size"],
        type: gangSize === undefined ? "missing" : "value_error",
        message:
          "DPServer requires gang scheduling to be enabled. Set gang_scheduling_config in the deployment options",
        expected: `gang_size ${layout.size} (data_parallel_size), as DPServer.getDeploymentOptions(llmConfig) has it`,
        received: gangSize === undefined ? undefined : String(gangSize),
      },
    ]);
  }
  if (!isEndpointList(config.endpoints)) return;
  requireAllRanks(config.endpoints, layout, `Deployment "${name}"`, "one");
}
