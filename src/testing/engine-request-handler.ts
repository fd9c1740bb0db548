import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";

import { AnswerWriter } from "./answer-writer.ts";
import type { EngineCore } from "./engine-core.ts";
import { EngineRefusal } from "./engine-refusal.ts";
import { engineRoutes } from "./engine-routes.ts";
import { isArrivalFault, type ArrivalFault, type Fault } from "./fault-plan.ts";
import { generate, phaseOfRequest, readRank } from "./generate-route.ts";
import type { JournalEntry } from "./request-journal.ts";
import type { GenerateKind, RequestBody } from "./request-fields.ts";

const generatingRoutes: Readonly<Record<string, GenerateKind>> = {
  "/v1/chat/completions": "chat",
  "/v1/completions": "completions",
};
const guardedPath = /^\/(v1|v2|inference|cohere)/;

interface Connection {
  readonly number: number;
  requests: number;
}

/** Takes the requests of one engine's server: journal, faults, authorisation, route. */
export class EngineRequestHandler {
  readonly #core: EngineCore;
  readonly #connections = new WeakMap<Socket, Connection>();
  #connectionCount = 0;

  /** @param core that of the first rank, when there are several */
  constructor(core: EngineCore) {
    this.#core = core;
  }

  /** A request came in; for `http.Server`'s `request` event. */
  handle(request: IncomingMessage, response: ServerResponse): void {
    const core = this.#core;
    const connection = this.#connectionOf(request.socket);
    const [path = "/", query = ""] = (request.url ?? "/").split("?", 2);
    const entry: JournalEntry = {
      method: request.method ?? "GET",
      path,
      query,
      headers: request.headers,
      connection: connection.number,
      arrivedAt: core.clock.now(),
      bodyText: "",
      body: undefined,
      phase: undefined,
      status: undefined,
      finishedAt: undefined,
      abortedAt: undefined,
      bytes: 0,
      tokens: 0,
      fault: undefined,
    };
    core.journal.open(entry);
    const requestId = request.headers["x-request-id"];
    const echoed = core.options.requestIdHeaders
      ? { "x-request-id": String(requestId ?? core.random.id()) }
      : {};
    const writer = new AnswerWriter(request, response, entry, echoed);
    let onLeave: (() => void) | undefined;
    let left = false;
    response.on("close", () => {
      left = true;
      if (response.writableFinished) entry.finishedAt = core.clock.now();
      else if (!writer.cut) entry.abortedAt = core.clock.now();
      onLeave?.();
      core.journal.close();
    });
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("error", () => response.destroy());
    request.on("end", () => {
      entry.bodyText =
        chunks.length === 1 ? (chunks[0] as Buffer).toString() : Buffer.concat(chunks).toString();
      entry.body = parseJson(entry.bodyText);
      const kind = generatingRoutes[path];
      const rank = rankOf(core, entry.headers["x-data-parallel-rank"]);
      if (kind !== undefined && entry.method === "POST") entry.phase = phaseOfRequest(rank, entry);
      const fault = core.faults.next(path, entry.phase, connection.requests > 1);
      writer.fault = fault;
      const proceed = (): void => {
        if (!left) onLeave = this.#route(rank, writer, kind, fault);
      };
      const strikes =
        fault !== undefined &&
        isArrivalFault(fault) &&
        this.#strike(writer, fault, proceed, (cancel) => (onLeave = cancel));
      if (!strikes) proceed();
      core.journal.markReceived();
    });
  }

  /** Faults that come before the engine does anything. True: the request is dealt with, or `proceed` comes later. */
  #strike(
    writer: AnswerWriter,
    fault: ArrivalFault,
    proceed: () => void,
    onLeave: (cancel: () => void) => void,
  ): boolean {
    switch (fault.kind) {
      case "resetAtByte":
        if (fault.byte > 0) return false;
        writer.reset();
        return true;
      case "closeOnReuse":
        writer.hangUp();
        return true;
      case "halfOpen":
        writer.freeze();
        return true;
      case "stallBeforeHeaders": {
        if (fault.forMs === undefined) return true;
        const timer = this.#core.clock.setTimer(proceed, fault.forMs, { keepAlive: true });
        onLeave(() => timer.cancel());
        return true;
      }
      case "status": {
        const type = fault.status === 503 ? "ServiceUnavailableError" : "InternalServerError";
        const standard = new EngineRefusal(fault.status, type, `Injected status ${fault.status}`).body();
        const { body } = fault;
        const retry = fault.retryAfterS === undefined ? {} : { "retry-after": String(fault.retryAfterS) };
        const text = body === undefined ? standard : typeof body === "string" ? body : JSON.stringify(body);
        const contentType = typeof body === "string" ? "text/plain; charset=utf-8" : "application/json";
        writer.answer(fault.status, contentType, text, { ...retry, ...fault.headers });
        return true;
      }
      case "redirect":
        writer.answer(fault.status ?? 307, undefined, "", { location: fault.location });
        return true;
      case "emptyBody":
        writer.json(200, "");
        return true;
      case "errorIn200":
        writer.json(
          200,
          fault.body === undefined
            ? new EngineRefusal(500, "InternalServerError", "Internal server error").body()
            : JSON.stringify(fault.body),
        );
        return true;
    }
    return false;
  }

  #route(
    core: EngineCore,
    writer: AnswerWriter,
    kind: GenerateKind | undefined,
    fault: Fault | undefined,
  ): (() => void) | undefined {
    const { path, method, headers, body, query } = writer.entry;
    if (core.options.apiKey !== undefined && method !== "OPTIONS" && guardedPath.test(path)) {
      const [scheme, key] = splitOnce(headers.authorization ?? "");
      if (scheme.toLowerCase() !== "bearer" || key !== core.options.apiKey) {
        writer.json(401, '{"error":"Unauthorized"}');
        return undefined;
      }
    }
    const methods = kind === undefined ? engineRoutes[path] : undefined;
    if (kind === undefined && methods === undefined) {
      writer.json(404, '{"detail":"Not Found"}');
      return undefined;
    }
    if (kind !== undefined && method === "POST") return generate(core, kind, writer, body, fault);
    const route = methods?.[method];
    if (route === undefined) {
      const allow = kind === undefined ? Object.keys(methods ?? {}).join(", ") : "POST";
      writer.json(405, '{"detail":"Method Not Allowed"}', { allow });
      return undefined;
    }
    const fields =
      typeof body === "object" && body !== null && !Array.isArray(body) ? (body as RequestBody) : {};
    try {
      route(core, writer, fields, new URLSearchParams(query));
    } catch (error) {
      if (!(error instanceof EngineRefusal)) throw error;
      writer.json(error.status, error.body());
    }
    return undefined;
  }

  #connectionOf(socket: Socket): Connection {
    let connection = this.#connections.get(socket);
    if (connection === undefined) {
      connection = { number: ++this.#connectionCount, requests: 0 };
      this.#connections.set(socket, connection);
    }
    connection.requests++;
    return connection;
  }
}

/**
 * The rank a request is for: the one it names, or the one with the least to do, as vLLM's internal load balancing
 * has it. One that does not exist is refused later, by rank 0.
 */
function rankOf(first: EngineCore, header: string | string[] | undefined): EngineCore {
  if (first.ranks.length === 1) return first;
  const named = readRank(header);
  if (named !== undefined) return first.ranks[named] ?? first;
  const load = ({ load: { running, waiting } }: EngineCore): number => running + 4 * waiting;
  return first.ranks.reduce((best, rank) => (load(rank) < load(best) ? rank : best));
}

function parseJson(text: string): unknown {
  if (text === "") return undefined;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

function splitOnce(text: string): readonly [string, string] {
  const space = text.indexOf(" ");
  return space < 0 ? [text, ""] : [text.slice(0, space), text.slice(space + 1)];
}
