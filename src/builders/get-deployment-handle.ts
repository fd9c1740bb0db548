import { ConfigurationError } from "../errors/configuration-error.ts";
import { modelHandle } from "../ingress/model-handle.ts";
import { ModelCatalog } from "../ingress/model-catalog.ts";
import { OpenAiIngress } from "../ingress/openai-ingress.ts";
import type { LLMHandle } from "../llm/llm-handle.ts";
import { isModelServer } from "../llm/llm-server-protocol.ts";
import type { Application } from "../serve/application.ts";
import { applicationNamed } from "../serve/run.ts";
import { configApplicationNamed } from "./run-config.ts";

/** An application, or the name under which `serve.run` or `serve.runConfig` started one. */
export type ApplicationReference = Application | string;

/**
 * Calls one deployment of an application without HTTP: a pool of prefill or decode engines, a proxy, a model, or the
 * ingress. The first call starts the application. Mirrors Ray's `serve.get_deployment_handle`.
 *
 * @example const prefill = serve.getDeploymentHandle("Prefill:llama-8b", app);
 * @param deployment as in `app.status()`
 * @param application @default "default"
 * @throws ConfigurationError when there is no such application or deployment, or it serves no model
 */
export function getDeploymentHandle(
  deployment: string,
  application: ApplicationReference = "default",
): LLMHandle {
  const app = applicationOf(application);
  const { instance, environment, begin } = app.part(deployment);
  if (instance instanceof OpenAiIngress) return instance.createHandle(begin);
  if (!isModelServer(instance)) {
    throw invalid("deployment", "This deployment serves no model", deployment);
  }
  const models = new ModelCatalog([instance], undefined, environment);
  return modelHandle({ begin, context: environment, models });
}

/**
 * Calls an application without HTTP, through its root. Mirrors Ray's `serve.get_app_handle`.
 *
 * @param name @default "default"
 * @throws ConfigurationError when there is no such application, or its root serves no model
 */
export function getAppHandle(name = "default"): LLMHandle {
  const app = applicationOf(name);
  return getDeploymentHandle(app.name, app);
}

function applicationOf(application: ApplicationReference): Application {
  if (typeof application !== "string") return application;
  const found = applicationNamed(application) ?? configApplicationNamed(application);
  if (found !== undefined) return found;
  throw invalid("application", "No application of this name runs", application);
}

function invalid(path: string, message: string, received: string): ConfigurationError {
  return new ConfigurationError("The handle", [
    { path: [path], message, type: "value_error", received: JSON.stringify(received) },
  ]);
}
