import { buildConnector, Client } from "undici";
import type { ClientConfig } from "../config/client-config.ts";
import { onNextTurn } from "../internal/next-turn.ts";

/** vLLM's server closes idle connections after 5 s; ours must be gone before that. */
const keepAliveMs = 4_000;

/** A connection that one request at a time uses. It is made when the first one needs it, and again when it was lost. */
export class EngineConnection {
  /** @internal */
  readonly client: Client;
  isOpen = false;
  /** A request has it. */
  inUse = false;
  /** Where it lies among the idle ones; -1 while it does not. */
  idleAt = -1;

  constructor(client: Client) {
    this.client = client;
  }
}

/**
 * Connections to one server, for all its clients: it closes them when the last has left.
 *
 * As many as there are requests, the one used last first. undici's own pool would look through all of them for a free
 * one, twice for each request: too long when thousands of streams are open.
 */
export class EndpointConnections {
  /** Clients that use it. */
  users = 0;
  /** Requests that are not on a connection yet. */
  waiting = 0;
  readonly #origin: string;
  readonly #options: Client.Options;
  readonly #all = new Set<EngineConnection>();
  readonly #idle: EngineConnection[] = [];
  /** Given back in this turn of the event loop. */
  #resting: EngineConnection[] = [];
  #ended = false;

  constructor(url: string, client: ClientConfig) {
    this.#origin = new URL(url).origin;
    this.#options = {
      pipelining: 1,
      allowH2: false,
      keepAliveTimeout: keepAliveMs,
      keepAliveMaxTimeout: keepAliveMs,
      headersTimeout: 0,
      bodyTimeout: 0,
      connect: this.#onDemand(
        buildConnector({
          timeout: client.connectTimeoutMs,
          ...(client.tls === undefined ? {} : tlsOptions(client.tls)),
        }),
      ),
    };
  }

  /** True when its last client has left. */
  get unused(): boolean {
    return this.users === 0;
  }

  /** For one request, then to be given back. Undefined once this is closed. */
  take(): EngineConnection | undefined {
    if (this.#ended) return undefined;
    const connection = this.#idle.pop() ?? this.#add();
    connection.idleAt = -1;
    connection.inUse = true;
    return connection;
  }

  /**
   * Its request is over.
   *
   * @param usable false after an error, upon which undici closes it
   */
  giveBack(connection: EngineConnection, usable: boolean): void {
    connection.inUse = false;
    if (!connection.isOpen) {
      this.#all.delete(connection);
    } else if (usable) {
      // As undici would: a server may close it right after an answer, though it never said so.
      if (this.#resting.length === 0) onNextTurn(() => this.#endRest());
      this.#resting.push(connection);
    }
  }

  /** Closes idle connections at once and the others when their request is over. */
  async close(): Promise<void> {
    this.#ended = true;
    // undici refuses to close what is being destroyed; waiting for that is what is meant.
    const ends = [...this.#all].map(({ client }) => (client.destroyed ? client.destroy() : client.close()));
    await Promise.all(ends);
  }

  /** Closes every connection now. @param error what its requests are told; undici's own by default */
  async destroy(error: Error | null): Promise<void> {
    this.#ended = true;
    await Promise.all([...this.#all].map(({ client }) => client.destroy(error)));
  }

  #endRest(): void {
    const rested = this.#resting;
    this.#resting = [];
    if (this.#ended) return;
    for (const connection of rested) {
      if (!connection.isOpen) continue;
      connection.idleAt = this.#idle.length;
      this.#idle.push(connection);
    }
  }

  #add(): EngineConnection {
    const client = new Client(this.#origin, this.#options);
    const connection = new EngineConnection(client);
    this.#all.add(connection);
    client.on("connect", () => {
      connection.isOpen = true;
    });
    client.on("disconnect", () => {
      connection.isOpen = false;
      this.#onClosed(connection);
    });
    return connection;
  }

  #onClosed(connection: EngineConnection): void {
    const { idleAt } = connection;
    if (idleAt >= 0) {
      const last = this.#idle.pop()!;
      if (last !== connection) {
        this.#idle[idleAt] = last;
        last.idleAt = idleAt;
      }
      connection.idleAt = -1;
    }
    // One that carries a request may be opened again for it.
    if (!connection.inUse) this.#all.delete(connection);
  }

  /**
   * Connects only while a request wants a connection. undici would open one in place of each that an abort destroyed,
   * and keep it idle: under a wave of cancelled requests that doubles the load on the engine's listener.
   */
  #onDemand(connector: buildConnector.connector): buildConnector.connector {
    return (options, callback) => {
      if (this.waiting > 0) connector(options, callback);
      else queueMicrotask(() => callback(new Error("No request wants a connection."), null));
    };
  }
}

function tlsOptions(tls: NonNullable<ClientConfig["tls"]>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(tls).filter(([, value]) => value !== undefined));
}
