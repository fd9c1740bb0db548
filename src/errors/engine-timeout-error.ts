import { EngineError, type EngineErrorOrigin } from "./engine-error.ts";

/** An engine did not answer within the time of one phase. The message names the phase and its limit. */
export class EngineTimeoutError extends EngineError {
  override readonly name = "EngineTimeoutError";
  /** The option whose limit was reached, for example `prefillTimeoutMs`. */
  readonly option: string;
  /** Milliseconds. */
  readonly limitMs: number;

  constructor(origin: EngineErrorOrigin, option: string, limitMs: number) {
    super(`No answer from the engine within ${limitMs} ms in phase ${origin.phase} (${option}).`, origin, {
      code: `${origin.phase}_timeout`,
      status: 504,
      type: "timeout_error",
    });
    this.option = option;
    this.limitMs = limitMs;
  }
}
