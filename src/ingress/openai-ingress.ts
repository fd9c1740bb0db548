import type { HttpRequest, HttpResponse } from "../adapters/http-exchange.ts";
import { readEnvironment } from "../config/environment.ts";
import type { LLMConfig } from "../config/llm-config.ts";
import { ingressDeploymentOptions } from "../config/server-options.ts";
import type { GenerateMethod } from "../kv-transfer/kv-connector.ts";
import type { LLMHandle } from "../llm/llm-handle.ts";
import type { LLMServerProtocol } from "../llm/llm-server-protocol.ts";
import type { BeginRequest } from "../serve/application-part.ts";
import type {
  DeploymentContext,
  DeploymentInstance,
  DeploymentStatusDetails,
} from "../serve/deployment-context.ts";
import type { DeploymentInit } from "../serve/deployment.ts";
import { AdminCalls, adminRoutes, withoutUnguarded } from "./admin-calls.ts";
import { CorsPolicy } from "./cors-policy.ts";
import { engineAnswer } from "./engine-answer.ts";
import type { RequestLimits } from "./generation-request.ts";
import { type OpenAiIngressArguments, readIngressOptions } from "./ingress-options.ts";
import { type IngressRequest, RoutedRequest } from "./ingress-request.ts";
import { errorResponse, jsonResponse } from "./json-response.ts";
import { MediaPolicy } from "./media-policy.ts";
import { metricsRoute } from "./metrics-route.ts";
import { ModelCatalog } from "./model-catalog.ts";
import { modelHandle } from "./model-handle.ts";
import { clientRequestId } from "./request-id.ts";
import { RequestReader } from "./request-reader.ts";
import { routeHeader } from "./route-header.ts";
import { defaultRoutes, type RouteMap, type RouteMatch, RouteTable } from "./routes.ts";
import { sessionKeyReader, type SessionKeyReader } from "./session-key.ts";
import { unservedAnswer } from "./unserved-answer.ts";

type RouteHandler = (request: IngressRequest) => HttpResponse | Promise<HttpResponse>;

/**
 * OpenAI HTTP in, OpenAI HTTP out. Mirrors Ray's `OpenAiIngress`.
 *
 * Subclass it to add routes or hooks: a route is a method of its name, and `makeIngress` says where it is served.
 * Routes that go to `decode` need no method; one that is there is called instead.
 */
export class OpenAiIngress implements DeploymentInstance {
  /** Deployments are named after their classes, also when a bundler has renamed them. */
  static readonly name: string = "OpenAiIngress";

  /** Where the methods of this class are served. */
  static readonly routes: RouteMap = defaultRoutes;

  protected readonly context: DeploymentContext;
  readonly #models: ModelCatalog;
  readonly #table: RouteTable;
  readonly #cors: CorsPolicy | undefined;
  readonly #reader: RequestReader;
  readonly #media: MediaPolicy;
  readonly #requestLimits: RequestLimits | undefined;
  readonly #admin: AdminCalls | undefined;
  readonly #routeHeader: boolean;
  readonly #sessionKey: SessionKeyReader;

  /** Options for `serve.deployment(IngressClass).options(...)`. Mirrors Ray's `OpenAiIngress.get_deployment_options`. */
  static getDeploymentOptions(llmConfigs: readonly LLMConfig[]): DeploymentInit {
    return ingressDeploymentOptions(llmConfigs, readEnvironment().deploymentDefaults) as DeploymentInit;
  }

  /** @throws ConfigurationError when the models, the routes, `cors`, `admin` or `metricsPath` are not usable */
  constructor(args: OpenAiIngressArguments, context: DeploymentContext) {
    this.context = context;
    const options = readIngressOptions(args, context.warn);
    this.#models = new ModelCatalog(args.llmDeployments, options.listLoraAdapters, context);
    this.#sessionKey = sessionKeyReader(options, readEnvironment().sessionIdHeader);
    this.#requestLimits = options.limits;
    this.#media = new MediaPolicy(options.mediaHosts);
    this.#reader = new RequestReader(
      { ...options, media: this.#media, sessionKey: this.#sessionKey },
      context,
    );
    this.#cors = options.cors === undefined ? undefined : new CorsPolicy(options.cors);
    this.#routeHeader = options.routeHeader;
    const { routes } = this.constructor as typeof OpenAiIngress;
    this.#admin = options.admin === undefined ? undefined : new AdminCalls(options.admin, context.clock);
    this.#table = new RouteTable({
      ...(this.#admin === undefined ? withoutUnguarded(routes) : { ...adminRoutes, ...routes }),
      ...(options.metricsPath === undefined ? {} : { metrics: metricsRoute(options.metricsPath) }),
    });
    if (options.metricsPath !== undefined) context.metrics?.enable();
  }

  /** Answers one HTTP request. Never rejects: errors are answers. */
  async handle(request: HttpRequest): Promise<HttpResponse> {
    const requestId = clientRequestId(request.header("x-request-id")) ?? this.context.random.id();
    const match = this.#table.match(request.method, request.path);
    let routed: RoutedRequest | undefined;
    let response: HttpResponse;
    try {
      if (match.kind === "match") {
        routed = new RoutedRequest(request, match, requestId, this.#routeHeader);
        response = await this.#answer(routed, match.name);
      } else {
        response = this.#unserved(request, match);
      }
    } catch (error) {
      response = errorResponse(error);
    }
    const headers = [...response.headers, ["x-request-id", requestId] as const];
    const trace = routed?.trace;
    if (trace !== undefined) headers.push(["x-serve-llm-route", routeHeader(trace)]);
    if (this.#cors !== undefined) headers.push(...this.#cors.headersFor(request));
    return {
      status: response.status,
      headers,
      body: response.body,
      unserved: response.unserved,
      route: match.kind === "match" ? match.path : undefined,
      lastWords: response.lastWords,
    };
  }

  /** `POST /v1/chat/completions` */
  chat(request: IngressRequest): Promise<HttpResponse> {
    return this.#generate(request, "chat");
  }

  /** `POST /v1/completions` */
  completions(request: IngressRequest): Promise<HttpResponse> {
    return this.#generate(request, "completions");
  }

  /** Routes that go to `decode`: the request goes to an engine, and its answer to the client, as they come. */
  async forward(request: IngressRequest): Promise<HttpResponse> {
    const content = await this.#reader.forwarded(request);
    const server = this.serverFor(content.model);
    request.cancel.throwIfCancelled();
    const call = this.#reader.forwardCall(request, content, server.llmConfig.modelId);
    return engineAnswer(await server.forward(call), request.route);
  }

  /** `GET /v1/models` */
  async models(_request: IngressRequest): Promise<HttpResponse> {
    return jsonResponse({ data: await this.#models.list(), object: "list" });
  }

  /** `GET /v1/models/{model}` */
  async modelData(request: IngressRequest): Promise<HttpResponse> {
    return jsonResponse(await this.#models.card(request.parameter ?? ""));
  }

  /** `GET /health`: 200 with an empty body, as vLLM; 503 when a model can't be served. */
  health(_request: IngressRequest): HttpResponse {
    for (const server of this.#models.servers) server.checkHealth();
    return { status: 200, headers: [], body: undefined };
  }

  /** `metricsPath`: the application's metrics in Prometheus' text format. */
  async metrics(_request: IngressRequest): Promise<HttpResponse> {
    const page = await this.context.metrics?.page();
    if (page === undefined) throw new TypeError("Metrics are an application's; this ingress is in none.");
    return { status: 200, headers: [["content-type", page.contentType]], body: Buffer.from(page.text) };
  }

  status(): DeploymentStatusDetails {
    return {
      status: "HEALTHY",
      statusTrigger: "CONFIG_UPDATE_COMPLETED",
      message: "",
      replicaStates: { RUNNING: 1 },
      queued: 0,
      replicas: [],
    };
  }

  /** @internal The in-process handle of the application. */
  createHandle(begin: BeginRequest): LLMHandle {
    const { routes } = this.constructor as typeof OpenAiIngress;
    return modelHandle({
      begin,
      context: this.context,
      models: this.#models,
      serverFor: (model) => this.serverFor(model),
      limits: this.#requestLimits,
      media: this.#media,
      sessionKey: this.#sessionKey,
      routes,
    });
  }

  /**
   * Called for every request that has a route, before its body is read. Override it to let in or refuse: whatever it
   * throws is the answer, for example `new RequestError("Invalid API key.", { status: 401, code: "invalid_api_key" })`.
   */
  protected admit(_request: IngressRequest): void | Promise<void> {}

  /**
   * The deployment of a model; without a name that of the only model.
   *
   * @throws RequestError 404 for an unknown model, 400 when none was named and there are several
   */
  protected serverFor(model: string | undefined): LLMServerProtocol {
    return this.#models.serverFor(model);
  }

  /** Answers a request that has no route. */
  #unserved(request: HttpRequest, match: Exclude<RouteMatch, { kind: "match" }>): HttpResponse {
    const methods = match.kind === "wrong-method" ? match.allowed : [];
    return (
      (methods.length > 0 ? this.#cors?.preflight(request, methods) : undefined) ??
      unservedAnswer(request, match)
    );
  }

  /** @param name of the route */
  #answer(request: RoutedRequest, name: string): HttpResponse | Promise<HttpResponse> {
    const admitted = this.admit(request);
    return admitted === undefined
      ? this.#dispatch(request, name)
      : // A subclass in JavaScript may return anything.
        Promise.resolve(admitted).then(() => this.#dispatch(request, name));
  }

  #dispatch(request: RoutedRequest, name: string): HttpResponse | Promise<HttpResponse> {
    const handler = (this as unknown as Readonly<Record<string, RouteHandler | undefined>>)[name];
    if (handler !== undefined) return handler.call(this, request);
    return request.route.goesTo === "every-engine" ? this.#administer(request) : this.forward(request);
  }

  async #generate(request: IngressRequest, method: GenerateMethod): Promise<HttpResponse> {
    const parsed = await this.#reader.generation(request, method);
    const server = this.serverFor(parsed.model);
    request.cancel.throwIfCancelled();
    const call = this.#reader.generationCall(request, method, parsed, server.llmConfig.modelId);
    return engineAnswer(await server[method](call), request.route);
  }

  #administer(request: IngressRequest): Promise<HttpResponse> {
    return this.#admin!.answer(
      request,
      () => this.#reader.json(request),
      (model) => this.serverFor(model),
    );
  }
}
