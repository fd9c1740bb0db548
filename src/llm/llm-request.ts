import type { CancelToken } from "../internal/cancel-token.ts";
import type { GenerateMethod } from "../kv-transfer/kv-connector.ts";
import type { RequestTrace } from "../observability/request-trace.ts";
import type { JsonObjectIndex } from "../protocol/json-object-index.ts";
import { promptCount } from "./disaggregation-decision.ts";

/** A generation request on its way through the deployments: read once, never rebuilt. */
export interface LLMRequest {
  readonly method: GenerateMethod;
  /** The client's body: its bytes, and where its top-level fields are. */
  readonly body: JsonObjectIndex;
  /** The model as the client named it, with the LoRA id if it named one. */
  readonly modelId: string;
  readonly stream: boolean;
  /** Id of the request for people: logs, response header. Engines get an id of ours for each attempt. */
  readonly requestId: string;
  /** Sticky session key. */
  readonly sessionId?: string | undefined;
  /** vLLM's `priority`: lower goes first. */
  readonly priority: number;
  /** How many choices the answer must have: n for each prompt. */
  readonly expectedChoices: number;
  /** Client headers that engines may see: an allow-list, flat names and values. */
  readonly forwardHeaders: readonly string[];
  /** Fires when the client left, gave up, or the request's time is over. */
  readonly cancel: CancelToken;
  /** Called with the request's story as it begins to be written, by the deployment that serves it. */
  readonly onTrace?: ((trace: RequestTrace) => void) | undefined;
}

/** How many choices the answer to a body must have: `n` for each prompt. */
export function expectedChoicesOf(body: JsonObjectIndex, method: GenerateMethod): number {
  const n = body.value("n");
  const each = typeof n === "number" && n > 1 ? n : 1;
  if (method === "chat") return each;
  const prompts = promptCount(body.element("prompt"));
  return each * Math.max(1, prompts);
}

/** Path of a generation method on an engine. */
export function enginePath(method: GenerateMethod): string {
  return method === "chat" ? "/v1/chat/completions" : "/v1/completions";
}
