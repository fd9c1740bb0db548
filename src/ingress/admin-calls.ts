import { ConfigurationError, type ConfigIssue } from "../errors/configuration-error.ts";
import { RequestError } from "../errors/request-error.ts";
import { ServeLLMError } from "../errors/serve-llm-error.ts";
import type { HttpResponse } from "../adapters/http-exchange.ts";
import type { Clock } from "../internal/clock.ts";
import { commandEngines, type EngineCommandResult, engineCommands } from "../llm/engine-commands.ts";
import type { LLMServerProtocol } from "../llm/llm-server-protocol.ts";
import { toOpenAIError } from "../protocol/openai-error.ts";
import { type AdminSelection, readAdminSelection } from "./admin-selection.ts";
import { jsonResponse } from "./json-response.ts";
import type { IngressRequest } from "./ingress-request.ts";
import type { Route, RouteMap } from "./routes.ts";

/** Routes that administer engines, and who may use them. */
export interface AdminOptions {
  /**
   * Called for every request of such a route, before its body is read. False refuses it with 403; what it throws is the
   * answer.
   *
   * @example guard: (request) => request.header("authorization") === `Bearer ${process.env.ADMIN_KEY}`
   */
  readonly guard: (request: IngressRequest) => boolean | Promise<boolean>;
  /** Milliseconds an engine may take for one command, more than 0. @default 300000 */
  readonly timeoutMs?: number | undefined;
}

/** The routes that `admin` adds: vLLM's paths, and Ray's `/wakeup`. */
export const adminRoutes: RouteMap = Object.fromEntries(
  Object.entries(engineCommands).map(([name, { method, path }]): [string, Route] => [
    name,
    { method, path: name === "wakeUp" ? [path, "/wakeup"] : path, goesTo: "every-engine" },
  ]),
);

/** The routes of an ingress without `admin`. @throws ConfigurationError when one goes to every engine: nobody guards it */
export function withoutUnguarded(routes: RouteMap): RouteMap {
  const issues = Object.entries(routes).flatMap(([name, { goesTo }]): readonly ConfigIssue[] =>
    goesTo === "every-engine"
      ? [
          {
            path: ["routes", name],
            type: "value_error",
            message: "It goes to every engine, so the ingress needs `admin` with a guard",
          },
        ]
      : [],
  );
  if (issues.length > 0) throw new ConfigurationError("The ingress", issues);
  return routes;
}

/** Answers the requests of routes that go to every engine. */
export class AdminCalls {
  readonly #options: AdminOptions;
  readonly #clock: Clock;

  /** @throws ConfigurationError naming every bad option */
  constructor(options: AdminOptions, clock: Clock) {
    this.#options = checked(options);
    this.#clock = clock;
  }

  /**
   * Lets the guard judge, then sends the command to every engine of the chosen deployments and tells what each said.
   *
   * @param select finds the server of a model; without a name that of the only one
   */
  async answer(
    request: IngressRequest,
    readBody: () => Promise<Uint8Array>,
    select: (model: string | undefined) => LLMServerProtocol,
  ): Promise<HttpResponse> {
    const allowed: unknown = await this.#options.guard(request);
    if (allowed !== true) {
      throw new RequestError("This route is not open to you.", { status: 403, code: "admin_forbidden" });
    }
    const { method, path } = request.route;
    const selection = readAdminSelection(
      request.query,
      method === "GET" ? new Uint8Array() : await readBody(),
    );
    const results = await this.#send(request, selection, select);
    return answerOf(typeof path === "string" ? path : path[0]!, method, results);
  }

  #send(
    { route, cancel }: IngressRequest,
    { model, deployments, options }: AdminSelection,
    select: (model: string | undefined) => LLMServerProtocol,
  ): Promise<readonly EngineCommandResult[]> {
    const { enginePools = [] } = select(model);
    const path = typeof route.path === "string" ? route.path : route.path[0]!;
    return commandEngines(
      enginePools,
      { method: route.method, path },
      { deployments, options, timeoutMs: this.#options.timeoutMs },
      { clock: this.#clock, cancel },
    );
  }
}

/**
 * 200 when every engine carried it out; else an error beside what each engine said: the engines' own 4xx when all that
 * failed agree on it, and 502.
 */
function answerOf(path: string, method: string, results: readonly EngineCommandResult[]): HttpResponse {
  const failed = results.filter(({ ok }) => !ok);
  if (failed.length === 0) return jsonResponse({ ...(method === "GET" ? anyOf(results) : {}), results });
  const statuses = new Set(failed.map(({ status }) => status));
  const [status = null] = statuses;
  const isTheirs = statuses.size === 1 && status !== null && [400, 422].includes(status);
  const hint = statuses.has(404)
    ? " An engine that answers 404 has no such route: vLLM needs VLLM_SERVER_DEV_MODE=1, or a profiler that is configured."
    : "";
  const error = new ServeLLMError(
    `${failed.length} of ${results.length} engines did not carry out ${path}.${hint}`,
    { code: "engine_command_failed", status: isTheirs ? status : 502, type: "engine_error" },
  );
  return jsonResponse({ ...toOpenAIError(error).body, results }, error.status);
}

/** What at least one engine says yes to: Ray's reading of `is_sleeping` over replicas. */
function anyOf(results: readonly EngineCommandResult[]): Readonly<Record<string, boolean>> {
  const merged: Record<string, boolean> = {};
  for (const { body } of results) {
    if (typeof body !== "object" || body === null) continue;
    for (const [name, value] of Object.entries(body)) {
      if (typeof value === "boolean") merged[name] = merged[name] === true || value;
    }
  }
  return merged;
}

function checked(options: AdminOptions): AdminOptions {
  const issues: ConfigIssue[] = [];
  const given = (typeof options === "object" && options !== null ? options : {}) as Partial<AdminOptions>;
  if (typeof given.guard !== "function") {
    issues.push({
      path: ["admin", "guard"],
      type: given.guard === undefined ? "missing" : "value_error",
      message: "Routes that administer engines need a function that says who may use them",
      expected: "guard: (request) => boolean",
    });
  }
  const { timeoutMs } = given;
  if (timeoutMs !== undefined && !(typeof timeoutMs === "number" && timeoutMs > 0 && timeoutMs < 2 ** 31)) {
    issues.push({
      path: ["admin", "timeoutMs"],
      type: "value_error",
      message: "Should be milliseconds, more than 0",
      received: String(timeoutMs),
    });
  }
  if (issues.length > 0) throw new ConfigurationError("The ingress", issues);
  return options;
}
