import type { BodyLimits } from "../adapters/http-exchange.ts";
import type { Clock } from "../internal/clock.ts";
import type { GenerateMethod } from "../kv-transfer/kv-connector.ts";
import type { ForwardRequest } from "../llm/forward-request.ts";
import type { LLMRequest } from "../llm/llm-request.ts";
import type { JsonObjectIndex } from "../protocol/json-object-index.ts";
import { headersToForward, refuseInternalHeaders } from "./client-field-policy.ts";
import { type ForwardedContent, noContent, readForwardedContent } from "./forwarded-content.ts";
import { parseGenerationBody, type RequestLimits } from "./generation-request.ts";
import type { IngressOptions } from "./ingress-options.ts";
import type { IngressRequest } from "./ingress-request.ts";
import { JsonBodyScan } from "./json-body.ts";
import type { MediaPolicy } from "./media-policy.ts";
import { readRequestBody } from "./request-body.ts";
import type { SessionKeyReader } from "./session-key.ts";

/** What a call to a deployment has from the HTTP request beside its body. */
export type CallFields = Pick<
  ForwardRequest,
  "modelId" | "requestId" | "sessionId" | "forwardHeaders" | "cancel" | "onTrace"
>;

/** A request whose body was read; `model` as the client named it. */
export interface ReadRequest<Content> {
  readonly model: string | undefined;
  readonly content: Content;
}

/** What clients may send, and where their sessions come from. */
export interface RequestRules extends Pick<IngressOptions, "maxBodyBytes" | "bodyTimeoutMs" | "limits"> {
  readonly media: MediaPolicy;
  readonly sessionKey: SessionKeyReader;
}

/** Reads what clients send by the rules of an ingress, and refuses what they may not. */
export class RequestReader {
  readonly #bodyLimits: BodyLimits;
  readonly #requestLimits: RequestLimits | undefined;
  readonly #media: MediaPolicy;
  readonly #sessionKey: SessionKeyReader;

  constructor(
    rules: RequestRules,
    { clock, warn }: { readonly clock: Clock; readonly warn: (message: string) => void },
  ) {
    this.#bodyLimits = { maxBytes: rules.maxBodyBytes, timeoutMs: rules.bodyTimeoutMs, clock, warn };
    this.#requestLimits = rules.limits;
    this.#media = rules.media;
    this.#sessionKey = rules.sessionKey;
  }

  /** @throws RequestError for a header, a type or a body that is not accepted */
  async generation(
    request: IngressRequest,
    method: GenerateMethod,
  ): Promise<ReadRequest<Omit<LLMRequest, keyof CallFields>>> {
    refuseInternalHeaders(request);
    const scan = new JsonBodyScan();
    const bytes = await readRequestBody(request, "json", this.#bodyLimits, (arrived) =>
      scan.advance(arrived),
    );
    const { model, ...parsed } = parseGenerationBody(bytes, method, this.#requestLimits, scan, this.#media);
    return { model, content: { method, ...parsed } };
  }

  /** @throws RequestError for a header, a type or a body that is not accepted */
  async forwarded(request: IngressRequest): Promise<ReadRequest<Omit<ForwardRequest, keyof CallFields>>> {
    refuseInternalHeaders(request);
    const { model, contentType, bytes, stream, priority } = await this.#content(request);
    const { route, path, query } = request;
    return {
      model,
      content: {
        method: "forward",
        httpMethod: route.method,
        path: query === "" ? path : `${path}?${query}`,
        contentType,
        body: bytes,
        stream,
        streamEnds: route.streamEnds,
        priority,
      },
    };
  }

  /** The bytes of a JSON body; none when there is none. @throws RequestError 413, 415 or 408 */
  json(request: IngressRequest): Promise<Uint8Array> {
    return readRequestBody(request, "json", this.#bodyLimits);
  }

  callFields(request: IngressRequest, modelId: string, body?: JsonObjectIndex): CallFields {
    return {
      modelId,
      requestId: request.requestId,
      sessionId: this.#sessionKey(request, body),
      forwardHeaders: headersToForward(request),
      cancel: request.cancel,
      onTrace: request.onTrace,
    };
  }

  async #content(request: IngressRequest): Promise<ForwardedContent> {
    const rules = request.route.body;
    if (rules === undefined) return noContent;
    const scan = new JsonBodyScan();
    const onProgress = rules.kind === "json" ? (arrived: Uint8Array) => scan.advance(arrived) : undefined;
    const bytes = await readRequestBody(request, rules.kind, this.#bodyLimits, onProgress);
    return readForwardedContent(bytes, request.header("content-type") ?? "", rules, scan, this.#media);
  }
}
