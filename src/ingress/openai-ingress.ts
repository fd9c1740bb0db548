import type { BodyLimits, HttpRequest, HttpResponse } from "../adapters/http-exchange.ts";
import { readEnvironment } from "../config/environment.ts";
import type { LLMConfig } from "../config/llm-config.ts";
import { ingressDeploymentOptions } from "../config/server-options.ts";
import { RequestError } from "../errors/request-error.ts";
import type { GenerateMethod } from "../kv-transfer/kv-connector.ts";
import type { ForwardRequest } from "../llm/forward-request.ts";
import type { LLMHandle } from "../llm/llm-handle.ts";
import type { LLMServerProtocol } from "../llm/llm-server-protocol.ts";
import type { ListLoraAdapters } from "../llm/lora-listing.ts";
import type { BeginRequest } from "../serve/application-part.ts";
import type { JsonObjectIndex } from "../protocol/json-object-index.ts";
import type { RequestTrace } from "../observability/request-trace.ts";
import type {
  DeploymentContext,
  DeploymentInstance,
  DeploymentStatusDetails,
} from "../serve/deployment-context.ts";
import type { DeploymentInit } from "../serve/deployment.ts";
import { headersToForward, refuseInternalHeaders } from "./client-field-policy.ts";
import { AdminCalls, type AdminOptions, adminRoutes, withoutUnguarded } from "./admin-calls.ts";
import { type CorsOptions, CorsPolicy } from "./cors-policy.ts";
import { engineAnswer } from "./engine-answer.ts";
import { type ForwardedContent, noContent, readForwardedContent } from "./forwarded-content.ts";
import { parseGenerationBody, type RequestLimits } from "./generation-request.ts";
import { JsonBodyScan } from "./json-body.ts";
import { readIngressOptions } from "./ingress-options.ts";
import { type MediaHosts, MediaPolicy } from "./media-policy.ts";
import { errorResponse, jsonResponse, withHeaders } from "./json-response.ts";
import { ModelCatalog, type ServedModels } from "./model-catalog.ts";
import { modelHandle } from "./model-handle.ts";
import { readRequestBody } from "./request-body.ts";
import { clientRequestId } from "./request-id.ts";
import { metricsRoute } from "./metrics-route.ts";
import { routeHeader } from "./route-header.ts";
import { sessionKeyReader, type SessionKeyOptions, type SessionKeyReader } from "./session-key.ts";
import { defaultRoutes, type Route, type RouteMap, type RouteMatch, RouteTable } from "./routes.ts";

/** Arguments of {@link OpenAiIngress}; all but the deployments are the builders' `ingressExtraKwargs`. */
export interface OpenAiIngressArguments extends SessionKeyOptions {
  /** The models to serve: deployments, or deployments by model id. */
  readonly llmDeployments: ServedModels;
  /** Largest request body in bytes; more is answered with 413. @default 33554432 (32 MiB) */
  readonly maxBodyBytes?: number | undefined;
  /** Milliseconds a client may take to send its body; more is answered with 408. @default 60000 */
  readonly bodyTimeoutMs?: number | undefined;
  /** What one request may ask for. @default no limits */
  readonly limits?: RequestLimits | undefined;
  /** Hosts from which engines may be told to fetch media. @default names that look public */
  readonly mediaHosts?: MediaHosts | undefined;
  /** Which web pages may call from a browser. @default none: no CORS header is sent */
  readonly cors?: CorsOptions | undefined;
  /** Finds the LoRA adapters that `GET /v1/models` shows. @default adapters are served but not listed */
  readonly listLoraAdapters?: ListLoraAdapters | undefined;
  /**
   * Path under which `GET` answers with the application's metrics, for example `/metrics`. Whoever reaches the ingress
   * reads them, unless `admit` refuses. @default not served
   */
  readonly metricsPath?: string | undefined;
  /**
   * Tells clients in `x-serve-llm-route` how a request was served: mode, reason, and names of replicas, never their
   * URLs. @default false
   */
  readonly routeHeader?: boolean | undefined;
  /**
   * Adds routes that go to every engine: `/sleep`, `/wake_up`, `/is_sleeping`, `/pause`, `/resume`, `/is_paused`,
   * `/reset_prefix_cache`, `/start_profile`, `/stop_profile`. @default none of them is served
   */
  readonly admin?: AdminOptions | undefined;
}

/** An HTTP request on its way through the ingress. */
export interface IngressRequest extends HttpRequest {
  /** The route that matched. */
  readonly route: Route;
  /** The rest of the path, for routes that end in `{model}`. */
  readonly parameter: string | undefined;
  /** Hears of the story of a request to a model as it begins. */
  readonly onTrace?: ((trace: RequestTrace) => void) | undefined;
  /** The client's id for it, or ours. */
  readonly requestId: string;
}

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
  readonly #bodyLimits: BodyLimits;
  readonly #requestLimits: RequestLimits | undefined;
  readonly #admin: AdminCalls | undefined;
  readonly #media: MediaPolicy;
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
    this.#bodyLimits = {
      maxBytes: options.maxBodyBytes,
      timeoutMs: options.bodyTimeoutMs,
      clock: context.clock,
      warn: context.warn,
    };
    this.#requestLimits = options.limits;
    this.#media = new MediaPolicy(options.mediaHosts);
    this.#cors = options.cors === undefined ? undefined : new CorsPolicy(options.cors);
    this.#routeHeader = options.routeHeader;
    this.#sessionKey = sessionKeyReader(options, readEnvironment().sessionIdHeader);
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
    let trace: RequestTrace | undefined;
    const onTrace = this.#routeHeader ? (begun: RequestTrace) => (trace = begun) : undefined;
    let response: HttpResponse;
    try {
      response = await this.#answer(request, match, requestId, onTrace);
    } catch (error) {
      response = errorResponse(error);
    }
    const headers: (readonly [string, string])[] = [["x-request-id", requestId]];
    if (trace !== undefined) headers.push(["x-serve-llm-route", routeHeader(trace)]);
    if (this.#cors !== undefined) headers.push(...this.#cors.headersFor(request));
    return { ...withHeaders(response, headers), route: match.kind === "match" ? match.path : undefined };
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
    refuseInternalHeaders(request);
    const content = await this.#readContent(request);
    const server = this.serverFor(content.model);
    request.cancel.throwIfCancelled();
    const { route, path, query } = request;
    const forwarded: ForwardRequest = {
      method: "forward",
      httpMethod: route.method,
      path: query === "" ? path : `${path}?${query}`,
      contentType: content.contentType,
      body: content.bytes,
      stream: content.stream,
      streamEnds: route.streamEnds,
      priority: content.priority,
      ...this.#callFields(request, content.model, server),
    };
    return engineAnswer(await server.forward(forwarded), route);
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

  async #answer(
    request: HttpRequest,
    match: RouteMatch,
    requestId: string,
    onTrace: IngressRequest["onTrace"],
  ): Promise<HttpResponse> {
    if (match.kind !== "match") {
      const methods = match.kind === "wrong-method" ? match.allowed : [];
      return (
        (methods.length > 0 ? this.#cors?.preflight(request, methods) : undefined) ?? unserved(request, match)
      );
    }
    const { name, route, parameter } = match;
    const ingressRequest: IngressRequest = { ...request, route, parameter, requestId, onTrace };
    const admitted = this.admit(ingressRequest);
    if (admitted !== undefined) await admitted;
    const handler = (this as unknown as Readonly<Record<string, RouteHandler | undefined>>)[name];
    if (handler !== undefined) return handler.call(this, ingressRequest);
    return route.goesTo === "every-engine" ? this.#administer(ingressRequest) : this.forward(ingressRequest);
  }

  async #generate(request: IngressRequest, method: GenerateMethod): Promise<HttpResponse> {
    refuseInternalHeaders(request);
    const scan = new JsonBodyScan();
    const bytes = await readRequestBody(request, "json", this.#bodyLimits, (arrived) =>
      scan.advance(arrived),
    );
    const { model, ...parsed } = parseGenerationBody(bytes, method, this.#requestLimits, scan, this.#media);
    const server = this.serverFor(model);
    request.cancel.throwIfCancelled();
    const response = await server[method]({
      method,
      ...parsed,
      ...this.#callFields(request, model, server, parsed.body),
    });
    return engineAnswer(response, request.route);
  }

  #administer(request: IngressRequest): Promise<HttpResponse> {
    return this.#admin!.answer(
      request,
      () => readRequestBody(request, "json", this.#bodyLimits),
      (model) => this.serverFor(model),
    );
  }

  #callFields(
    request: IngressRequest,
    model: string | undefined,
    server: LLMServerProtocol,
    body?: JsonObjectIndex,
  ): CallFields {
    return {
      modelId: model ?? server.llmConfig.modelId,
      requestId: request.requestId,
      sessionId: this.#sessionKey(request, body),
      forwardHeaders: headersToForward(request),
      cancel: request.cancel,
      onTrace: request.onTrace,
    };
  }

  async #readContent(request: IngressRequest): Promise<ForwardedContent> {
    const rules = request.route.body;
    if (rules === undefined) return noContent;
    const scan = new JsonBodyScan();
    const onProgress = rules.kind === "json" ? (arrived: Uint8Array) => scan.advance(arrived) : undefined;
    const bytes = await readRequestBody(request, rules.kind, this.#bodyLimits, onProgress);
    return readForwardedContent(bytes, request.header("content-type") ?? "", rules, scan, this.#media);
  }
}

type CallFields = Pick<
  ForwardRequest,
  "modelId" | "requestId" | "sessionId" | "forwardHeaders" | "cancel" | "onTrace"
>;

function unserved(request: HttpRequest, match: Exclude<RouteMatch, { kind: "match" }>): HttpResponse {
  const path = request.path.slice(0, 200);
  if (match.kind === "no-route") {
    const message = `Unknown route: ${request.method} ${path}`;
    const error = new RequestError(message, { status: 404, code: "unknown_route" });
    return { ...errorResponse(error), unserved: true };
  }
  const allowed = match.allowed.join(", ");
  const message = `${path} does not accept ${request.method}; use ${allowed}.`;
  const error = new RequestError(message, { status: 405, code: "method_not_allowed" });
  return withHeaders(errorResponse(error), [["allow", allowed]]);
}
