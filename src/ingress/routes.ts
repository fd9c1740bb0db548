import { ConfigurationError, type ConfigIssue } from "../errors/configuration-error.ts";
import { formRules, type FormRules, jsonRules, type JsonRules } from "./body-rules.ts";
import type { FailureFormat } from "./stream-failure.ts";

/** Where a request of a route goes. */
export type RouteTarget =
  /** Answered by the method of the ingress class that has the route's name. */
  | "here"
  /** The same method, which hands it to prefill and decode. */
  | "prefill-decode"
  /** To a decode engine as it came (to the model's own engines without disaggregation). */
  | "decode"
  /** To every engine of the model, prefill and decode, when the ingress has `admin` and its guard agrees. */
  | "every-engine";

/** Where a method of an ingress class is served, or which requests go to an engine as they come. */
export interface Route {
  readonly method: "GET" | "POST";
  /** Exact paths; one may end in `{model}`, which takes the rest of the path, slashes included. */
  readonly path: string | readonly string[];
  /** @default "here" */
  readonly goesTo?: RouteTarget | undefined;
  /** What the body must be; undefined when there is none, or the method reads it itself. */
  readonly body?: JsonRules | FormRules | undefined;
  /**
   * For streams that go through as they come: names of events, or `[DONE]`, one of which a whole stream ends with.
   * Without it any clean end of the stream counts.
   */
  readonly streamEnds?: readonly string[] | undefined;
  /** How a client is told within a stream that it broke. @default "openai" */
  readonly failureFormat?: FailureFormat | undefined;
}

/** Routes by the name of their method. */
export type RouteMap = Readonly<Record<string, Route>>;

/**
 * The routes of {@link OpenAiIngress}. Read this table to know the API. Mirrors Ray's `DEFAULT_ENDPOINTS`, and adds
 * what clients of vLLM expect. Routes that administer engines (sleep, profile, reset) come with `admin`, from
 * `admin-calls.ts`.
 */
export const defaultRoutes = {
  models: { method: "GET", path: "/v1/models" },
  modelData: { method: "GET", path: "/v1/models/{model}" },
  health: { method: "GET", path: "/health" },

  chat: { method: "POST", path: "/v1/chat/completions", goesTo: "prefill-decode", body: jsonRules.chat },
  completions: {
    method: "POST",
    path: "/v1/completions",
    goesTo: "prefill-decode",
    body: jsonRules.completions,
  },

  embeddings: { method: "POST", path: "/v1/embeddings", goesTo: "decode", body: jsonRules.embeddings },
  score: { method: "POST", path: ["/v1/score", "/score"], goesTo: "decode", body: jsonRules.score },
  rerank: {
    method: "POST",
    path: ["/v1/rerank", "/rerank", "/v2/rerank"],
    goesTo: "decode",
    body: jsonRules.rerank,
  },
  tokenize: { method: "POST", path: "/tokenize", goesTo: "decode", body: jsonRules.tokenize },
  detokenize: { method: "POST", path: "/detokenize", goesTo: "decode", body: jsonRules.detokenize },
  transcriptions: {
    method: "POST",
    path: "/v1/audio/transcriptions",
    goesTo: "decode",
    body: formRules.audio,
    streamEnds: ["[DONE]"],
  },
  translations: {
    method: "POST",
    path: "/v1/audio/translations",
    goesTo: "decode",
    body: formRules.audio,
    streamEnds: ["[DONE]"],
  },
  responses: {
    method: "POST",
    path: "/v1/responses",
    goesTo: "decode",
    body: jsonRules.responses,
    streamEnds: ["response.completed", "response.incomplete", "response.failed", "response.cancelled"],
    failureFormat: "responses",
  },
  messages: {
    method: "POST",
    path: "/v1/messages",
    goesTo: "decode",
    body: jsonRules.messages,
    streamEnds: ["message_stop"],
    failureFormat: "anthropic",
  },
  countMessageTokens: {
    method: "POST",
    path: "/v1/messages/count_tokens",
    goesTo: "decode",
    body: jsonRules.messages,
  },
} as const satisfies RouteMap;

/** A route that serves a path and method. */
export interface MatchedRoute {
  readonly kind: "match";
  /** Name of the route. */
  readonly name: string;
  readonly route: Route;
  /** The path that matched, as it was declared. */
  readonly path: string;
  /** What `{model}` stands for. */
  readonly parameter: string | undefined;
}

/** What a path and method lead to. */
export type RouteMatch =
  | MatchedRoute
  | { readonly kind: "wrong-method"; readonly allowed: readonly string[] }
  | { readonly kind: "no-route" };

const parameterSuffix = "{model}";

/** Routes of one path by method, as matches without parameter. */
type Methods = Map<string, MatchedRoute>;

/** Looks paths up. Made once for each ingress. */
export class RouteTable {
  readonly #exact = new Map<string, Methods>();
  readonly #prefixes = new Map<string, Methods>();

  /** @throws ConfigurationError when two routes have one method and path */
  constructor(routes: RouteMap) {
    const issues: ConfigIssue[] = [];
    for (const [name, route] of Object.entries(routes)) {
      for (const path of typeof route.path === "string" ? [route.path] : route.path) {
        const isPrefix = path.endsWith(parameterSuffix);
        const table = isPrefix ? this.#prefixes : this.#exact;
        const key = isPrefix ? path.slice(0, -parameterSuffix.length) : path;
        const methods: Methods = table.get(key) ?? new Map();
        const other = methods.get(route.method)?.name;
        if (other !== undefined) {
          const message = `${route.method} ${path} is already served by "${other}"`;
          issues.push({ path: ["routes", name], message, type: "value_error" });
        }
        table.set(key, methods.set(route.method, { kind: "match", name, route, path, parameter: undefined }));
      }
    }
    if (issues.length > 0) throw new ConfigurationError("The routes of an ingress", issues);
  }

  /** @param path as it came: nothing is normalised, so that nothing can be smuggled past the table */
  match(method: string, path: string): RouteMatch {
    const exact = this.#exact.get(path);
    if (exact !== undefined) return matchOf(exact, method) ?? wrongMethod(exact);
    for (const [prefix, methods] of this.#prefixes) {
      if (!path.startsWith(prefix) || path.length === prefix.length) continue;
      const found = matchOf(methods, method);
      if (found === undefined) return wrongMethod(methods);
      return { ...found, parameter: decodePath(path.slice(prefix.length)) };
    }
    return { kind: "no-route" };
  }
}

function matchOf(methods: Methods, method: string): MatchedRoute | undefined {
  return methods.get(method) ?? (method === "HEAD" ? methods.get("GET") : undefined);
}

function wrongMethod(methods: Methods): RouteMatch {
  const allowed = [...methods.keys()];
  return { kind: "wrong-method", allowed: allowed.includes("GET") ? [...allowed, "HEAD"] : allowed };
}

function decodePath(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
