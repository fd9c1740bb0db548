import { createServer, request, type Server } from "node:http";
import type { AddressInfo } from "node:net";

/** Tells mock engines that ask from proxies. */
const engineHeader = "x-mock-engine";

/** Where a prefill engine's KV can be fetched, one for each data-parallel rank. */
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
  readonly #self: () => ReadonlyMap<number, WorkerAddress>;
  #server: Server | undefined;
  /** Times it was asked, by proxies and by decode engines. */
  readonly queries = { proxy: 0, engine: 0 };

  /** @param self the engine as it is now, by rank */
  constructor(self: () => ReadonlyMap<number, WorkerAddress>) {
    this.#self = self;
  }

  /** Listens; resolves with the port. */
  async listen(host: string, port: number): Promise<number> {
    const server = createServer((incoming, response) => {
      const known = incoming.method === "GET" && incoming.url === "/query";
      if (known) this.queries[incoming.headers[engineHeader] === undefined ? "proxy" : "engine"] += 1;
      const ranks = Array.from(this.#self(), ([rank, { engineId, host, port }]) => [
        rank,
        { engine_id: engineId, worker_addr: { "0": { "0": `tcp://${host}:${port}` } } },
      ]);
      const body = known ? (Object.fromEntries(ranks) as object) : { detail: "Not Found" };
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

/**
 * Asks a bootstrap server for one engine, as decode does. Calls `onDone` once; undefined: nobody sensible answered.
 * With an id that it does not know it is given the first engine, whose own id then tells that it is another one.
 */
export function queryBootstrap(
  address: string,
  engineId: string | undefined,
  onDone: (worker: WorkerAddress | undefined) => void,
): void {
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
    response.on("end", () => onDone(parseWorker(text, engineId)));
  });
  outgoing.on("error", () => onDone(undefined));
  outgoing.end();
}

function parseWorker(text: string, wanted: string | undefined): WorkerAddress | undefined {
  const pattern = /"engine_id":"([^"]+)","worker_addr":\{"0":\{"0":"tcp:\/\/([^"]+):(\d+)"/g;
  const workers = Array.from(text.matchAll(pattern), ([, engineId = "", host = "", port]) => ({
    engineId,
    host,
    port: Number(port),
  }));
  return workers.find(({ engineId }) => engineId === wanted) ?? workers[0];
}
