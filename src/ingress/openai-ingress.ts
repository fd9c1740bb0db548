import type { HttpRequest, HttpResponse } from "../adapters/http-exchange.ts";
import { noRouteHeader } from "../adapters/node-handler.ts";
import type { LLMConfig } from "../config/llm-config.ts";
import { ConfigurationError } from "../errors/configuration-error.ts";
import { RequestError } from "../errors/request-error.ts";
import type { GenerateMethod } from "../kv-transfer/kv-connector.ts";
import { LLMHandle } from "../llm/llm-handle.ts";
import type { LLMRequest } from "../llm/llm-request.ts";
import type { LLMResponse } from "../llm/llm-response.ts";
import type { LLMServerProtocol } from "../llm/llm-server-protocol.ts";
import { modelCard, type ServedModelCard } from "../llm/model-card.ts";
import type { BeginRequest } from "../serve/application.ts";
import type { DeploymentContext, DeploymentInstance, DeploymentStatusDetails } from "../serve/deployment-context.ts";
import type { DeploymentInit } from "../serve/deployment.ts";
import { headersToForward, refuseInternalHeaders } from "./client-field-policy.ts";
import { eventStreamResponse } from "./event-stream-response.ts";
import { type ParsedBody, parseGenerationBody } from "./generation-request.ts";
import { errorResponse, jsonResponse, withHeaders } from "./json-response.ts";
import { clientRequestId } from "./request-id.ts";
import { defaultRoutes, type RouteMap, RouteTable } from "./routes.ts";

/** Arguments of {@link OpenAiIngress}. */
export interface OpenAiIngressArguments {
  /** The models to serve: deployments, or deployments by model id. */
  readonly llmDeployments: readonly LLMServerProtocol[] | Readonly<Record<string, LLMServerProtocol>>;
  /** Largest request body in bytes; more is answered with 413. @default 33554432 (32 MiB) */
  readonly maxBodyBytes?: number | undefined;
  /** Milliseconds a client may take to send its body; more is answered with 408. @default 60000 */
  readonly bodyTimeoutMs?: number | undefined;
}

/** An HTTP request on its way through the ingress. */
export interface IngressRequest extends HttpRequest {
  /** The rest of the path, for routes that end in `{model}`. */
  readonly parameter: string | undefined;
  /** The client's id for it, or ours. */
  readonly requestId: string;
}

type RouteHandler = (request: IngressRequest) => HttpResponse | Promise<HttpResponse>;

/**
 * OpenAI HTTP in, OpenAI HTTP out. Mirrors Ray's `OpenAiIngress`.
 *
 * Subclass it to add routes or hooks: a route is a method, and `makeIngress` says where it is served.
 */
export class OpenAiIngress implements DeploymentInstance {
  /** Where the methods of this class are served. */
  static readonly routes: RouteMap = defaultRoutes;

  protected readonly context: DeploymentContext;
  readonly #models: ReadonlyMap<string, LLMServerProtocol>;
  readonly #cards: readonly ServedModelCard[];
  readonly #table: RouteTable;
  readonly #maxBodyBytes: number;
  readonly #bodyTimeoutMs: number;

  /** Options for `serve.deployment(IngressClass).options(...)`. Mirrors Ray's `OpenAiIngress.get_deployment_options`. */
  static getDeploymentOptions(llmConfigs: readonly LLMConfig[]): DeploymentInit {
    const toZero = llmConfigs.length > 0 && llmConfigs.every(({ deploymentConfig }) => deploymentConfig.autoscalingConfig?.minReplicas === 0);
    return {
      maxOngoingRequests: 1_000_000_000,
      autoscalingConfig: { targetOngoingRequests: 1_000_000_000, ...(toZero ? { minReplicas: 0 } : {}) },
    };
  }

  constructor(args: OpenAiIngressArguments, context: DeploymentContext) {
    this.context = context;
    this.#models = modelsById(args.llmDeployments);
    this.#maxBodyBytes = args.maxBodyBytes ?? 32 * 1024 * 1024;
    this.#bodyTimeoutMs = args.bodyTimeoutMs ?? 60_000;
    this.#table = new RouteTable((this.constructor as typeof OpenAiIngress).routes);
    const createdS = Math.floor(context.clock.wallNow() / 1000);
    this.#cards = [...this.#models.values()].map((server) => modelCard(server.llmConfig, createdS));
  }

  /** Answers one HTTP request. Never rejects: errors are answers. */
  async handle(request: HttpRequest): Promise<HttpResponse> {
    const requestId = clientRequestId(request.header("x-request-id")) ?? this.context.random.id();
    let response: HttpResponse;
    try {
      response = await this.#route(request, requestId);
    } catch (error) {
      response = errorResponse(error);
    }
    return withHeaders(response, [["x-request-id", requestId]]);
  }

  /** `POST /v1/chat/completions` */
  chat(request: IngressRequest): Promise<HttpResponse> {
    return this.#generate(request, "chat");
  }

  /** `POST /v1/completions` */
  completions(request: IngressRequest): Promise<HttpResponse> {
    return this.#generate(request, "completions");
  }

  /** `GET /v1/models` */
  models(_request: IngressRequest): HttpResponse {
    return jsonResponse({ data: this.#cards, object: "list" });
  }

  /** `GET /v1/models/{model}` */
  modelData(request: IngressRequest): HttpResponse {
    const id = request.parameter ?? "";
    // Ray reads `--` as `/`, for clients that can't send a slash within a path.
    const card = this.#cards.find((candidate) => candidate.id === id || candidate.id === id.replaceAll("--", "/"));
    if (card !== undefined) return jsonResponse(card);
    throw new RequestError(`Unable to find ${id}. Please ensure that the model exists and you have permission.`, {
      status: 404,
      code: "model_not_found",
      param: "model",
    });
  }

  /** `GET /health`: 200 with an empty body, as vLLM; 503 when a model can't be served. */
  health(_request: IngressRequest): HttpResponse {
    for (const server of this.#models.values()) server.checkHealth();
    return { status: 200, headers: [], body: undefined };
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
    return new LLMHandle({
      begin,
      random: this.context.random,
      parse: (body, method) => parseGenerationBody(body, method),
      serverFor: (model) => this.serverFor(model),
    });
  }

  /**
   * The deployment of a model; without a name that of the only model.
   *
   * @throws RequestError 404 for an unknown model, 400 when none was named and there are several
   */
  protected serverFor(model: string | undefined): LLMServerProtocol {
    const names = [...this.#models.keys()];
    if (model === undefined) {
      const only = names.length === 1 ? this.#models.get(names[0]!) : undefined;
      if (only !== undefined) return only;
      throw new RequestError(
        "Model parameter is required when multiple models are configured. " +
          `Available models: [${names.map((name) => `'${name}'`).join(", ")}]`,
        { param: "model", code: "missing_field" },
      );
    }
    const server = this.#models.get(model) ?? this.#models.get(model.split(":", 1)[0]!);
    if (server !== undefined) return server;
    const shown = JSON.stringify(model);
    throw new RequestError(`Got request for model ${shown}. Could not find base model with ID ${shown}.`, {
      status: 404,
      code: "model_not_found",
      param: "model",
    });
  }

  async #route(request: HttpRequest, requestId: string): Promise<HttpResponse> {
    const match = this.#table.match(request.method, request.path);
    if (match.kind === "no-route") {
      const error = new RequestError(`Unknown route: ${request.method} ${request.path}`, {
        status: 404,
        code: "unknown_route",
      });
      return withHeaders(errorResponse(error), [[noRouteHeader, "1"]]);
    }
    if (match.kind === "wrong-method") {
      const allowed = match.allowed.join(", ");
      const error = new RequestError(`${request.path} does not accept ${request.method}; use ${allowed}.`, {
        status: 405,
        code: "method_not_allowed",
      });
      return withHeaders(errorResponse(error), [["allow", allowed]]);
    }
    const handler = (this as unknown as Record<string, RouteHandler>)[match.handler]!;
    const ingressRequest: IngressRequest = { ...request, parameter: match.parameter, requestId };
    return handler.call(this, ingressRequest);
  }

  async #generate(request: IngressRequest, method: GenerateMethod): Promise<HttpResponse> {
    refuseInternalHeaders(request);
    const bytes = await request.readBody({
      maxBytes: this.#maxBodyBytes,
      timeoutMs: this.#bodyTimeoutMs,
      clock: this.context.clock,
    });
    const parsed = parseGenerationBody(bytes, method);
    const server = this.serverFor(parsed.model);
    request.cancel.throwIfCancelled();
    return toHttpResponse(await server[method](toLLMRequest(request, method, parsed, server)));
  }
}

function toLLMRequest(
  request: IngressRequest,
  method: GenerateMethod,
  parsed: ParsedBody,
  server: LLMServerProtocol,
): LLMRequest {
  return {
    method,
    body: parsed.body,
    modelId: parsed.model ?? server.llmConfig.modelId,
    stream: parsed.stream,
    requestId: request.requestId,
    sessionId: request.header("x-session-id"),
    priority: parsed.priority,
    expectedChoices: parsed.expectedChoices,
    forwardHeaders: headersToForward(request),
    cancel: request.cancel,
  };
}

function toHttpResponse(response: LLMResponse): HttpResponse {
  if (response.kind === "stream") return eventStreamResponse(response.source);
  const { status, contentType, body } = response;
  return { status, headers: [["content-type", contentType], ["x-content-type-options", "nosniff"]], body };
}

function modelsById(deployments: OpenAiIngressArguments["llmDeployments"]): ReadonlyMap<string, LLMServerProtocol> {
  const entries = Array.isArray(deployments)
    ? (deployments as readonly LLMServerProtocol[]).map((server) => [server.llmConfig.modelId, server] as const)
    : Object.entries(deployments as Readonly<Record<string, LLMServerProtocol>>);
  const models = new Map(entries);
  if (models.size !== entries.length) {
    throw invalid("Duplicate models found. Make sure model ids are unique.");
  }
  if (models.size === 0) throw invalid("List of models is empty.");
  return models;
}

function invalid(message: string): ConfigurationError {
  return new ConfigurationError("OpenAiIngress", [{ path: ["llmDeployments"], message, type: "value_error" }]);
}
