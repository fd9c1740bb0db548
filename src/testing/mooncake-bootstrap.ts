import { createServer, request, type Server } from "node:http";
import type { AddressInfo } from "node:net";

/** Tells mock engines that ask from proxies. */
const engineHeader = "x-mock-engine";

/** Where a prefill engine's KV can be fetched. */
export interface WorkerAddress {
  readonly engineId: string;
  readonly host: string;
  readonly port: number;
}

/**
 * The bootstrap server of a prefill engine with `MooncakeConnector`: `GET /query` tells proxies the engine's id,
 * and decode engines where to fetch.
 */
export class MooncakeBootstrap {
  readonly #self: () => WorkerAddress;
  #server: Server | undefined;
  /** Times it was asked, by proxies and by decode engines. */
  readonly queries = { proxy: 0, engine: 0 };

  /** @param self the engine as it is now */
  constructor(self: () => WorkerAddress) {
    this.#self = self;
  }

  /** Listens; resolves with the port. */
  async listen(host: string, port: number): Promise<number> {
    const server = createServer((incoming, response) => {
      const known = incoming.method === "GET" && incoming.url === "/query";
      if (known) this.queries[incoming.headers[engineHeader] === undefined ? "proxy" : "engine"] += 1;
      const worker = this.#self();
      const address = `tcp://${worker.host}:${worker.port}`;
      const body = known
        ? { "0": { engine_id: worker.engineId, worker_addr: { "0": { "0": address } } } }
        : { detail: "Not Found" };
      response.writeHead(known ? 200 : 404, { "content-type": "application/json" });
      response.end(JSON.stringify(body));
    });
    this.#server = server;
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(port, host, resolve);
    });
    return (server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined) return;
    server.closeAllConnections();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  }
}

/** Asks a bootstrap server, as decode does. Calls `onDone` once; undefined: nobody sensible answered. */
export function queryBootstrap(address: string, onDone: (worker: WorkerAddress | undefined) => void): void {
  let url: URL;
  try {
    url = new URL("/query", address);
  } catch {
    onDone(undefined);
    return;
  }
  const outgoing = request(url, { agent: false, headers: { [engineHeader]: "1" } }, (response) => {
    let text = "";
    response.setEncoding("utf8");
    response.on("data", (chunk: string) => (text += chunk));
    response.on("end", () => onDone(parseWorker(text)));
  });
  outgoing.on("error", () => onDone(undefined));
  outgoing.end();
}

function parseWorker(text: string): WorkerAddress | undefined {
  const engineId = /"engine_id":"([^"]+)"/.exec(text)?.[1];
  const address = /"tcp:\/\/([^"]+):(\d+)"/.exec(text);
  if (engineId === undefined || address?.[1] === undefined) return undefined;
  return { engineId, host: address[1], port: Number(address[2]) };
}
