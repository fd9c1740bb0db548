import type { ClientConfig } from "../config/client-config.ts";
import type { Endpoint } from "../config/endpoint.ts";
import type { EngineQuestion, EngineReply } from "../config/scaling-target.ts";
import { tokenFromSignal } from "../internal/cancel-token.ts";
import type { Clock } from "../internal/clock.ts";
import { callBuffered } from "../replicas/buffered-call.ts";
import { EndpointClient } from "../replicas/endpoint-client.ts";

const maxReplyBytes = 1024 * 1024;

/**
 * Asks an engine that may not be a replica yet, or any more: what a scaling target does while it starts and stops
 * engines. A connection of its own for every question.
 *
 * @throws EngineTimeoutError, EngineConnectionError, RequestCancelledError when the signal fired
 */
export async function callEngine(
  deployment: string,
  endpoint: Endpoint,
  question: EngineQuestion,
  { client, clock }: { readonly client: ClientConfig; readonly clock: Clock },
): Promise<EngineReply> {
  const replica = `${deployment}#${endpoint.name ?? new URL(endpoint.url).host}`;
  const http = new EndpointClient(endpoint, client, replica);
  const cancel = tokenFromSignal(question.signal);
  try {
    cancel.throwIfCancelled();
    const { status, body } = await callBuffered(
      http,
      { method: question.method, path: question.path, headers: [], phase: "check" },
      {
        clock,
        cancel,
        replica,
        timeoutMs: question.timeoutMs,
        timeoutOption: "timeoutMs",
        maxBytes: maxReplyBytes,
      },
    );
    return { status, body: body.toString() };
  } finally {
    cancel.end();
    await http.destroy();
  }
}
