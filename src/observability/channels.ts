import diagnosticsChannel from "node:diagnostics_channel";
import type { RequestTrace } from "./request-trace.ts";

/** A prefill/decode deployment no longer disaggregates as it should, or does so again. */
export interface PDDegradedEvent {
  /** Deployment name of the PDProxyServer. */
  readonly deployment: string;
  readonly degraded: boolean;
  /** Share of the last requests that should have been disaggregated and were, 0 to 1. */
  readonly handoffShare: number;
  /** How many requests that is measured over. */
  readonly window: number;
  /** Requests served by decode alone within the window, by reason. */
  readonly reasons: Readonly<Record<string, number>>;
}

/** An engine came back under the same URL with another engine id: what it had in its cache is gone. */
export interface EndpointRestartedEvent {
  readonly deployment: string;
  readonly replica: string;
}

/**
 * `node:diagnostics_channel` channels of this library. Subscribe by name; nothing is built for a channel nobody
 * listens to.
 */
export const channels = {
  /** `serve-llm:request`: one {@link RequestTrace} when a request is over. */
  request: diagnosticsChannel.channel("serve-llm:request"),
  /** `serve-llm:pd.degraded`: a {@link PDDegradedEvent} at each change. */
  pdDegraded: diagnosticsChannel.channel("serve-llm:pd.degraded"),
  /** `serve-llm:endpoint.restarted`: an {@link EndpointRestartedEvent}. */
  endpointRestarted: diagnosticsChannel.channel("serve-llm:endpoint.restarted"),
} as const;

export function publishRequest(trace: RequestTrace): void {
  if (channels.request.hasSubscribers) channels.request.publish(trace);
}

export function publishPDDegraded(event: PDDegradedEvent): void {
  if (channels.pdDegraded.hasSubscribers) channels.pdDegraded.publish(event);
}

export function publishEndpointRestarted(event: EndpointRestartedEvent): void {
  if (channels.endpointRestarted.hasSubscribers) channels.endpointRestarted.publish(event);
}
