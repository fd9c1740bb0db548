import type { HttpRequest } from "../adapters/http-exchange.ts";
import { CancelToken } from "../internal/cancel-token.ts";
import { LLMHandle, type LLMHandleInit } from "../llm/llm-handle.ts";
import type { BeginRequest } from "../serve/application-part.ts";
import type { DeploymentContext } from "../serve/deployment-context.ts";
import { encodeBody, readForwardedContent } from "./forwarded-content.ts";
import { parseGenerationBody, type RequestLimits } from "./generation-request.ts";
import type { ModelCatalog } from "./model-catalog.ts";
import type { MediaPolicy } from "./media-policy.ts";
import { defaultRoutes, type Route, type RouteMap } from "./routes.ts";
import type { SessionKeyReader } from "./session-key.ts";

/** What a handle of models is made from. */
export interface ModelHandleInit {
  readonly begin: BeginRequest;
  readonly context: Pick<DeploymentContext, "clock" | "random">;
  readonly models: ModelCatalog;
  /** @default that of the models */
  readonly serverFor?: LLMHandleInit["serverFor"] | undefined;
  /** @default no limits */
  readonly limits?: RequestLimits | undefined;
  /** Says which URLs engines may be told to fetch. @default all */
  readonly media?: MediaPolicy | undefined;
  /** Finds session keys in bodies. @default only `sessionId` of a call counts */
  readonly sessionKey?: SessionKeyReader | undefined;
  /** Rules and paths of what is forwarded. @default those of the ingress */
  readonly routes?: RouteMap | undefined;
}

/** The in-process handle of some models: bodies are read by the rules of their routes, as over HTTP. */
export function modelHandle({ begin, context, models, limits, media, ...init }: ModelHandleInit): LLMHandle {
  const routes: RouteMap = { ...defaultRoutes, ...init.routes };
  return new LLMHandle({
    begin,
    clock: context.clock,
    random: context.random,
    readGeneration: (body, method) => {
      const bytes = Buffer.from(JSON.stringify(body));
      const read = parseGenerationBody(bytes, method, limits, undefined, media);
      const { path } = (routes[method] ?? defaultRoutes[method]) as Route;
      return { ...read, sessionId: init.sessionKey?.(callAsRequest(firstOf(path)), read.body) };
    },
    readForwarded: async (body, name) => {
      const { method, path, streamEnds, body: rules } = (routes[name] ?? defaultRoutes[name]) as Route;
      const { bytes, contentType } = await encodeBody(body, rules?.kind ?? "json");
      const content =
        rules === undefined
          ? { model: undefined, stream: false, priority: 0, bytes, contentType }
          : await readForwardedContent(bytes, contentType, rules, undefined, media);
      return {
        httpMethod: method,
        path: firstOf(path),
        model: content.model,
        stream: content.stream,
        priority: content.priority,
        contentType: content.contentType,
        body: content.bytes,
        streamEnds,
      };
    },
    serverFor: init.serverFor ?? ((model) => models.serverFor(model)),
    listModels: () => models.list(),
    modelCard: (id) => models.card(id),
  });
}

/** A call without HTTP, for functions of the user's that look at requests. */
function callAsRequest(path: string): HttpRequest {
  return {
    method: "POST",
    path,
    query: "",
    header: () => undefined,
    headerNames: () => [],
    readBody: () => Promise.resolve(new Uint8Array()),
    cancel: new CancelToken(),
  };
}

function firstOf(path: Route["path"]): string {
  return typeof path === "string" ? path : path[0]!;
}
