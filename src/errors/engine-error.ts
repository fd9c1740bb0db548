import { ServeLLMError, type ServeLLMErrorFields } from "./serve-llm-error.ts";

/** The step of a request in which an engine failed; `check`: no request, but a question about the engine itself. */
export type EnginePhase = "connect" | "prefill" | "handoff" | "decode" | "stream" | "total" | "check";

/** Where an engine failure happened. Never shown to clients, only logged and kept on the error. */
export interface EngineErrorOrigin {
  readonly phase: EnginePhase;
  /** Deployment-local name of the replica, for example `Prefill:llama-8b#0`. */
  readonly replica: string;
}

/** An engine failed, or answered something that can't be used. */
export class EngineError extends ServeLLMError {
  override readonly name: string = "EngineError";
  readonly phase: EnginePhase;
  readonly replica: string;

  constructor(message: string, origin: EngineErrorOrigin, fields: Partial<ServeLLMErrorFields> = {}) {
    super(message, {
      code: fields.code ?? "engine_error",
      status: fields.status ?? 502,
      type: fields.type ?? "engine_error",
      param: fields.param,
      retryAfterS: fields.retryAfterS,
      cause: fields.cause,
    });
    this.phase = origin.phase;
    this.replica = origin.replica;
  }
}
