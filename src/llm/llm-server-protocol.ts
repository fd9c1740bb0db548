import type { LLMConfig } from "../config/llm-config.ts";
import type { EnginePool } from "../serve/engine-pool.ts";
import type { DeploymentInstance } from "../serve/deployment-context.ts";
import type { ForwardRequest } from "./forward-request.ts";
import type { LLMRequest } from "./llm-request.ts";
import type { LLMResponse } from "./llm-response.ts";

/** What an ingress needs of a model deployment: LLMServer, PDProxyServer and DPServer are interchangeable. */
export interface LLMServerProtocol extends DeploymentInstance {
  /** The configuration clients see: its model id and limits. */
  readonly llmConfig: LLMConfig;
  /** @throws ServeLLMError when nothing was promised to the client yet */
  chat(request: LLMRequest): Promise<LLMResponse>;
  /** @throws ServeLLMError when nothing was promised to the client yet */
  completions(request: LLMRequest): Promise<LLMResponse>;
  /**
   * Everything that is neither: goes to an answering engine as it came, and its answer comes back uninterpreted.
   *
   * @throws ServeLLMError when nothing was promised to the client yet
   */
  forward(request: ForwardRequest): Promise<LLMResponse>;
  /** Its engines, for what goes to every one of them: a pool, or prefill's and decode's. @default none */
  readonly enginePools?: readonly EnginePool[] | undefined;
  /** Full ids of LoRA adapters that its engines have now: loaded here, or there from their start. */
  adapterIds?(): readonly string[];
  /** Throws when it can't serve. */
  checkHealth(): void;
}

/** Whether a deployment serves a model: by its methods, since classes of one's own need not extend ours. */
export function isModelServer(value: unknown): value is LLMServerProtocol {
  const { llmConfig, chat, completions, forward } = (value ?? {}) as Partial<LLMServerProtocol>;
  const methods: readonly unknown[] = [chat, completions, forward];
  return llmConfig !== undefined && methods.every((method) => typeof method === "function");
}
