import type { EngineErrorOrigin } from "../errors/engine-error.ts";
import { EngineTimeoutError } from "../errors/engine-timeout-error.ts";
import { RequestCancelledError } from "../errors/request-cancelled-error.ts";
import type { ServeLLMError } from "../errors/serve-llm-error.ts";
import type { Clock, Timer } from "../internal/clock.ts";

/** Milliseconds each. */
export interface DecodeTimeouts {
  /** From sending the request to its first token. */
  readonly firstByteTimeoutMs: number;
  /** Between two events of a stream. */
  readonly interTokenTimeoutMs: number;
  /** How long a client may leave a full stream unread. */
  readonly slowClientTimeoutMs: number;
}

/** Aborts the call to an answering engine when whoever's turn it is takes too long. One limit counts at a time. */
export class CallWatchdog {
  readonly #clock: Clock;
  readonly #timeouts: DecodeTimeouts;
  readonly #origin: EngineErrorOrigin;
  readonly #abort: (error: ServeLLMError) => void;
  #timer: Timer | undefined;

  constructor(
    clock: Clock,
    timeouts: DecodeTimeouts,
    origin: EngineErrorOrigin,
    abort: (error: ServeLLMError) => void,
  ) {
    this.#clock = clock;
    this.#timeouts = timeouts;
    this.#origin = origin;
    this.#abort = abort;
  }

  /** The engine has its whole time until its first output. */
  awaitFirstOutput(): void {
    this.#watchEngine("decode", "firstByteTimeoutMs");
  }

  /** The engine owes the next event of its stream. */
  awaitNextEvent(): void {
    this.#watchEngine("stream", "interTokenTimeoutMs");
  }

  /** The client is full and has to read; the engine is not to blame meanwhile. */
  awaitClient(): void {
    const limit = this.#timeouts.slowClientTimeoutMs;
    this.#set(limit, () => new RequestCancelledError(`the client did not read for ${limit} ms`));
  }

  /** The current limit starts over. */
  refresh(): void {
    this.#timer?.refresh();
  }

  stop(): void {
    this.#timer?.cancel();
  }

  #watchEngine(phase: "decode" | "stream", option: "firstByteTimeoutMs" | "interTokenTimeoutMs"): void {
    const limit = this.#timeouts[option];
    this.#set(limit, () => new EngineTimeoutError({ ...this.#origin, phase }, option, limit));
  }

  #set(limitMs: number, error: () => ServeLLMError): void {
    this.#timer?.cancel();
    this.#timer = this.#clock.setTimer(() => this.#abort(error()), limitMs);
  }
}
