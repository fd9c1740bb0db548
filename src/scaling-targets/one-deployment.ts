import type { ScalingContext } from "../config/scaling-target.ts";
import { ConfigurationError } from "../errors/configuration-error.ts";

/** The deployment a target works for: one at a time. Two that share a target would scale each other. */
export class OneDeployment {
  readonly #target: string;
  #context: ScalingContext | undefined;

  /** @param target name of the function that makes it, for messages */
  constructor(target: string) {
    this.#target = target;
  }

  get begun(): boolean {
    return this.#context !== undefined;
  }

  /** @throws TypeError before the start */
  get context(): ScalingContext {
    if (this.#context === undefined) throw new TypeError(`${this.#target} was not started.`);
    return this.#context;
  }

  /** @throws ConfigurationError when it works for another one already */
  begin(context: ScalingContext): void {
    // A start that failed later on is tried again.
    if (this.#context !== undefined && this.#context !== context) {
      throw new ConfigurationError(`Deployment "${context.deployment}"`, [
        {
          path: ["scalingTarget"],
          type: "value_error",
          message: `This target scales "${this.#context.deployment}" already; give every deployment one of its own`,
        },
      ]);
    }
    this.#context = context;
  }

  end(): void {
    this.#context = undefined;
  }
}
