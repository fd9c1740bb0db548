import type { HttpRequest, HttpResponse } from "../adapters/http-exchange.ts";
import { ConfigurationError } from "../errors/configuration-error.ts";
import type { CancelToken } from "../internal/cancel-token.ts";
import type { ApplicationEnvironment, DeploymentInstance } from "./deployment-context.ts";

/** An instance that answers HTTP. */
export interface HttpRoot extends DeploymentInstance {
  handle?(request: HttpRequest): Promise<HttpResponse>;
  createHandle?(begin: BeginRequest): unknown;
}

/** Lets a request in: starts the application if need be, and counts the request until its token ends. */
export type BeginRequest = (cancel: CancelToken) => Promise<void>;

/** The in-process handle of an application's root. */
export type HandleOf<Instance> = Instance extends { createHandle(begin: BeginRequest): infer Handle }
  ? Handle
  : never;

/** @internal One deployment of an application, for who calls it from outside. */
export interface ApplicationPart {
  readonly instance: DeploymentInstance;
  readonly environment: ApplicationEnvironment;
  readonly begin: BeginRequest;
}

/** The deployment of that name. @throws ConfigurationError when there is none */
export function findInstance(
  application: string,
  instances: ReadonlyMap<string, DeploymentInstance>,
  name: string,
): DeploymentInstance {
  const found = instances.get(name);
  if (found !== undefined) return found;
  const known = [...instances.keys()].map((each) => JSON.stringify(each)).join(", ");
  throw new ConfigurationError(`Application "${application}"`, [
    {
      path: ["deployment"],
      message: "There is no such deployment",
      type: "value_error",
      expected: `one of ${known}`,
      received: JSON.stringify(name),
    },
  ]);
}
