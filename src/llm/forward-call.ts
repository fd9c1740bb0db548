import type { EngineErrorOrigin } from "../errors/engine-error.ts";
import { EngineStreamError } from "../errors/engine-stream-error.ts";
import type { ServeLLMError } from "../errors/serve-llm-error.ts";
import type { ByteSink, ByteSource } from "../internal/byte-stream.ts";
import type { CancelToken } from "../internal/cancel-token.ts";
import type { Clock } from "../internal/clock.ts";
import { EventAligner } from "../protocol/event-aligner.ts";
import type {
  EndpointClient,
  EngineExchange,
  EngineHttpRequest,
  EngineResponseSink,
} from "../replicas/endpoint-client.ts";
import type { EngineHeaders } from "../replicas/engine-headers.ts";
import type { CallOutcome } from "../replicas/replica-health.ts";
import { outcomeOf } from "./call-outcome.ts";
import { CallWatchdog } from "./call-watchdog.ts";
import { forwardedAnswer } from "./complete-answer.ts";
import type { DecodeTimeouts } from "./call-watchdog.ts";
import { engineErrorResponse } from "./engine-error-response.ts";
import { scrubEvents } from "./event-scrubber.ts";
import { ForwardEventWatch } from "./forward-event-watch.ts";
import type { LLMResponse } from "./llm-response.ts";

/** What a {@link ForwardCall} works with. */
export interface ForwardCallInit {
  readonly origin: EngineErrorOrigin;
  /** As in ForwardRequest. */
  readonly streamEnds: readonly string[] | undefined;
  readonly clock: Clock;
  readonly cancel: CancelToken;
  readonly timeouts: DecodeTimeouts;
  /** The engine's answer is here, or its first event. Called at most once, before the answer is returned. */
  readonly onFirstOutput: () => void;
  /** The engine is done with this call, however it went. Called exactly once; with the error if there was one. */
  readonly onSettled: (outcome: CallOutcome, error: ServeLLMError | undefined) => void;
}

type State = "waiting" | "error-body" | "buffering" | "holding" | "flowing" | "over";

const maxErrorBytes = 64 * 1024;
const maxAnswerBytes = 256 * 1024 * 1024;

/**
 * One request that an engine answers in a way this library does not interpret.
 *
 * Answers that are no event streams are collected whole, JSON is checked for error objects. An event stream is
 * promised to the client with its first event; until then every failure rejects {@link open}, so that the request
 * can be tried elsewhere. Afterwards a failure, or an end without the route's end mark, ends the stream as broken.
 */
export class ForwardCall implements EngineResponseSink, ByteSource {
  readonly #init: ForwardCallInit;
  readonly #aligner = new EventAligner();
  readonly #watch: ForwardEventWatch;
  readonly #watchdog: CallWatchdog;
  #state: State = "waiting";
  #status = 0;
  #headers: EngineHeaders | undefined;
  /** The body so far, or events that wait for {@link pipe}. */
  #chunks: Uint8Array[] = [];
  #size = 0;
  #exchange: EngineExchange | undefined;
  #sink: ByteSink | undefined;
  #failure: ServeLLMError | undefined;
  #paused = false;
  #settled = false;
  #stopListening: (() => void) | undefined;
  #resolve!: (response: LLMResponse) => void;
  #reject!: (error: unknown) => void;

  constructor(init: ForwardCallInit) {
    this.#init = init;
    this.#watch = new ForwardEventWatch(init.origin, init.streamEnds);
    this.#watchdog = new CallWatchdog(init.clock, init.timeouts, init.origin, (error) => {
      this.#exchange?.abort(error);
    });
  }

  /** Sends the request; resolves when the client may be answered. */
  open(client: EndpointClient, request: EngineHttpRequest): Promise<LLMResponse> {
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
      const exchange = client.dispatch(request, this);
      this.#exchange = exchange;
      this.#watchdog.awaitFirstOutput();
      this.#stopListening = this.#init.cancel.onCancel((error) => exchange.abort(error));
    });
  }

  pipe(sink: ByteSink): void {
    this.#sink = sink;
    const held = this.#chunks;
    this.#chunks = [];
    for (const chunk of held) this.#write(chunk);
    if (this.#failure !== undefined) sink.fail(this.#failure);
    else if (this.#state === "over") sink.end();
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    if (this.#state === "flowing") this.#watchdog.awaitNextEvent();
    this.#exchange?.resume();
  }

  onHeaders(status: number, headers: EngineHeaders): void {
    this.#status = status;
    this.#headers = headers;
    const encoding = headers.get("content-encoding") ?? "identity";
    if (status < 200 || status > 299) this.#state = "error-body";
    else if (encoding !== "identity") this.#exchange!.abort(this.#broken("malformed"));
    else this.#state = this.#contentType.startsWith("text/event-stream") ? "holding" : "buffering";
  }

  onData(chunk: Buffer): boolean {
    if (this.#state === "holding" || this.#state === "flowing") {
      const events = this.#aligner.take(chunk);
      if (events.length > 0) this.#relay(events);
      return !this.#paused;
    }
    this.#collect(chunk);
    return true;
  }

  onEnd(): void {
    const { origin } = this.#init;
    if (this.#state === "holding" || this.#state === "flowing") {
      this.#endOfStream();
    } else if (this.#state === "error-body") {
      this.#fail(engineErrorResponse(origin, this.#status, this.#headers, Buffer.concat(this.#chunks)));
    } else if (this.#state === "buffering") {
      this.#answerComplete();
    } else {
      this.#fail(this.#broken("malformed"));
    }
  }

  onError(error: ServeLLMError): void {
    const broke = this.#state === "flowing" && error.code === "engine_connection_error";
    if (broke && this.#init.streamEnds !== undefined && this.#watch.isWhole) this.#end("failure");
    else this.#fail(broke ? this.#broken("disconnected", error) : error);
  }

  get #contentType(): string {
    return this.#headers?.get("content-type") ?? "application/octet-stream";
  }

  #collect(chunk: Buffer): void {
    this.#size += chunk.length;
    if (this.#state === "error-body" && this.#size > maxErrorBytes) return;
    if (this.#size > maxAnswerBytes) this.#exchange!.abort(this.#broken("malformed"));
    else this.#chunks.push(chunk);
  }

  #answerComplete(): void {
    const contentType = this.#contentType;
    let body: Uint8Array = Buffer.concat(this.#chunks, this.#size);
    try {
      if (contentType.startsWith("application/json"))
        body = forwardedAnswer(body as Buffer, this.#init.origin);
    } catch (error) {
      this.#fail(error as ServeLLMError);
      return;
    }
    this.#state = "over";
    this.#init.onFirstOutput();
    this.#settle("success");
    this.#resolve({ kind: "complete", status: this.#status, contentType, body });
  }

  /** Takes complete events; the state is holding or flowing. */
  #relay(events: Uint8Array): void {
    const seenBefore = this.#watch.eventCount;
    const good = this.#watch.take(events);
    if (good.length > 0) this.#forward(scrubEvents(good));
    if (this.#watch.error !== undefined) this.#exchange!.abort(this.#watch.error);
    else if (this.#watch.eventCount !== seenBefore) this.#refresh();
  }

  /** An event came: the stream is alive, and promised to the client with the first one. */
  #refresh(): void {
    if (this.#state === "flowing") {
      if (!this.#paused) this.#watchdog.refresh();
      return;
    }
    this.#state = "flowing";
    this.#watchdog.awaitNextEvent();
    this.#init.onFirstOutput();
    this.#resolve({ kind: "stream", source: this });
  }

  #forward(events: Uint8Array): void {
    if (this.#sink === undefined) this.#chunks.push(events);
    else this.#write(events);
  }

  #write(chunk: Uint8Array): void {
    if (this.#sink!.write(chunk) || this.#paused) return;
    this.#paused = true;
    if (this.#state === "flowing") this.#watchdog.awaitClient();
    else this.#watchdog.stop();
  }

  #endOfStream(): void {
    const rest = this.#aligner.held;
    // The last event may lack its blank line.
    if (rest.length > 0) this.#relay(Buffer.concat([rest, Buffer.from("\n\n")]));
    if (this.#state === "over") return;
    const { error } = this.#watch;
    if (error !== undefined) this.#fail(error);
    else if (this.#state === "flowing" && this.#watch.isWhole) this.#end("success");
    else this.#fail(this.#broken(this.#state === "flowing" ? "truncated" : "swallowed"));
  }

  #end(outcome: CallOutcome): void {
    this.#state = "over";
    this.#sink?.end();
    this.#settle(outcome);
  }

  #fail(error: ServeLLMError): void {
    if (this.#state === "over") return;
    const begun = this.#state === "flowing";
    this.#state = "over";
    if (begun) {
      this.#failure = error;
      this.#sink?.fail(error);
    }
    this.#settle(outcomeOf(error), error);
    if (!begun) this.#reject(error);
  }

  #settle(outcome: CallOutcome, error?: ServeLLMError): void {
    this.#watchdog.stop();
    this.#stopListening?.();
    if (this.#settled) return;
    this.#settled = true;
    this.#init.onSettled(outcome, error);
  }

  #broken(fault: EngineStreamError["fault"], cause?: unknown): EngineStreamError {
    return new EngineStreamError(this.#init.origin, fault, cause === undefined ? {} : { cause });
  }
}
