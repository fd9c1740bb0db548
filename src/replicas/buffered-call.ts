import type { EngineErrorOrigin } from "../errors/engine-error.ts";
import { EngineResponseError } from "../errors/engine-response-error.ts";
import { EngineTimeoutError } from "../errors/engine-timeout-error.ts";
import type { ServeLLMError } from "../errors/serve-llm-error.ts";
import type { CancelToken } from "../internal/cancel-token.ts";
import type { Clock, Timer } from "../internal/clock.ts";
import { joinBytes } from "../internal/join-bytes.ts";
import type {
  EndpointClient,
  EngineExchange,
  EngineHttpRequest,
  EngineResponseSink,
} from "./endpoint-client.ts";
import type { EngineHeaders } from "./engine-headers.ts";

/** A complete answer of an engine, whatever its status. */
export interface BufferedResponse {
  readonly status: number;
  readonly headers: EngineHeaders;
  readonly body: Buffer;
}

/** How long and how big an answer may be, and who may stop waiting for it. */
export interface BufferedCallOptions {
  readonly clock: Clock;
  readonly cancel: CancelToken | undefined;
  readonly replica: string;
  /** Milliseconds from now to the last byte. */
  readonly timeoutMs: number;
  /** The option `timeoutMs` came from; named in the error. */
  readonly timeoutOption: string;
  readonly maxBytes: number;
}

/**
 * Sends a request and collects its answer.
 *
 * @throws EngineTimeoutError, EngineConnectionError, or the token's error when it was cancelled
 */
export function callBuffered(
  client: EndpointClient,
  request: EngineHttpRequest,
  options: BufferedCallOptions,
): Promise<BufferedResponse> {
  return callAndRead(client, request, options, asItIs);
}

/**
 * The same, for who needs not the answer but what it says: a call in every request has no promise to spare for what
 * lies between.
 *
 * @param read what it throws is what the promise rejects with
 */
export function callAndRead<Result>(
  client: EndpointClient,
  request: EngineHttpRequest,
  options: BufferedCallOptions,
  read: (response: BufferedResponse) => Result,
): Promise<Result> {
  return new Promise((resolve, reject) => {
    const origin = { phase: request.phase, replica: options.replica };
    const sink = new BufferingSink(origin, options, read, resolve, reject);
    sink.start(client.dispatch(request, sink));
  });
}

function asItIs(response: BufferedResponse): BufferedResponse {
  return response;
}

class BufferingSink<Result> implements EngineResponseSink {
  readonly gathers = true;
  readonly #origin: EngineErrorOrigin;
  readonly #options: BufferedCallOptions;
  readonly #read: (response: BufferedResponse) => Result;
  readonly #resolve: (result: Result) => void;
  readonly #reject: (error: unknown) => void;
  readonly #chunks: Buffer[] = [];
  #size = 0;
  #status = 0;
  #headers: EngineHeaders | undefined;
  #exchange: EngineExchange | undefined;
  #timer: Timer | undefined;
  #stopListening: (() => void) | undefined;

  constructor(
    origin: EngineErrorOrigin,
    options: BufferedCallOptions,
    read: (response: BufferedResponse) => Result,
    resolve: (result: Result) => void,
    reject: (error: unknown) => void,
  ) {
    this.#origin = origin;
    this.#options = options;
    this.#read = read;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  start(exchange: EngineExchange): void {
    this.#exchange = exchange;
    const { clock, timeoutMs, timeoutOption, cancel } = this.#options;
    this.#timer = clock.setTimer(
      () => exchange.abort(new EngineTimeoutError(this.#origin, timeoutOption, timeoutMs)),
      timeoutMs,
    );
    this.#stopListening = cancel?.onCancel((error) => exchange.abort(error));
  }

  onHeaders(status: number, headers: EngineHeaders): void {
    this.#status = status;
    this.#headers = headers;
  }

  onData(chunk: Buffer): boolean {
    this.#size += chunk.length;
    if (this.#size > this.#options.maxBytes) {
      const message = `The engine's answer is larger than ${this.#options.maxBytes} bytes.`;
      const body = { message, type: "engine_error", param: null, code: null };
      this.#exchange?.abort(new EngineResponseError(this.#origin, 502, body));
      return true;
    }
    this.#chunks.push(chunk);
    return true;
  }

  onEnd(): void {
    this.#settle();
    const body = joinBytes(this.#chunks);
    try {
      this.#resolve(this.#read({ status: this.#status, headers: this.#headers!, body }));
    } catch (error) {
      this.#reject(error);
    }
  }

  onError(error: ServeLLMError): void {
    this.#settle();
    this.#reject(error);
  }

  #settle(): void {
    this.#timer?.cancel();
    this.#stopListening?.();
  }
}
