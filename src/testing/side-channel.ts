import { createConnection, createServer, type AddressInfo, type Server, type Socket } from "node:net";

import type { KvClaim, KvLedger, KvRefusal } from "./kv-ledger.ts";

/** One line on the wire, decode to prefill. */
type SideChannelMessage =
  | { readonly id: number; readonly op: "pull"; readonly claim: KvClaim }
  | { readonly id: number; readonly op: "pull_when_pinned"; readonly claim: KvClaim }
  | { readonly id: number; readonly op: "release"; readonly requestId: string }
  | { readonly id: number; readonly op: "heartbeat"; readonly requestId: string };

interface SideChannelReply {
  readonly id: number;
  readonly refusal: KvRefusal | null;
}

/** Why a fetch did not succeed; `unreachable`: nobody answers at the handle's address. */
export type PullRefusal = KvRefusal | "unreachable";

/** Calls `onLine` for each complete line a socket brings. */
function readLines(socket: Socket, onLine: (line: string) => void): void {
  let rest = "";
  socket.setEncoding("utf8");
  socket.on("data", (chunk: string) => {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) onLine(line);
  });
}

/**
 * Where an engine hands over the KV it pinned: the mock's stand-in for NIXL's handshake port. One JSON object a
 * line in each direction, so it works between processes as well.
 */
export class SideChannelServer {
  readonly #ledger: KvLedger;
  readonly #engineId: () => string;
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;

  /** @param engineId the id of the engine as it is now; it changes with a restart */
  constructor(ledger: KvLedger, engineId: () => string) {
    this.#ledger = ledger;
    this.#engineId = engineId;
  }

  /** Listens; resolves with the port. */
  async listen(host: string, port: number): Promise<number> {
    const server = createServer((socket) => {
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
      socket.on("error", () => socket.destroy());
      readLines(socket, (line) => {
        this.#take(JSON.parse(line) as SideChannelMessage, (reply) =>
          socket.write(`${JSON.stringify(reply)}\n`),
        );
      });
    });
    this.#server = server;
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(port, host, resolve);
    });
    return (server.address() as AddressInfo).port;
  }

  /** Drops every connection and stops listening. */
  async close(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    for (const socket of this.#sockets) socket.destroy();
    if (server !== undefined) await new Promise<void>((resolve) => server.close(() => resolve()));
  }

  #take(message: SideChannelMessage, answer: (reply: SideChannelReply) => void): void {
    switch (message.op) {
      case "pull":
        answer(this.#consume(message.id, message.claim));
        return;
      case "pull_when_pinned":
        this.#ledger.whenPinned(message.claim.requestId ?? "", () => {
          answer(this.#consume(message.id, message.claim));
        });
        return;
      case "release":
        this.#ledger.release(message.requestId);
        return;
      case "heartbeat":
        this.#ledger.heartbeat(message.requestId);
        return;
    }
  }

  #consume(id: number, claim: KvClaim): SideChannelReply {
    return { id, refusal: this.#ledger.consume(this.#engineId(), claim) ?? null };
  }
}

interface PeerConnection {
  readonly socket: Socket;
  readonly waiting: Map<number, (refusal: PullRefusal | undefined) => void>;
}

/** How a decode engine reaches the engines that prefilled for it; one connection for each, kept open. */
export class SideChannelClient {
  readonly #peers = new Map<string, PeerConnection>();
  #nextId = 1;

  /** Fetches KV. Calls `onDone` once, with undefined when it was had. */
  pull(host: string, port: number, claim: KvClaim, onDone: (refusal: PullRefusal | undefined) => void): void {
    const peer = this.#connect(host, port);
    const id = this.#nextId++;
    peer.waiting.set(id, onDone);
    this.#send(peer, { id, op: "pull", claim });
  }

  /** Fetches KV that may not be computed yet: the answer comes when it is. */
  pullWhenPinned(
    host: string,
    port: number,
    claim: KvClaim,
    onDone: (refusal: PullRefusal | undefined) => void,
  ): void {
    const peer = this.#connect(host, port);
    const id = this.#nextId++;
    peer.waiting.set(id, onDone);
    this.#send(peer, { id, op: "pull_when_pinned", claim });
  }

  /** Tells the issuing engine that its KV will not be fetched (vLLM's notification for rejected requests). */
  release(host: string, port: number, requestId: string): void {
    this.#send(this.#connect(host, port), { id: 0, op: "release", requestId });
  }

  /** Tells the issuing engine to keep its KV a while longer. */
  heartbeat(host: string, port: number, requestId: string): void {
    this.#send(this.#connect(host, port), { id: 0, op: "heartbeat", requestId });
  }

  /** Drops every connection; fetches in progress end as `unreachable`. */
  close(): void {
    for (const peer of this.#peers.values()) peer.socket.destroy();
  }

  #send(peer: PeerConnection, message: SideChannelMessage): void {
    peer.socket.write(`${JSON.stringify(message)}\n`);
  }

  #connect(host: string, port: number): PeerConnection {
    const key = `${host}:${port}`;
    const known = this.#peers.get(key);
    if (known !== undefined) return known;
    const socket = createConnection({ host, port, noDelay: true });
    const peer: PeerConnection = { socket, waiting: new Map() };
    this.#peers.set(key, peer);
    readLines(socket, (line) => {
      const reply = JSON.parse(line) as SideChannelReply;
      const onDone = peer.waiting.get(reply.id);
      peer.waiting.delete(reply.id);
      onDone?.(reply.refusal ?? undefined);
    });
    socket.on("error", () => socket.destroy());
    socket.on("close", () => {
      if (this.#peers.get(key) === peer) this.#peers.delete(key);
      const waiting = [...peer.waiting.values()];
      peer.waiting.clear();
      for (const onDone of waiting) onDone("unreachable");
    });
    return peer;
  }
}
