import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { KubeConfig } from "@kubernetes/client-node";

type Json = Readonly<Record<string, unknown>>;

/** A request the server got. */
export interface ApiRequest {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

/** As much of an API server as discovery and scaling need: lists, watches, scales, pods; and what goes wrong with them. */
export class FakeKubernetes {
  readonly requests: ApiRequest[] = [];
  readonly slices = new Map<string, Json>();
  readonly pods = new Map<string, Json>();
  readonly scales = new Map<string, number>();
  /** Statuses that the next requests whose path contains the key get instead, oldest first. */
  readonly failures = new Map<string, number[]>();
  version = 100;
  readonly #watches = new Set<ServerResponse>();
  readonly #server: Server;
  #waiting: (() => void)[] = [];

  constructor() {
    this.#server = createServer((request, response) => void this.#answer(request, response));
  }

  async start(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  /** A kubeconfig with a token, for the namespace `llm`. */
  get kubeConfig(): KubeConfig {
    const config = new KubeConfig();
    const { port } = this.#server.address() as AddressInfo;
    config.loadFromOptions({
      clusters: [{ name: "c", server: `http://127.0.0.1:${port}`, skipTLSVerify: true }],
      users: [{ name: "u", token: "secret-token" }],
      contexts: [{ name: "x", cluster: "c", user: "u", namespace: "llm" }],
      currentContext: "x",
    });
    return config;
  }

  get watches(): number {
    return this.#watches.size;
  }

  /** Changes a slice and tells all watches. */
  setSlice(name: string, slice: Json | undefined): void {
    this.version += 1;
    const known = this.slices.has(name);
    const object = {
      ...(slice ?? this.slices.get(name)),
      metadata: { name, resourceVersion: String(this.version) },
    };
    if (slice === undefined) this.slices.delete(name);
    else this.slices.set(name, object);
    this.send({ type: slice === undefined ? "DELETED" : known ? "MODIFIED" : "ADDED", object });
  }

  /** Sends an event, or any text, to every watch. */
  send(event: unknown): void {
    for (const watch of this.#watches) {
      watch.write(typeof event === "string" ? event : `${JSON.stringify(event)}\n`);
    }
  }

  /** Ends every watch, as after its timeout, or by cutting the connection. */
  endWatches(how: "end" | "cut"): void {
    for (const watch of this.#watches) {
      if (how === "end") watch.end();
      else watch.socket?.resetAndDestroy();
    }
    this.#watches.clear();
  }

  /** Resolves when it holds; looked at after every request. */
  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  /** Requests whose path ends so; `watch` for watches. */
  count(kind: "list" | "watch"): number {
    return this.requests.filter(
      ({ path, query }) => path.endsWith("/endpointslices") && query.has("watch") === (kind === "watch"),
    ).length;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", "http://api");
    const body = await text(request);
    const { method = "GET", headers } = request;
    this.requests.push({ method, path: url.pathname, query: url.searchParams, headers, body });
    this.#route(method, url, body, response);
    for (const wake of this.#waiting.splice(0)) wake();
  }

  #route(method: string, url: URL, body: string, response: ServerResponse): void {
    const isWatch = url.searchParams.has("watch");
    for (const [part, statuses] of this.failures) {
      if (!`${url.pathname}${isWatch ? "?watch" : ""}`.includes(part) || statuses.length === 0) continue;
      return this.#json(response, statuses.shift()!, { kind: "Status", message: "as the test wants it" });
    }
    if (url.pathname.endsWith("/endpointslices")) {
      if (isWatch) {
        response.writeHead(200, { "content-type": "application/json" });
        response.flushHeaders();
        this.#watches.add(response);
        response.on("close", () => this.#watches.delete(response));
        return;
      }
      const metadata = { resourceVersion: String(this.version) };
      return this.#json(response, 200, { metadata, items: [...this.slices.values()] });
    }
    if (url.pathname.endsWith("/scale")) return this.#scale(method, url.pathname, body, response);
    const pod = /\/pods\/([^/]+)$/.exec(url.pathname)?.[1];
    if (url.pathname.endsWith("/pods")) return this.#json(response, 200, { items: [...this.pods.values()] });
    const found = pod === undefined ? undefined : this.pods.get(pod);
    if (found === undefined) return this.#json(response, 404, { message: "not found" });
    this.#json(response, 200, found);
  }

  #scale(method: string, path: string, body: string, response: ServerResponse): void {
    const replicas = this.scales.get(path);
    if (replicas === undefined) return this.#json(response, 404, { message: "not found" });
    if (method === "PATCH") {
      this.scales.set(path, (JSON.parse(body) as { spec: { replicas: number } }).spec.replicas);
    }
    this.#json(response, 200, {
      spec: { replicas: this.scales.get(path) },
      status: { replicas, selector: "app=vllm" },
    });
  }

  #json(response: ServerResponse, status: number, body: unknown): void {
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  }
}

/** An EndpointSlice with a port named `http`. */
export function slice(
  endpoints: readonly {
    readonly ip: string;
    readonly pod?: string;
    readonly conditions?: Json;
    readonly zone?: string;
  }[],
): Json {
  return {
    addressType: "IPv4",
    ports: [
      { name: "http", port: 8000 },
      { name: "nixl", port: 20_000 },
    ],
    endpoints: endpoints.map(({ ip, pod, conditions, zone }) => ({
      addresses: [ip],
      conditions: conditions ?? { ready: true, serving: true, terminating: false },
      ...(zone === undefined ? {} : { zone }),
      ...(pod === undefined ? {} : { targetRef: { kind: "Pod", name: pod, uid: `uid-${pod}` } }),
    })),
  };
}
