import type { BodyLimits } from "../adapters/http-exchange.ts";
import type { Clock } from "../internal/clock.ts";
import type { GenerateMethod } from "../kv-transfer/kv-connector.ts";
import type { ForwardRequest } from "../llm/forward-request.ts";
import type { LLMRequest } from "../llm/llm-request.ts";
import { headersToForward, refuseInternalHeaders } from "./client-field-policy.ts";
import { type ForwardedContent, noContent, readForwardedContent } from "./forwarded-content.ts";
import { type ParsedBody, parseGenerationBody, type RequestLimits } from "./generation-request.ts";
import type { IngressOptions } from "./ingress-options.ts";
import type { IngressRequest } from "./ingress-request.ts";
import { JsonBodyScan } from "./json-body.ts";
import type { MediaPolicy } from "./media-policy.ts";
import { readRequestBody } from "./request-body.ts";
import type { SessionKeyReader } from "./session-key.ts";

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
  async generation(request: IngressRequest, method: GenerateMethod): Promise<ParsedBody> {
    refuseInternalHeaders(request);
    const scan = new JsonBodyScan();
    const bytes = await readRequestBody(request, "json", this.#bodyLimits, (arrived) =>
      scan.advance(arrived),
    );
    return parseGenerationBody(bytes, method, this.#requestLimits, scan, this.#media);
  }

  /** @throws RequestError for a header, a type or a body that is not accepted */
  async forwarded(request: IngressRequest): Promise<ForwardedContent> {
    refuseInternalHeaders(request);
    const rules = request.route.body;
    if (rules === undefined) return noContent;
    const scan = rules.kind === "json" ? new JsonBodyScan() : undefined;
    const onProgress = scan === undefined ? undefined : (arrived: Uint8Array) => scan.advance(arrived);
    const bytes = await readRequestBody(request, rules.kind, this.#bodyLimits, onProgress);
    return readForwardedContent(bytes, request.header("content-type") ?? "", rules, scan, this.#media);
  }

  /** The bytes of a JSON body; none when there is none. @throws RequestError 413, 415 or 408 */
  async json(request: IngressRequest): Promise<Uint8Array> {
    return await readRequestBody(request, "json", this.#bodyLimits);
  }

  /**
   * The call of a deployment that a request comes to.
   *
   * @param defaultModelId for a client that named no model
   */
  generationCall(
    request: IngressRequest,
    method: GenerateMethod,
    parsed: ParsedBody,
    defaultModelId: string,
  ): LLMRequest {
    return {
      method,
      body: parsed.body,
      modelId: parsed.model ?? defaultModelId,
      stream: parsed.stream,
      requestId: request.requestId,
      sessionId: this.#sessionKey(request, parsed.body),
      priority: parsed.priority,
      expectedChoices: parsed.expectedChoices,
      forwardHeaders: headersToForward(request),
      cancel: request.cancel,
      onTrace: request.onTrace,
    };
  }

  /** The same for a request that goes to an engine as it came. */
  forwardCall(request: IngressRequest, content: ForwardedContent, defaultModelId: string): ForwardRequest {
    const { route, path, query } = request;
    return {
      method: "forward",
      httpMethod: route.method,
      path: query === "" ? path : `${path}?${query}`,
      contentType: content.contentType,
      body: content.bytes,
      stream: content.stream,
      streamEnds: route.streamEnds,
      priority: content.priority,
      modelId: content.model ?? defaultModelId,
      requestId: request.requestId,
      sessionId: this.#sessionKey(request, undefined),
      forwardHeaders: headersToForward(request),
      cancel: request.cancel,
      onTrace: request.onTrace,
    };
  }
}
