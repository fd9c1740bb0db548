import diagnosticsChannel from "node:diagnostics_channel";
import type { LegTrace, RequestTrace } from "./request-trace.ts";

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

/** A request has come to a deployment. */
export interface RequestStartEvent {
  /** Filled in as the request goes on; the same object in every event of the request. */
  readonly trace: RequestTrace;
  /** The client's `traceparent` and `tracestate`, flat names and values. */
  readonly headers: readonly string[];
  /**
   * A top-level field of the client's body, parsed anew at each call; undefined where there is none, and for requests
   * that are forwarded as they came. Prompts are among them: nobody in this library asks for one unless told to.
   */
  readonly bodyField: (name: string) => unknown;
}

/** A call to an engine is about to be sent. */
export interface LegStartEvent {
  readonly trace: RequestTrace;
  readonly leg: LegTrace;
  /** Sets a header of this call, in place of the client's if there is one. For trace context. */
  readonly setHeader: (name: string, value: string) => void;
}

/** An engine is done with a call, however it went: see {@link LegTrace.failure}. */
export interface LegEndEvent {
  readonly trace: RequestTrace;
  readonly leg: LegTrace;
}

/**
 * `node:diagnostics_channel` channels of this library. Subscribe by name; nothing is built for a channel nobody
 * listens to.
 */
export const channels = {
  /** `serve-llm:request.start`: a {@link RequestStartEvent}. */
  requestStart: diagnosticsChannel.channel("serve-llm:request.start"),
  /** `serve-llm:leg.start`: a {@link LegStartEvent}. */
  legStart: diagnosticsChannel.channel("serve-llm:leg.start"),
  /** `serve-llm:leg.end`: a {@link LegEndEvent}, always before the end of its request. */
  legEnd: diagnosticsChannel.channel("serve-llm:leg.end"),
  /** `serve-llm:request`: one {@link RequestTrace} when a request is over. */
  request: diagnosticsChannel.channel("serve-llm:request"),
  /** `serve-llm:pd.degraded`: a {@link PDDegradedEvent} at each change. */
  pdDegraded: diagnosticsChannel.channel("serve-llm:pd.degraded"),
  /** `serve-llm:endpoint.restarted`: an {@link EndpointRestartedEvent}. */
  endpointRestarted: diagnosticsChannel.channel("serve-llm:endpoint.restarted"),
} as const;

export function publishRequestStart(
  trace: RequestTrace,
  headers: readonly string[],
  bodyField: (name: string) => unknown,
): void {
  if (!channels.requestStart.hasSubscribers) return;
  const event: RequestStartEvent = { trace, headers, bodyField };
  channels.requestStart.publish(event);
}

/** Returns the headers that listeners want on the call, lower-case names; undefined when there are none. */
export function publishLegStart(trace: RequestTrace, leg: LegTrace): ReadonlyMap<string, string> | undefined {
  if (!channels.legStart.hasSubscribers) return undefined;
  const headers = new Map<string, string>();
  const event: LegStartEvent = {
    trace,
    leg,
    setHeader: (name, value) => headers.set(name.toLowerCase(), value),
  };
  channels.legStart.publish(event);
  return headers.size === 0 ? undefined : headers;
}

export function publishLegEnd(trace: RequestTrace, leg: LegTrace): void {
  if (!channels.legEnd.hasSubscribers) return;
  const event: LegEndEvent = { trace, leg };
  channels.legEnd.publish(event);
}

export function publishRequest(trace: RequestTrace): void {
  if (channels.request.hasSubscribers) channels.request.publish(trace);
}

export function publishPDDegraded(event: PDDegradedEvent): void {
  if (channels.pdDegraded.hasSubscribers) channels.pdDegraded.publish(event);
}

export function publishEndpointRestarted(event: EndpointRestartedEvent): void {
  if (channels.endpointRestarted.hasSubscribers) channels.endpointRestarted.publish(event);
}
