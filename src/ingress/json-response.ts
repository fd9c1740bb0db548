import type { HttpResponse } from "../adapters/http-exchange.ts";
import { toOpenAIError } from "../protocol/openai-error.ts";

const json: readonly [string, string] = ["content-type", "application/json"];
const noSniff: readonly [string, string] = ["x-content-type-options", "nosniff"];

/** An answer with a JSON body. */
export function jsonResponse(value: unknown, status = 200): HttpResponse {
  return { status, headers: [json, noSniff], body: Buffer.from(JSON.stringify(value)) };
}

/** Any error as an answer in OpenAI's shape. */
export function errorResponse(error: unknown): HttpResponse {
  const { status, headers, body } = toOpenAIError(error);
  return { status, headers: [json, noSniff, ...headers], body: Buffer.from(JSON.stringify(body)) };
}

/** The same answer with more headers. */
export function withHeaders(response: HttpResponse, headers: HttpResponse["headers"]): HttpResponse {
  return { ...response, headers: [...response.headers, ...headers] };
}
