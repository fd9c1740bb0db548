import { parseDeploymentOptions } from "../config/deployment-options.ts";
import { readDeploymentOptions } from "../config/llm-config-schema.ts";
import { describeValue } from "../config/describe-value.ts";
import { ConfigurationError } from "../errors/configuration-error.ts";
import { Application } from "./application.ts";
import type { DeployableClass, DeploymentInstance } from "./deployment-context.ts";

/** Arguments of a deployment's constructor as `bind` takes them: other applications stand for their instances. */
export type BindArguments<Arguments> = {
  readonly [Key in keyof Arguments]: Bindable<Arguments[Key]>;
};

type Bindable<Value> = Value extends readonly (infer Item)[]
  ? readonly Bindable<Item>[]
  : Value extends ReadonlyMap<string, infer Item>
    ? ReadonlyMap<string, Bindable<Item>>
    : Value extends Readonly<Record<string, infer Item extends DeploymentInstance>>
      ? Readonly<Record<string, Bindable<Item>>>
      : Value extends DeploymentInstance
        ? Application<Value> | Value
        : Value;

/** Options of a deployment: Ray's `@serve.deployment` options in camelCase, and `name`. */
export type DeploymentInit = Readonly<Record<string, unknown>> & { readonly name?: string | undefined };

/**
 * A class and how to run it; nothing runs yet. Mirrors Ray's `Deployment`: `options` and `bind` return new values
 * and leave this one as it is.
 */
export class Deployment<Arguments, Instance extends DeploymentInstance> {
  readonly deployedClass: DeployableClass<Arguments, Instance>;
  readonly deploymentOptions: DeploymentInit;

  constructor(deployedClass: DeployableClass<Arguments, Instance>, options: DeploymentInit = {}) {
    if (!isConstructor(deployedClass)) {
      throw new ConfigurationError("A deployment", [
        {
          path: ["deployment"],
          message: "Only classes can be deployed",
          type: "is_class",
          expected: "a class",
          received: typeof deployedClass === "function" ? "a function" : typeof deployedClass,
        },
      ]);
    }
    this.deployedClass = deployedClass;
    this.deploymentOptions = readDeploymentOptions(options);
    parseDeploymentOptions(this.deploymentOptions);
  }

  get name(): string {
    return this.deploymentOptions.name ?? this.deployedClass.name;
  }

  /**
   * The same class with other options, in either spelling; those not named stay. Mirrors Ray's `.options()`.
   *
   * @throws ConfigurationError naming every option that is not valid
   */
  options(options: DeploymentInit): Deployment<Arguments, Instance> {
    const { numReplicas, ...others } = readDeploymentOptions(options);
    // Ray reads null as "not given".
    const given = numReplicas === undefined || numReplicas === null ? others : { ...others, numReplicas };
    return new Deployment(this.deployedClass, { ...this.deploymentOptions, ...given });
  }

  /** The node of an application graph: this deployment with its arguments, of which some may be other nodes. */
  bind(args: BindArguments<Arguments>): Application<Instance> {
    if (typeof args !== "object" || args === null) {
      throw new ConfigurationError(`Deployment "${this.name}"`, [
        {
          path: ["bind"],
          message: "Arguments are given as one object",
          type: "dict_type",
          expected: "for example bind({ llmDeployments: [server] })",
          received: describeValue(args, ["bind"]),
        },
      ]);
    }
    return new Application<Instance>({
      name: this.name,
      deployedClass: this.deployedClass,
      options: this.deploymentOptions,
      args,
    });
  }
}

/** False for arrow functions and methods, too. Nothing is run to find out. */
function isConstructor(value: unknown): boolean {
  if (typeof value !== "function") return false;
  try {
    Reflect.construct(Object, [], value);
    return true;
  } catch {
    return false;
  }
}

/**
 * Makes a class deployable. Mirrors Ray's `serve.deployment(Cls)`.
 *
 * @example serve.deployment(PDProxyServer).options({ maxOngoingRequests: 256 }).bind({ prefillServer, decodeServer })
 */
export function deployment<Arguments, Instance extends DeploymentInstance>(
  deployedClass: DeployableClass<Arguments, Instance>,
  options: DeploymentInit = {},
): Deployment<Arguments, Instance> {
  return new Deployment(deployedClass, options);
}
