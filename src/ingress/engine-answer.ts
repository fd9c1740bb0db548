import type { HttpResponse } from "../adapters/http-exchange.ts";
import type { LLMResponse } from "../llm/llm-response.ts";
import { eventStreamResponse } from "./event-stream-response.ts";
import type { Route } from "./routes.ts";

/** An engine's answer for the client. Of its headers only the content type gets there. */
export function engineAnswer(response: LLMResponse, route: Route): HttpResponse {
  if (response.kind === "stream")
    return eventStreamResponse(response.source, route.failureFormat ?? "openai");
  const { status, contentType, body } = response;
  return {
    status,
    headers: [
      ["content-type", contentType],
      ["x-content-type-options", "nosniff"],
    ],
    body,
  };
}
