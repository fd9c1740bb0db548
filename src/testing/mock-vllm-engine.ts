import { createServer, type Server } from "node:http";
import type { AddressInfo, Socket } from "node:net";

import { EngineCore } from "./engine-core.ts";
import { engineDeadError } from "./engine-refusal.ts";
import { EngineRequestHandler } from "./engine-request-handler.ts";
import type { FaultRule } from "./fault-plan.ts";
import type { KvLedger } from "./kv-ledger.ts";
import {
  resolveMockOptions,
  type MockVLLMEngineOptions,
  type ResolvedMockOptions,
} from "./mock-engine-options.ts";
import type { JournalEntry } from "./request-journal.ts";
import { MooncakeBootstrap } from "./mooncake-bootstrap.ts";
import { SideChannelServer } from "./side-channel.ts";

/** One data-parallel rank of a mock engine. */
export interface MockEngineRank {
  /** Rank in its group. */
  readonly rank: number;
  /** Id that its handles name. */
  readonly engineId: string;
  /** Its KV blocks and handles. */
  readonly ledger: KvLedger;
  /** Requests that have blocks now, and requests that wait for some. */
  readonly load: { readonly running: number; readonly waiting: number };
}

/**
 * A vLLM server without a model: real sockets, vLLM's routes and bytes, KV blocks and leases, prefill and decode
 * between engines, also of different processes, and any fault a test asks for.
 *
 * ```ts
 * await using prefill = new MockVLLMEngine({ role: "prefill" });
 * await using decode = new MockVLLMEngine({ role: "decode" });
 * await prefill.start();
 * await decode.start();
 * // ... requests to prefill.url and decode.url
 * prefill.ledger.assertBalanced();
 * ```
 *
 * What it says is a function of the prompt: see {@link mockAnswer}.
 */
export class MockVLLMEngine {
  readonly #core: EngineCore;
  readonly #handler: EngineRequestHandler;
  readonly #sideChannels: readonly SideChannelServer[];
  readonly #bootstrap: MooncakeBootstrap;
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;
  #port: number;
  #bootstrapPort: number;
  #boots = 0;
  #cancelReady: (() => void) | undefined;

  /** @throws RangeError when an option is out of range */
  constructor(options: MockVLLMEngineOptions = {}) {
    const core = new EngineCore(resolveMockOptions(options));
    for (let rank = 1; rank < core.options.dataParallelSize; rank++) core.addRank();
    this.#core = core;
    this.#port = core.options.port;
    this.#handler = new EngineRequestHandler(core);
    this.#sideChannels = core.ranks.map((rank) => new SideChannelServer(rank.ledger, () => rank.engineId));
    this.#bootstrapPort = core.options.bootstrapPort;
    this.#bootstrap = new MooncakeBootstrap(
      () => new Map(core.ranks.map((rank) => [rank.rank, rank.issuer] as const)),
    );
    for (const rank of core.ranks) {
      rank.onDeath = () => this.#die();
      rank.onCrash = () => void this.crash();
    }
  }

  /** Options with defaults filled in. */
  get options(): ResolvedMockOptions {
    return this.#core.options;
  }

  /** Base URL without a path, for example `http://127.0.0.1:43210`. Valid once started. */
  get url(): string {
    return `http://${this.#core.options.host}:${this.#port}`;
  }

  /** Port of the HTTP server; stays the same over {@link restart}. */
  get port(): number {
    return this.#port;
  }

  /** Base URL of its Mooncake bootstrap server; only with that connector, once started. */
  get bootstrapUrl(): string {
    return `http://${this.#core.options.host}:${this.#bootstrapPort}`;
  }

  /** Times its Mooncake bootstrap server was asked, by proxies and by decode engines. */
  get bootstrapQueries(): { readonly proxy: number; readonly engine: number } {
    return { ...this.#bootstrap.queries };
  }

  /**
   * Its address in request ids: `mori_zmq_address` of MoRIIO, `zmq_address` of P2pNccl. Valid once started; stays the
   * same over {@link restart}.
   */
  get kvAddress(): string {
    return this.#core.kvAddress;
  }

  /** Its data-parallel ranks, each with an id and KV of its own; one when it has no others. */
  get ranks(): readonly MockEngineRank[] {
    return this.#core.ranks;
  }

  /** Id that its handles name; new after each start. With several ranks, that of the first. */
  get engineId(): string {
    return this.#core.engineId;
  }

  /** True while it accepts connections. */
  get listening(): boolean {
    return this.#server?.listening === true;
  }

  /** Every request so far, oldest first. */
  get requests(): readonly JournalEntry[] {
    return this.#core.journal.entries;
  }

  /** Its KV blocks and handles. With several ranks, those of the first: see {@link ranks}. */
  get ledger(): KvLedger {
    return this.#core.ledger;
  }

  /** Requests that are not answered to the end. */
  get openResponses(): number {
    return this.#core.journal.inProgress;
  }

  /** Connections that are open. */
  get openSockets(): number {
    return this.#sockets.size;
  }

  /** Requests that have blocks now, and requests that wait for some; of all ranks. */
  get load(): { readonly running: number; readonly waiting: number } {
    let [running, waiting] = [0, 0];
    for (const { load } of this.#core.ranks) {
      running += load.running;
      waiting += load.waiting;
    }
    return { running, waiting };
  }

  /**
   * Listens. With `readyDelayMs` connections are refused that long; the promise resolves when it is ready, and
   * {@link port} is known once the engine waits on its clock.
   *
   * @throws Error with code `EADDRINUSE` when the port is taken; the engine is then as before
   */
  async start(): Promise<void> {
    if (this.#server !== undefined) return;
    const core = this.#core;
    const engineId = this.#nextEngineId();
    const grouped = core.ranks.length > 1 || core.options.dataParallelStartRank !== undefined;
    for (const rank of core.ranks) {
      rank.dead = false;
      rank.sleeping = false;
      rank.paused = false;
      rank.scheduler.setPaused(false);
      rank.prefixCache?.clear();
      rank.engineId = grouped ? `${engineId}_dp${rank.rank}` : engineId;
    }
    core.forgetAdapters();
    const server = createServer((request, response) => this.#handler.handle(request, response));
    this.#server = server;
    server.keepAliveTimeout = core.options.keepAliveTimeoutMs;
    server.requestTimeout = 0;
    // Newer Node versions wait a second longer than they are told unless this is 0.
    Object.assign(server, { keepAliveTimeoutBuffer: 0 });
    server.on("connection", (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
    });
    if (core.options.readyDelayMs > 0) await this.#waitUntilReady();
    // Stopped while it was waiting.
    if (this.#server !== server) return;
    try {
      for (const [index, rank] of core.ranks.entries()) {
        const channel = this.#sideChannels[index] as SideChannelServer;
        rank.sideChannelPort = await channel.listen(core.options.host, rank.sideChannelPort);
      }
      if (core.options.kvConnector === "MooncakeConnector") {
        this.#bootstrapPort = await this.#bootstrap.listen(core.options.host, this.#bootstrapPort);
      }
      await new Promise<void>((resolve, reject) => {
        server.once("error", reject);
        server.listen(this.#port, core.options.host, 1024, resolve);
      });
    } catch (error) {
      await this.#shutDown(false);
      throw error;
    }
    this.#port = (server.address() as AddressInfo).port;
  }

  /** Ends everything at once, as vLLM does on SIGTERM, and resolves when every socket is closed. */
  async stop(): Promise<void> {
    await this.#shutDown(false);
  }

  /**
   * The process is killed: every connection is reset, new ones are refused, pinned KV is lost. Resolves when the
   * port is free.
   */
  async crash(): Promise<void> {
    await this.#shutDown(true);
  }

  /** Starts again on the same port with a new engine id, as after a pod was restarted. Crashes first if need be. */
  async restart(): Promise<void> {
    await this.crash();
    await this.start();
  }

  /** Adds a rule to the fault plan. @throws RangeError when a number of the rule is out of range */
  injectFault(rule: FaultRule): void {
    this.#core.faults.add(rule);
  }

  /** Nothing goes wrong any more, for requests that come from now on. */
  clearFaults(): void {
    this.#core.faults.clear();
  }

  /** Forgets the requests so far. */
  clearRequests(): void {
    this.#core.journal.clear();
  }

  /** Resolves when so many requests, counted since the engine was made, were read and begun with. */
  async received(count: number): Promise<void> {
    await this.#core.journal.received(count);
  }

  /** Resolves when no request is in progress. */
  async idle(): Promise<void> {
    await this.#core.journal.idle();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #nextEngineId(): string {
    const { engineId } = this.#core.options;
    const boot = this.#boots++;
    if (engineId !== undefined) return boot === 0 ? engineId : `${engineId}-${boot}`;
    const digits = this.#core.random.id();
    return [8, 12, 16, 20, 32].map((end, part, ends) => digits.slice(ends[part - 1] ?? 0, end)).join("-");
  }

  async #waitUntilReady(): Promise<void> {
    const { clock, options } = this.#core;
    if (this.#port === 0) this.#port = await freePort(options.host);
    await new Promise<void>((resolve) => {
      const timer = clock.setTimer(resolve, options.readyDelayMs, { keepAlive: true });
      this.#cancelReady = () => {
        timer.cancel();
        resolve();
      };
    });
    this.#cancelReady = undefined;
  }

  /** EngineCore died: what runs is answered with an error; then the process exits. */
  #die(): void {
    const core = this.#core;
    if (core.dead) return;
    // All ranks are one server: one that dies takes the others along.
    for (const rank of core.ranks) {
      rank.dead = true;
      for (const generation of rank.generations) generation.fail(engineDeadError());
      rank.ledger.lose();
    }
    if (core.options.keepAliveOnEngineDeath) return;
    this.#server?.close();
    // The error answers were handed to the sockets in this turn; they are flushed by the next.
    setImmediate(() => void this.#shutDown(false));
  }

  async #shutDown(reset: boolean): Promise<void> {
    const core = this.#core;
    const server = this.#server;
    this.#server = undefined;
    this.#cancelReady?.();
    for (const rank of core.ranks) {
      for (const generation of rank.generations) generation.abort();
      rank.ledger.lose();
      rank.kvFetcher.close();
      rank.kvFetcher = rank.newKvFetcher();
    }
    const closed = [...this.#sideChannels.map((channel) => channel.close()), this.#bootstrap.close()];
    for (const socket of this.#sockets) {
      closed.push(new Promise((resolve) => socket.once("close", () => resolve())));
      if (reset) socket.resetAndDestroy();
      else socket.destroy();
    }
    if (server?.listening === true) closed.push(new Promise((resolve) => server.close(() => resolve())));
    await Promise.all(closed);
  }
}

/** A port that was free a moment ago. */
async function freePort(host: string): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise<void>((resolve) => server.close(() => resolve()));
  return port;
}
