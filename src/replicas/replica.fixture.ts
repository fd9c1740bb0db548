import { createServer, type IncomingMessage, type RequestListener, type Server } from "node:http";
import type { AddressInfo, Socket } from "node:net";

import { type ClientConfigInit, clientConfigSchema } from "../config/client-config.ts";
import type { Endpoint } from "../config/endpoint.ts";
import { parseConfig } from "../config/parse-config.ts";
import type { Clock } from "../internal/clock.ts";
import { FakeClock } from "../testing/fake-clock.ts";
import { type OutlierDetectionOptions, defaultOutlierDetection } from "./replica-health.ts";
import { ReplicaSet, type ReplicaSetObserver } from "./replica-set.ts";
import { Replica, type ReplicaObserver } from "./replica.ts";

/** A client's configuration with defaults. */
export function clientConfig(init: ClientConfigInit = {}): ReturnType<typeof clientConfigSchema.parse> {
  return parseConfig(clientConfigSchema, init, "client");
}

/** An address where nobody listens; for tests in which nothing is sent. */
export const nobody = "http://127.0.0.1:9";

const deaf: ReplicaObserver = { onAvailabilityChange: () => undefined, onSlotFree: () => undefined };

/** One replica of deployment "D". */
export function makeReplica(options: {
  readonly url?: string;
  readonly endpoint?: Partial<Endpoint>;
  readonly clock?: Clock;
  readonly maxOngoingRequests?: number;
  readonly observer?: Partial<ReplicaObserver>;
  readonly outlierDetection?: Partial<OutlierDetectionOptions>;
}): Replica {
  const endpoint = { url: options.url ?? nobody, ...options.endpoint };
  return new Replica({
    id: endpoint.name ?? "r",
    deployment: "D",
    endpoint,
    client: clientConfig(),
    maxOngoingRequests: options.maxOngoingRequests ?? 5,
    outlierDetection: { ...defaultOutlierDetection, ...options.outlierDetection },
    clock: options.clock ?? new FakeClock(),
    observer: { ...deaf, ...options.observer },
  });
}

/** A set for deployment "D", empty. */
export function makeReplicaSet(options: {
  readonly clock?: Clock;
  readonly maxOngoingRequests?: number;
  readonly observer?: Partial<ReplicaSetObserver>;
}): ReplicaSet {
  return new ReplicaSet({
    deployment: "D",
    client: clientConfig(),
    maxOngoingRequests: options.maxOngoingRequests ?? 5,
    outlierDetection: defaultOutlierDetection,
    clock: options.clock ?? new FakeClock(),
    observer: {
      onReplicasChange: (available) => options.observer?.onReplicasChange?.(available),
      onSlotFree: () => options.observer?.onSlotFree?.(),
      onEngineRestart: (replica, previous) => options.observer?.onEngineRestart?.(replica, previous),
      onDrainTimeout: (replica, limitMs) => options.observer?.onDrainTimeout?.(replica, limitMs),
    },
  });
}

/** An HTTP server on loopback that tells how many connections it has and had. */
export class LoopbackServer {
  readonly sockets = new Set<Socket>();
  readonly server: Server;
  /** Connections there were. */
  connections = 0;
  /** Of those, how many are closed. */
  closed = 0;
  #onChange: (() => void)[] = [];

  constructor(listener: RequestListener) {
    this.server = createServer(listener);
    this.server.on("connection", (socket: Socket) => {
      this.sockets.add(socket);
      this.connections += 1;
      socket.on("error", () => undefined);
      socket.on("close", () => {
        this.sockets.delete(socket);
        this.closed += 1;
        this.#notify();
      });
      this.#notify();
    });
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async listen(): Promise<this> {
    await new Promise<void>((resolve) => this.server.listen(0, "127.0.0.1", resolve));
    return this;
  }

  /** Resolves when so many connections are open. */
  async untilSockets(count: number): Promise<void> {
    while (this.sockets.size !== count) await this.#change();
  }

  /** Resolves when so many connections were closed. */
  async untilClosed(count: number): Promise<void> {
    while (this.closed < count) await this.#change();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await new Promise<void>((resolve) => this.server.close(() => resolve()));
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#onChange.push(resolve));
  }

  #notify(): void {
    const waiting = this.#onChange;
    this.#onChange = [];
    for (const resolve of waiting) resolve();
  }
}

/** The whole body of a request, as a server gets it. */
export async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
