import { ServeLLMError } from "./serve-llm-error.ts";

/** No replica of a deployment could take the request. Mirrors Ray's `DeploymentUnavailableError`. */
export class DeploymentUnavailableError extends ServeLLMError {
  override readonly name = "DeploymentUnavailableError";
  readonly deployment: string;

  constructor(
    deployment: string,
    reason: string,
    fields: { readonly code?: string; readonly retryAfterS?: number; readonly cause?: unknown } = {},
  ) {
    super(`Deployment "${deployment}" is unavailable: ${reason}.`, {
      code: fields.code ?? "no_healthy_replica",
      status: 503,
      type: "unavailable_error",
      retryAfterS: fields.retryAfterS ?? 1,
      cause: fields.cause,
    });
    this.deployment = deployment;
  }
}
