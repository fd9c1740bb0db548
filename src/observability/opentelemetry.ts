// Entry point `serve-llm/opentelemetry`: needs the optional peer @opentelemetry/api.
import {
  context as contexts,
  propagation,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace as traces,
  type TracerProvider,
} from "@opentelemetry/api";
import { ConfigurationError } from "../errors/configuration-error.ts";
import { channels, type LegEndEvent, type LegStartEvent, type RequestStartEvent } from "./channels.ts";
import { recordedPrompt } from "./recorded-prompt.ts";
import type { LegTrace, RequestTrace } from "./request-trace.ts";

/** How requests are traced. */
export interface OpenTelemetryOptions {
  /** Makes the spans. @default the global one of `@opentelemetry/api` */
  readonly tracerProvider?: TracerProvider | undefined;
  /**
   * Version of the GenAI semantic conventions, which are not stable yet: "1.37" (`gen_ai.provider.name`), "1.36"
   * (`gen_ai.system`), or false for no GenAI attributes. @default "1.37"
   */
  readonly genAiConventions?: "1.37" | "1.36" | false | undefined;
  /**
   * Characters of each chat's or completion's prompt to record in its server span, the last ones; 0: none. They go to
   * wherever your spans go: mind who reads there. Attribute `gen_ai.input.messages`, or `serve_llm.input_messages` with
   * conventions that have none. Whole number. @default 0
   */
  readonly promptCharacters?: number | undefined;
}

/**
 * Traces the requests of every application in this process: a server span for each, and in it a client span for each
 * attempt of each leg. Every leg carries the `traceparent` of its own span to the engine. Where something has begun a
 * span for the HTTP request already, ours are below it; else below the client's `traceparent`. Answers are never
 * recorded, prompts only as far as `promptCharacters` says.
 *
 * @returns stops tracing
 * @throws ConfigurationError when `promptCharacters` is no whole number of 0 or more
 */
export function traceRequests(options: OpenTelemetryOptions = {}): () => void {
  const tracer = (options.tracerProvider ?? traces.getTracerProvider()).getTracer("serve-llm");
  const conventions = options.genAiConventions ?? "1.37";
  const promptCharacters = checkedCharacters(options.promptCharacters ?? 0);
  const requests = new WeakMap<RequestTrace, Span>();
  const legs = new WeakMap<LegTrace, Span>();

  const onRequestStart = (message: unknown): void => {
    const { trace, headers, bodyField } = message as RequestStartEvent;
    const active = contexts.active();
    const parent = traces.getSpan(active) === undefined ? extracted(headers) : active;
    const span = tracer.startSpan(
      `${operationOf(trace)} ${trace.model}`,
      {
        kind: SpanKind.SERVER,
        startTime: trace.startedWallMs,
        attributes: {
          "serve_llm.request_id": trace.requestId,
          "serve_llm.deployment": trace.deployment,
          ...genAiAttributes(trace, conventions),
        },
      },
      parent,
    );
    // Spans that sampling leaves out are not worth the parsing.
    if (promptCharacters > 0 && span.isRecording()) {
      const prompt = recordedPrompt(bodyField, promptCharacters);
      const name = conventions === "1.37" ? "gen_ai.input.messages" : "serve_llm.input_messages";
      if (prompt !== undefined) span.setAttribute(name, prompt);
    }
    requests.set(trace, span);
  };

  const onLegStart = (message: unknown): void => {
    const { trace, leg, setHeader } = message as LegStartEvent;
    const parent = requests.get(trace);
    if (parent === undefined) return;
    const span = tracer.startSpan(
      leg.leg,
      {
        kind: SpanKind.CLIENT,
        startTime: at(trace, leg.sentMs),
        attributes: {
          "serve_llm.leg": leg.leg,
          "serve_llm.deployment": leg.deployment,
          "serve_llm.replica": leg.replica,
          "serve_llm.engine_request_id": leg.engineRequestId,
          "serve_llm.queued_ms": leg.choice?.queuedMs ?? 0,
          ...genAiAttributes(trace, conventions),
        },
      },
      traces.setSpan(ROOT_CONTEXT, parent),
    );
    legs.set(leg, span);
    propagation.inject(traces.setSpan(ROOT_CONTEXT, span), setHeader, {
      set: (set, name, value) => set(name, value),
    });
  };

  const onLegEnd = (message: unknown): void => {
    const { trace, leg } = message as LegEndEvent;
    const span = legs.get(leg);
    if (span === undefined) return;
    if (leg.leg === "decode" && leg.answeredMs !== undefined && leg.answeredMs !== leg.endMs) {
      span.addEvent("first_token", at(trace, leg.answeredMs));
    }
    if (leg.failure !== undefined) failed(span, leg.failure);
    span.end(at(trace, leg.endMs ?? leg.sentMs));
  };

  const onRequest = (message: unknown): void => {
    const trace = message as RequestTrace;
    const span = requests.get(trace);
    if (span === undefined) return;
    span.setAttributes({ "serve_llm.mode": trace.mode, "serve_llm.retries": trace.retries });
    if (trace.reason !== undefined) span.setAttribute("serve_llm.reason", trace.reason);
    if (trace.outcome !== undefined) span.setAttribute("serve_llm.outcome", trace.outcome);
    if (trace.usage !== undefined && conventions !== false) {
      span.setAttributes({
        "gen_ai.usage.input_tokens": trace.usage.promptTokens,
        "gen_ai.usage.output_tokens": trace.usage.completionTokens,
      });
    }
    if (trace.errorCode !== undefined) failed(span, trace.errorCode);
    span.end(at(trace, trace.endMs ?? 0));
  };

  channels.requestStart.subscribe(onRequestStart);
  channels.legStart.subscribe(onLegStart);
  channels.legEnd.subscribe(onLegEnd);
  channels.request.subscribe(onRequest);
  return () => {
    channels.requestStart.unsubscribe(onRequestStart);
    channels.legStart.unsubscribe(onLegStart);
    channels.legEnd.unsubscribe(onLegEnd);
    channels.request.unsubscribe(onRequest);
  };
}

function checkedCharacters(value: number): number {
  if (Number.isSafeInteger(value) && value >= 0) return value;
  throw new ConfigurationError("OpenTelemetry options", [
    {
      path: ["promptCharacters"],
      type: "value_error",
      message: "Input should be a whole number of characters",
      expected: "0 (record no prompt) or more",
      received: String(value),
    },
  ]);
}

/** Times of a trace are milliseconds since its request began. */
function at(trace: RequestTrace, ms: number): number {
  return trace.startedWallMs + ms;
}

function failed(span: Span, code: string): void {
  span.setAttribute("error.type", code);
  span.setStatus({ code: SpanStatusCode.ERROR, message: code });
}

/** The context that a client's `traceparent` and `tracestate` name. */
function extracted(headers: readonly string[]): typeof ROOT_CONTEXT {
  const carrier: Record<string, string> = {};
  for (let index = 0; index + 1 < headers.length; index += 2) carrier[headers[index]!] = headers[index + 1]!;
  return propagation.extract(ROOT_CONTEXT, carrier);
}

function operationOf({ method }: RequestTrace): string {
  return method === "completions" ? "text_completion" : method;
}

function genAiAttributes(
  trace: RequestTrace,
  conventions: "1.37" | "1.36" | false,
): Readonly<Record<string, string>> {
  if (conventions === false) return {};
  return {
    "gen_ai.operation.name": operationOf(trace),
    [conventions === "1.37" ? "gen_ai.provider.name" : "gen_ai.system"]: "vllm",
    "gen_ai.request.model": trace.model,
  };
}
