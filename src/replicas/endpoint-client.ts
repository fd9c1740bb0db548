import type { Dispatcher } from "undici";
import type { ClientConfig } from "../config/client-config.ts";
import type { Endpoint } from "../config/endpoint.ts";
import { EngineConnectionError } from "../errors/engine-connection-error.ts";
import type { EnginePhase } from "../errors/engine-error.ts";
import type { ServeLLMError } from "../errors/serve-llm-error.ts";
import { EndpointConnections, type EngineConnection } from "./endpoint-connections.ts";
import { EngineHeaders } from "./engine-headers.ts";
import { CallsEndedError, toEngineError } from "./to-engine-error.ts";
import { fixedHeaders } from "./fixed-headers.ts";
import { joinSmallParts, sizeOfParts } from "./body-parts.ts";

/** One HTTP request to an engine. */
export interface EngineHttpRequest {
  readonly method: "GET" | "POST";
  /** Path below the endpoint's base URL, with a leading slash. */
  readonly path: string;
  /** Flat list of names and values, lower-case names. */
  readonly headers: readonly string[];
  /** Parts of the body, sent in order without copying when large. */
  readonly body?: readonly Uint8Array[] | undefined;
  /** Names the step in errors. */
  readonly phase: EnginePhase;
}

/** Receives an engine's answer as it comes in. After `onEnd` or `onError` nothing more is called. */
export interface EngineResponseSink {
  /**
   * True while it only gathers the body: pieces then come as they are, at once, for there is nothing to save.
   *
   * @default false
   */
  readonly gathers?: boolean | undefined;
  onHeaders(status: number, headers: EngineHeaders): void;
  /**
   * All of the body that one read of the socket brought, as one piece: what an engine sends token by token often
   * arrives together, and costs once what it would cost each.
   *
   * @returns false to stop reading from the engine's socket until {@link EngineExchange.resume}; what was read by then
   *   waits until then, too
   */
  onData(chunk: Buffer): boolean;
  onEnd(): void;
  onError(error: ServeLLMError): void;
}

/** A running request to an engine. */
export interface EngineExchange {
  /** True once a connection was there for it, so that the engine may have seen it. */
  readonly sent: boolean;
  /** Stops it now: closes its socket and reports `error` to the sink. Does nothing once it is over. */
  abort(error: ServeLLMError): void;
  /** Goes on reading after `onData` returned false. */
  resume(): void;
}

/**
 * HTTP to one engine: with the connections it goes over, the only place that imports undici.
 *
 * undici's own 300 s header and body timeouts are switched off; every limit is ours and lives with the legs of a
 * request. HTTP/1.1 only, one request at a time on a connection, as many connections as there are requests: how
 * many may run is decided by admission, never by a hidden queue here.
 */
export class EndpointClient {
  readonly #connections: EndpointConnections;
  /** Its own calls among those of others on the same connections; undefined when there are no others. */
  readonly #calls: Set<DispatchHandler> | undefined;
  readonly #replica: string;
  readonly #basePath: string;
  readonly #fixedHeaders: readonly string[];
  readonly #connectTimeoutMs: number;
  #left = false;

  /**
   * @param replica its name in errors
   * @param shared connections that other clients of the same server use as well; they must be to the endpoint's URL
   */
  constructor(endpoint: Endpoint, client: ClientConfig, replica: string, shared?: EndpointConnections) {
    const url = new URL(endpoint.url);
    this.#replica = replica;
    this.#basePath = url.pathname === "/" ? "" : url.pathname.replace(/\/$/, "");
    this.#fixedHeaders = fixedHeaders(endpoint, client);
    this.#connectTimeoutMs = client.connectTimeoutMs;
    this.#connections = shared ?? new EndpointConnections(endpoint.url, client);
    this.#connections.users += 1;
    if (shared !== undefined) this.#calls = new Set();
  }

  /**
   * Sends a request. The sink always hears exactly one of `onEnd` and `onError`, never before this returns. Redirects
   * are answers like any other, never followed.
   */
  dispatch(request: EngineHttpRequest, sink: EngineResponseSink): EngineExchange {
    const call = new DispatchHandler(
      request.phase,
      this.#replica,
      this.#connectTimeoutMs,
      sink,
      this.#connections,
      this.#calls,
    );
    // Of a client that has left, the connections may still be open, for others.
    const connection = this.#left ? undefined : this.#connections.take();
    if (connection === undefined) {
      call.onError(new Error("The client is closed."));
      return call;
    }
    call.connection = connection;
    const body = request.body === undefined ? null : joinSmallParts(request.body);
    const headers = this.#fixedHeaders.slice();
    for (const text of request.headers) headers.push(text);
    if (body !== null && !Buffer.isBuffer(body)) headers.push("content-length", String(sizeOfParts(body)));
    const options: Dispatcher.DispatchOptions = {
      method: request.method,
      path: this.#basePath + request.path,
      headers,
      body: body as Buffer | null,
    };
    connection.client.dispatch(options, call);
    call.dispatched = true;
    return call;
  }

  /** Closes idle connections at once and the others when their request is over; not those that others use. */
  async close(): Promise<void> {
    if (this.#leave()) await this.#connections.close();
  }

  /**
   * Ends its requests now and closes every connection that nobody else uses.
   *
   * @param reason what its requests are told; it follows "The decode engine"
   */
  async destroy(reason?: string): Promise<void> {
    for (const call of this.#calls ?? []) {
      const origin = { phase: call.phase, replica: this.#replica };
      call.abort(new EngineConnectionError(origin, { neverSent: false, reason }));
    }
    const error = reason === undefined ? null : new CallsEndedError(reason);
    if (this.#leave()) await this.#connections.destroy(error);
  }

  /** True when nobody uses the connections any more. */
  #leave(): boolean {
    if (!this.#left) this.#connections.users -= 1;
    this.#left = true;
    return this.#connections.unused;
  }
}

/** undici's raw-header handler: about 20 % cheaper than its newer controller interface. */
class DispatchHandler implements Dispatcher.DispatchHandler, EngineExchange {
  readonly phase: EnginePhase;
  readonly #replica: string;
  readonly #connectTimeoutMs: number;
  readonly #calls: Set<DispatchHandler> | undefined;
  #sink: EngineResponseSink | undefined;
  #abort: ((error?: Error) => void) | undefined;
  #resume: (() => void) | undefined;
  #aborted: ServeLLMError | undefined;
  /** False while undici's dispatch has not returned: a closed client or an unusable argument is reported from within. */
  dispatched = false;
  /** What carries it; given back when undici is done with it. */
  connection: EngineConnection | undefined;
  readonly #connections: EndpointConnections;
  #wantsConnection = true;
  /** What the current read of the socket brought first. */
  #read: Buffer | undefined;
  /** All that it brought, when that is more. */
  #readMore: Buffer[] | undefined;
  /** The sink wants no more until it calls `resume`. */
  #full = false;

  constructor(
    phase: EnginePhase,
    replica: string,
    connectTimeoutMs: number,
    sink: EngineResponseSink,
    connections: EndpointConnections,
    calls: Set<DispatchHandler> | undefined,
  ) {
    this.phase = phase;
    this.#replica = replica;
    this.#connectTimeoutMs = connectTimeoutMs;
    this.#sink = sink;
    this.#connections = connections;
    connections.waiting += 1;
    this.#calls = calls;
    calls?.add(this);
  }

  get sent(): boolean {
    return this.#abort !== undefined;
  }

  abort(error: ServeLLMError): void {
    const sink = this.#sink;
    if (sink === undefined) return;
    this.#endCall();
    this.#aborted = error;
    this.#read = this.#readMore = undefined;
    this.#endDemand();
    this.#abort?.(error);
    sink.onError(error);
  }

  resume(): void {
    if (!this.#full) return;
    this.#full = false;
    this.deliver();
    // Once this one is over, the connection may be another request's.
    if (this.#sink !== undefined && !this.#full) this.#resume?.();
  }

  onConnect(abort: (error?: Error) => void): void {
    this.#abort = abort;
    this.#endDemand();
    if (this.#aborted !== undefined) abort(this.#aborted);
  }

  onHeaders(status: number, headers: Buffer[], resume: () => void): boolean {
    if (status < 200) return true;
    this.#resume = resume;
    this.#sink?.onHeaders(status, new EngineHeaders(headers));
    return true;
  }

  onData(chunk: Buffer): boolean {
    const sink = this.#sink;
    if (sink === undefined) return true;
    if (sink.gathers === true) return sink.onData(chunk);
    if (this.#read === undefined) {
      this.#read = chunk;
      // undici parses all of a read before anything else runs.
      if (!this.#full) process.nextTick(deliver, this);
    } else {
      (this.#readMore ??= [this.#read]).push(chunk);
    }
    return !this.#full;
  }

  /** Hands on what was read. */
  deliver(): void {
    const first = this.#read;
    const sink = this.#sink;
    if (first === undefined || sink === undefined || this.#full) return;
    const more = this.#readMore;
    this.#read = this.#readMore = undefined;
    this.#full = !sink.onData(more === undefined ? first : Buffer.concat(more));
  }

  onComplete(): void {
    this.#deliverLast();
    const sink = this.#sink;
    this.#endCall();
    sink?.onEnd();
    this.#giveBack(true);
  }

  onError(error: Error): void {
    if (!this.dispatched) {
      queueMicrotask(() => this.onError(error));
      this.dispatched = true;
      return;
    }
    this.#endDemand();
    this.#deliverLast();
    this.#giveBack(false);
    const sink = this.#sink;
    if (sink === undefined) return;
    this.#endCall();
    sink.onError(
      toEngineError(error, {
        phase: this.phase,
        replica: this.#replica,
        sent: this.sent,
        connectTimeoutMs: this.#connectTimeoutMs,
      }),
    );
  }

  #deliverLast(): void {
    this.#full = false;
    this.deliver();
  }

  #endCall(): void {
    this.#sink = undefined;
    this.#calls?.delete(this);
  }

  #giveBack(usable: boolean): void {
    const { connection } = this;
    if (connection === undefined) return;
    this.connection = undefined;
    this.#connections.giveBack(connection, usable);
  }

  #endDemand(): void {
    if (!this.#wantsConnection) return;
    this.#wantsConnection = false;
    this.#connections.waiting -= 1;
  }
}

function deliver(handler: DispatchHandler): void {
  handler.deliver();
}
