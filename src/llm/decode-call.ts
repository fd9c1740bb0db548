import { EngineStreamError } from "../errors/engine-stream-error.ts";
import type { ServeLLMError } from "../errors/serve-llm-error.ts";
import type { ByteSink, ByteSource } from "../internal/byte-stream.ts";
import { joinBytes } from "../internal/join-bytes.ts";
import { EventAligner } from "../protocol/event-aligner.ts";
import { EventStreamMonitor } from "../protocol/event-stream-monitor.ts";
import { doneEvent } from "../protocol/event-stream-text.ts";
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
import { completeAnswer } from "./complete-answer.ts";
import type { DecodeCallInit } from "./decode-call-init.ts";
import { engineErrorResponse } from "./engine-error-response.ts";
import { scrubEvents } from "./event-scrubber.ts";
import { endError, isWhole, lengthBeforeEnd } from "./stream-end.ts";
import type { LLMResponse } from "./llm-response.ts";

type State = "waiting" | "error-body" | "buffering" | "holding" | "flowing" | "answered" | "over";

const maxErrorBytes = 64 * 1024;
const maxAnswerBytes = 256 * 1024 * 1024;
/** What may come before the first token, and what is kept for a client that has not begun to read. */
const maxHeldBytes = 1024 * 1024;

/**
 * One request to the engine that answers the client.
 *
 * Nothing is promised to the client before the engine produced a token: until then the role chunk and whatever
 * else came is held back, and every failure rejects {@link open}, so that the request can still be tried elsewhere.
 * After that a failure ends the stream as one.
 */
export class DecodeCall implements EngineResponseSink, ByteSource {
  readonly #init: DecodeCallInit;
  /** Both are there once the engine said that it answers with events. */
  #monitor!: EventStreamMonitor;
  #aligner!: EventAligner;
  readonly #watchdog: CallWatchdog;
  #state: State = "waiting";
  #status = 0;
  #headers: EngineHeaders | undefined;
  #chunks: Uint8Array[] = [];
  #size = 0;
  #exchange: EngineExchange | undefined;
  #sink: ByteSink | undefined;
  #failure: ServeLLMError | undefined;
  #paused = false;
  #settled = false;
  #usage: unknown;
  #stopListening: (() => void) | undefined;
  #resolve!: (response: LLMResponse) => void;
  #reject!: (error: unknown) => void;

  constructor(init: DecodeCallInit) {
    this.#init = init;
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

  /** True once the engine may have seen the request. */
  get sent(): boolean {
    return this.#exchange?.sent === true;
  }

  /** What came so far: the stream's events, and what the engine counted, as far as traces go by it. */
  get produced(): { readonly events: number; readonly usage: unknown } {
    const monitor = this.#monitor as EventStreamMonitor | undefined;
    return { events: monitor?.eventCount ?? 0, usage: this.#usage ?? monitor?.usage };
  }

  pipe(sink: ByteSink): void {
    this.#sink = sink;
    const held = this.#chunks;
    const heldBack = this.#paused;
    this.#chunks = [];
    this.#size = 0;
    this.#paused = false;
    for (const chunk of held) this.#write(chunk);
    if (heldBack && !this.#paused) this.#readOn();
    if (this.#failure !== undefined) sink.fail(this.#failure);
    else if (this.#state === "answered" || this.#state === "over") sink.end();
  }

  resume(): void {
    if (!this.#paused || this.#sink === undefined) return;
    this.#paused = false;
    this.#readOn();
  }

  get gathers(): boolean {
    return this.#state === "buffering" || this.#state === "error-body";
  }

  onHeaders(status: number, headers: EngineHeaders): void {
    this.#status = status;
    this.#headers = headers;
    if (status !== 200) {
      this.#state = "error-body";
      return;
    }
    const type = headers.get("content-type") ?? "";
    const encoding = headers.get("content-encoding") ?? "identity";
    const isEvents = type.startsWith("text/event-stream");
    const isJson = type.startsWith("application/json");
    if (encoding !== "identity" || (isEvents && !this.#init.stream) || (!isEvents && !isJson)) {
      this.#exchange!.abort(new EngineStreamError(this.#init.origin, "malformed"));
      return;
    }
    this.#state = isEvents ? "holding" : "buffering";
    if (!isEvents) return;
    this.#monitor = new EventStreamMonitor({ expectedChoices: this.#init.expectedChoices });
    this.#aligner = new EventAligner();
  }

  onData(chunk: Buffer): boolean {
    switch (this.#state) {
      case "holding":
      case "flowing":
        this.#takeEvents(chunk);
        return !this.#paused;
      case "error-body":
      case "buffering":
        this.#collect(chunk);
        return true;
      default:
        return true;
    }
  }

  onEnd(): void {
    switch (this.#state) {
      case "error-body":
        this.#fail(
          engineErrorResponse(this.#init.origin, this.#status, this.#headers, joinBytes(this.#chunks)),
        );
        return;
      case "buffering":
        this.#answerComplete();
        return;
      case "holding":
      case "flowing":
        this.#endOfStream();
        return;
      case "waiting":
        this.#fail(new EngineStreamError(this.#init.origin, "malformed"));
        return;
      default:
        this.#settle("success");
    }
  }

  onError(error: ServeLLMError): void {
    if (this.#state === "answered" || this.#state === "over") {
      this.#settle("neutral");
      return;
    }
    const broke = this.#state === "flowing" && error.code === "engine_connection_error";
    this.#fail(broke ? new EngineStreamError(this.#init.origin, "disconnected", { cause: error }) : error);
  }

  /** True while events are taken from the engine. */
  #relays(): boolean {
    return this.#state === "holding" || this.#state === "flowing";
  }

  #readOn(): void {
    // A call that is over must not be watched again: the timer would outlive it.
    if (!this.#settled) this.#watchdog.awaitNextEvent();
    this.#exchange?.resume();
  }

  #collect(chunk: Buffer): void {
    this.#size += chunk.length;
    if (this.#state === "error-body" && this.#size > maxErrorBytes) return;
    if (this.#size > maxAnswerBytes) {
      this.#exchange!.abort(new EngineStreamError(this.#init.origin, "malformed"));
      return;
    }
    this.#chunks.push(chunk);
  }

  #answerComplete(): void {
    let body: Uint8Array;
    try {
      const { origin, expectedChoices, promptDetails } = this.#init;
      const onUsage = (usage: unknown): void => void (this.#usage = usage);
      body = completeAnswer(joinBytes(this.#chunks), origin, expectedChoices, onUsage, promptDetails);
    } catch (error) {
      this.#fail(error as ServeLLMError);
      return;
    }
    this.#init.onFirstOutput();
    this.#state = "answered";
    this.#settle("success");
    this.#resolve({ kind: "complete", status: 200, contentType: "application/json", body });
  }

  #takeEvents(chunk: Buffer): void {
    const passed = this.#passAtAGlance(chunk);
    if (passed === chunk.length || !this.#relays()) return;
    if (this.#monitor.sawDone) {
      if (!this.#paused) this.#watchdog.refresh();
      this.#endAnswer();
      return;
    }
    const withinEvent = this.#aligner.withinEvent;
    const events = this.#aligner.take(passed === 0 ? chunk : chunk.subarray(passed));
    if (events.length > 0) this.#relay(events, withinEvent);
  }

  /**
   * Sends on the events at the start of a piece that need no more than a glance.
   *
   * @returns their length; the rest was looked at, too, if it was the end
   */
  #passAtAGlance(chunk: Buffer): number {
    if (!this.#aligner.betweenEvents) return 0;
    const text = chunk.toString("latin1");
    const length = this.#monitor.takeAtAGlance(text);
    if (length === 0) return 0;
    if (!this.#paused) this.#watchdog.refresh();
    if (length === chunk.length) this.#send(chunk, text);
    else this.#send(chunk.subarray(0, length));
    return length;
  }

  /** Takes complete events; the state is holding or flowing. */
  #relay(events: Uint8Array, withinEvent: boolean): void {
    const monitor = this.#monitor;
    const seenBefore = monitor.eventCount;
    monitor.push(events);
    if (monitor.eventCount !== seenBefore && !this.#paused) this.#watchdog.refresh();
    if (monitor.endsAt === undefined && !monitor.sawDone) {
      this.#forward(events);
      return;
    }
    this.#forward(events.subarray(0, lengthBeforeEnd(events, monitor, seenBefore, withinEvent)));
    if (this.#relays()) this.#endAnswer();
  }

  /** The engine has said how its answer ends, and the client has all that came before. */
  #endAnswer(): void {
    const monitor = this.#monitor;
    if (monitor.sawDone && isWhole(monitor)) this.#finishAnswer(undefined);
    else this.#exchange!.abort(endError(monitor, this.#init.origin));
  }

  #forward(events: Uint8Array): void {
    if (events.length > 0) this.#send(scrubEvents(events, this.#init.promptDetails));
  }

  #send(clean: Uint8Array, latin1?: string): void {
    if (this.#state === "flowing" && this.#sink !== undefined) {
      this.#write(clean, latin1);
      return;
    }
    this.#chunks.push(clean);
    this.#size += clean.length;
    if (this.#state === "holding" && this.#monitor.sawContent) this.#commit();
    if (this.#size <= maxHeldBytes) return;
    if (this.#state === "holding") {
      this.#exchange!.abort(new EngineStreamError(this.#init.origin, "malformed"));
    } else if (!this.#paused) {
      this.#paused = true;
      this.#watchdog.awaitClient();
    }
  }

  #commit(): void {
    this.#state = "flowing";
    this.#watchdog.awaitNextEvent();
    this.#init.onFirstOutput();
    this.#resolve({ kind: "stream", source: this });
  }

  #write(chunk: Uint8Array, latin1?: string): void {
    if (this.#sink!.write(chunk, latin1) || this.#paused) return;
    this.#paused = true;
    if (this.#state === "flowing") this.#watchdog.awaitClient();
    else this.#watchdog.stop();
  }

  #endOfStream(): void {
    const rest = this.#aligner.held;
    if (rest.length > 0) {
      this.#monitor.push(rest);
      this.#monitor.finish();
      // The last event may lack its blank line; what was cut short is not for the client.
      if (this.#monitor.endsAt === undefined) this.#forward(Buffer.concat([rest, Buffer.from("\n\n")]));
    }
    if (isWhole(this.#monitor) && this.#state === "flowing") this.#finishAnswer("success");
    else this.#fail(endError(this.#monitor, this.#init.origin));
  }

  /** Sends the end of a whole answer. Without an outcome the engine's connection is still to end by itself. */
  #finishAnswer(outcome: CallOutcome | undefined): void {
    this.#state = "answered";
    if (this.#sink === undefined) {
      this.#chunks.push(doneEvent());
    } else {
      this.#sink.write(doneEvent());
      this.#sink.end();
    }
    if (outcome !== undefined) this.#settle(outcome);
  }

  #fail(error: ServeLLMError): void {
    const begun = this.#state === "flowing";
    // Every choice has its finish reason, and the client has them: the answer is whole, only its end got lost.
    if (begun && this.#monitor.isComplete && !this.#init.cancel.cancelled) {
      this.#finishAnswer(outcomeOf(error));
      return;
    }
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
}
