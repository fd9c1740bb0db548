import {
  context,
  type Context,
  propagation,
  type Span,
  type SpanContext,
  type SpanOptions,
  trace,
  type TracerProvider,
} from "@opentelemetry/api";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { traceRequests } from "../src/observability/opentelemetry.ts";
import { post } from "./support/client.ts";
import { model, type PDCluster, startPDCluster } from "./support/pd-cluster.ts";

interface Recorded {
  readonly name: string;
  readonly kind: number | undefined;
  readonly own: SpanContext;
  readonly parent: SpanContext | undefined;
  readonly attributes: Record<string, unknown>;
  ended: boolean;
}

/** Records spans; the real SDK is not among the dependencies. */
function recordingProvider(sampled = true): {
  readonly provider: TracerProvider;
  readonly spans: Recorded[];
} {
  const spans: Recorded[] = [];
  const startSpan = (name: string, options: SpanOptions = {}, parent: Context = context.active()): Span => {
    const above = trace.getSpanContext(parent);
    const own = {
      traceId: above?.traceId ?? "f".repeat(32),
      spanId: (spans.length + 1).toString(16).padStart(16, "0"),
      traceFlags: 1,
    };
    const attributes = { ...options.attributes } as Record<string, unknown>;
    const recorded: Recorded = { name, kind: options.kind, own, parent: above, attributes, ended: false };
    spans.push(recorded);
    const span = {
      spanContext: () => own,
      isRecording: () => sampled,
      setAttribute: (key: string, value: unknown) => ((attributes[key] = value), span),
      setAttributes: (more: object) => (Object.assign(attributes, more), span),
      addEvent: () => span,
      setStatus: () => span,
      end: () => void (recorded.ended = true),
    };
    return span as unknown as Span;
  };
  return { provider: { getTracer: () => ({ startSpan }) } as unknown as TracerProvider, spans };
}

beforeAll(() => {
  propagation.setGlobalPropagator({
    inject: (from, carrier, setter) => {
      const span = trace.getSpanContext(from);
      if (span !== undefined) setter.set(carrier, "traceparent", `00-${span.traceId}-${span.spanId}-01`);
    },
    extract: (into, carrier, getter) => {
      const [, traceId, spanId] = String(getter.get(carrier, "traceparent") ?? "").split("-");
      if (traceId === undefined || spanId === undefined) return into;
      return trace.setSpanContext(into, { traceId, spanId, traceFlags: 1, isRemote: true });
    },
    fields: () => ["traceparent"],
  });
});

afterAll(() => propagation.disable());

let cluster: PDCluster | undefined;
let stop: (() => void) | undefined;

afterEach(async () => {
  stop?.();
  await cluster?.stop();
  cluster = undefined;
});

const body = {
  model,
  messages: [{ role: "user", content: "canary-prompt" }],
  max_tokens: 4,
  stream: true,
  stream_options: { include_usage: true },
};
const traceparent = `00-${"a".repeat(32)}-${"b".repeat(16)}-01`;

function sent(engines: PDCluster["engines"]): unknown {
  return engines.flatMap(({ requests }) => requests).find(({ phase }) => phase !== undefined)?.headers[
    "traceparent"
  ];
}

describe("traceRequests", () => {
  it("makes one server span and a client span for each leg, and tells engines of their own", async () => {
    const { provider, spans } = recordingProvider();
    stop = traceRequests({ tracerProvider: provider });
    cluster = await startPDCluster({ prefills: 1, decodes: 1 });
    await post(`${cluster.url}/v1/chat/completions`, body, { headers: { traceparent } });
    const [server, prefill, decode] = spans;
    expect(spans.map(({ name, kind, ended }) => [name, kind, ended])).toEqual([
      [`chat ${model}`, 1, true],
      ["prefill", 2, true],
      ["decode", 2, true],
    ]);
    expect(server!.parent).toMatchObject({ traceId: "a".repeat(32), spanId: "b".repeat(16) });
    for (const leg of [prefill, decode]) expect(leg!.parent).toEqual(server!.own);
    expect(sent(cluster.prefills)).toBe(`00-${"a".repeat(32)}-${prefill!.own.spanId}-01`);
    expect(sent(cluster.decodes)).toBe(`00-${"a".repeat(32)}-${decode!.own.spanId}-01`);
    expect(server!.attributes).toMatchObject({
      "gen_ai.operation.name": "chat",
      "gen_ai.provider.name": "vllm",
      "gen_ai.request.model": model,
      "gen_ai.usage.input_tokens": expect.any(Number) as number,
      "gen_ai.usage.output_tokens": 4,
      "serve_llm.mode": "pd",
      "serve_llm.outcome": "success",
    });
    expect(JSON.stringify(spans)).not.toContain("canary");
  });

  it("records prompts only when asked, as much as asked, in spans that are sampled", async () => {
    const asked = recordingProvider();
    const unsampled = recordingProvider(false);
    const older = recordingProvider();
    const stops = [
      traceRequests({ tracerProvider: asked.provider, promptCharacters: 6 }),
      traceRequests({ tracerProvider: unsampled.provider, promptCharacters: 6 }),
      traceRequests({ tracerProvider: older.provider, promptCharacters: 100, genAiConventions: "1.36" }),
    ];
    stop = () => stops.forEach((each) => each());
    cluster = await startPDCluster({ prefills: 1, decodes: 1 });
    await post(`${cluster.url}/v1/chat/completions`, body);
    const messages = [{ role: "user", parts: [{ type: "text", content: "prompt" }] }];
    expect(JSON.parse(asked.spans[0]!.attributes["gen_ai.input.messages"] as string)).toEqual(messages);
    expect(JSON.stringify(asked.spans)).not.toContain("canary");
    expect(older.spans[0]!.attributes["serve_llm.input_messages"]).toContain("canary-prompt");
    for (const leg of older.spans.slice(1)) expect(JSON.stringify(leg)).not.toContain("canary");
    expect(JSON.stringify(unsampled.spans)).not.toMatch(/input.messages/);
    for (const promptCharacters of [-1, 0.5, Number.NaN]) {
      expect(() => traceRequests({ promptCharacters })).toThrow(/promptCharacters.*whole number/);
    }
  });

  it("shows every attempt, and what went wrong", async () => {
    const { provider, spans } = recordingProvider();
    stop = traceRequests({ tracerProvider: provider, genAiConventions: false });
    cluster = await startPDCluster({ prefills: 1, decodes: 1 });
    await cluster.decodes[0]!.stop();
    await post(`${cluster.url}/v1/chat/completions`, body);
    const decodes = spans.filter(({ name }) => name === "decode");
    expect(decodes.length).toBeGreaterThan(0);
    for (const { attributes, ended } of decodes) {
      expect([attributes["error.type"], ended]).toEqual(["engine_connection_error", true]);
    }
    expect(spans[0]!.attributes["error.type"]).toBe("engine_connection_error");
    expect(Object.keys(spans[0]!.attributes).filter((key) => key.startsWith("gen_ai"))).toEqual([]);
  });

  it("leaves the client's own traceparent alone once it has stopped", async () => {
    traceRequests({ tracerProvider: recordingProvider().provider })();
    cluster = await startPDCluster({ prefills: 1, decodes: 1 });
    await post(`${cluster.url}/v1/chat/completions`, body, { headers: { traceparent } });
    expect(sent(cluster.prefills)).toBe(traceparent);
  });
});
