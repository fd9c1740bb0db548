import type {
  ConnectorRequest,
  GenerateMethod,
  PeerMetadata,
  RequestEdits,
} from "../kv-transfer/kv-connector.ts";
import type { JsonObjectIndex } from "../protocol/json-object-index.ts";
import { spliceJsonObject } from "../protocol/json-splice.ts";
import type { EngineHttpRequest } from "../replicas/endpoint-client.ts";
import { enginePath, type LLMRequest } from "./llm-request.ts";

/** A request as connectors see it: fields parsed one at a time, on demand. */
export class ConnectorRequestView implements ConnectorRequest {
  readonly method: GenerateMethod;
  readonly requestId: string;
  readonly decodePeer: PeerMetadata | undefined;
  readonly #body: JsonObjectIndex;

  constructor(request: LLMRequest, requestId: string, decodePeer: PeerMetadata | undefined) {
    this.method = request.method;
    this.requestId = requestId;
    this.decodePeer = decodePeer;
    this.#body = request.body;
  }

  has(field: string): boolean {
    return this.#body.has(field);
  }

  get(field: string): unknown {
    return this.#body.value(field);
  }
}

/** The HTTP request of one leg: the client's bytes with the connector's edits spliced in. */
export function legRequest(
  request: LLMRequest,
  requestId: string,
  edits: RequestEdits,
  phase: "prefill" | "decode",
): EngineHttpRequest {
  const headers = ["content-type", "application/json", "x-request-id", edits.requestId ?? requestId];
  for (const text of request.forwardHeaders) headers.push(text);
  if (edits.headers !== undefined) {
    for (const [name, value] of Object.entries(edits.headers)) headers.push(name, value);
  }
  return {
    method: "POST",
    path: enginePath(request.method),
    headers,
    body: spliceJsonObject(request.body, edits),
    phase,
  };
}
