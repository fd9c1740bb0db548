import type { HttpRequest } from "../../../src/adapters/http-exchange.ts";
import { ServeLLMError } from "../../../src/errors/serve-llm-error.ts";
import { clientRequestId } from "../../../src/ingress/request-id.ts";
import { headersToForward, sessionIdOf } from "../../../src/ingress/client-field-policy.ts";
import { CancelToken } from "../../../src/internal/cancel-token.ts";
import type { Clock } from "../../../src/internal/clock.ts";
import { loadAdapter } from "../../../src/llm/adapter-loader.ts";
import { legRequest } from "../../../src/llm/leg-request.ts";
import { scanJsonObject } from "../../../src/protocol/json-object-index.ts";
import type { EngineResponseSink } from "../../../src/replicas/endpoint-client.ts";
import { EngineHeaders } from "../../../src/replicas/engine-headers.ts";
import type { Replica } from "../../../src/replicas/replica.ts";
import { same } from "../compare.ts";
import type { GoldenCase, SkipReason } from "../golden-case.ts";

type Input = Readonly<Record<string, unknown>>;

/** A client's request with these headers, as doors hand it on: names in lower case. */
function requestWith(headers: Readonly<Record<string, string>>): HttpRequest {
  const lower = new Map(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
  return {
    method: "POST",
    path: "/v1/chat/completions",
    query: "",
    header: (name) => lower.get(name),
    headerNames: () => [...lower.keys()],
    readBody: () => Promise.resolve(new Uint8Array()),
    cancel: new CancelToken(),
  };
}

/**
 * What engines and clients get as `x-request-id`. By rule: an engine gets exactly one, the id of this attempt, never a
 * client's header, and no header that is not on the list; the id that a client sent is the one its answer has.
 */
export function checkRequestId(input: Input, expected: Input): void {
  const headers = (input["headers"] ?? {}) as Readonly<Record<string, string>>;
  const client = requestWith(headers);
  const body = Buffer.from(JSON.stringify({ model: "m", request_id: input["request_id"] }));
  const request = {
    method: "chat" as const,
    body: scanJsonObject(body),
    modelId: "m",
    stream: false,
    requestId: "ours",
    priority: 0,
    expectedChoices: 1,
    forwardHeaders: headersToForward(client),
    cancel: client.cancel,
  };
  const sent = legRequest(request, "attempt-1", { set: {}, remove: [] }, "decode").headers;
  same(sent, ["content-type", "application/json", "x-request-id", "attempt-1"], "headers of the engine");
  // Where Ray keeps the client's header, it is the client's id for its request.
  const kept = (expected["headers"] as Readonly<Record<string, string>> | null)?.["x-request-id"];
  const given = client.header("x-request-id");
  if (given !== undefined) same(clientRequestId(given), given);
  if (given !== undefined && !hasText(input["request_id"])) same(clientRequestId(given), kept);
}

function hasText(value: unknown): boolean {
  return typeof value === "string" && value !== "";
}

/** The session key. By rule: an empty one is none. */
export function checkSession({ headers }: Input, expected: Input): void {
  const client = requestWith((headers ?? {}) as Readonly<Record<string, string>>);
  const recorded = expected["session_id"] as string | null;
  same(sessionIdOf(client, "x-session-id") ?? null, recorded === "" ? null : recorded);
}

/**
 * How often loading an adapter is tried, and how long is waited between. Engines fetch adapters here, so it is the load
 * that is tried again, with Ray's pauses. By rule: zero tries are one.
 */
export async function checkRetries(
  input: Input,
  expected: Input,
  kase: GoldenCase,
): Promise<void | SkipReason> {
  const { max_tries: maxTries, failures, ...others } = input as { max_tries: number; failures: number };
  // Parameters of a Python function that no configuration reaches.
  if (Object.keys(others).length > 0) return "python-only";
  const engine = new FailingEngine(failures);
  const outcome = await loadAdapter(
    engine.replica,
    { name: "m:a", path: "s3://b/a" },
    {
      limits: { downloadTimeoutS: null, maxDownloadTries: maxTries },
      clock: engine.clock,
      cancel: new CancelToken(),
    },
  ).then(
    () => "done",
    (error: unknown) => error,
  );
  if (kase.ray_defect !== undefined) {
    same([engine.calls, engine.pausesS], [1, []], "zero tries");
    return;
  }
  same([engine.calls, engine.pausesS], [expected["calls"], expected["delays_s"]], "tries and pauses");
  if (expected["raised"] === undefined) same(outcome, expected["result"]);
  else same(ServeLLMError.isInstance(outcome) && outcome.message.includes(`failure ${maxTries}`), true);
}

/** An engine whose first answers are errors, in a time in which pauses are over at once. */
class FailingEngine {
  readonly pausesS: number[] = [];
  calls = 0;
  readonly #failures: number;

  constructor(failures: number) {
    this.#failures = failures;
  }

  readonly clock: Clock = {
    now: () => 0,
    wallNow: () => 0,
    setTimer: (callback, delayMs) => {
      // Anything longer is a limit of time, which is not reached here.
      if (delayMs <= 60_000) {
        this.pausesS.push(delayMs / 1000);
        queueMicrotask(callback);
      }
      return { cancel: () => undefined, refresh: () => undefined };
    },
  };

  get replica(): Replica {
    const dispatch = (_request: unknown, sink: EngineResponseSink): object => {
      this.calls += 1;
      const failed = this.calls <= this.#failures;
      const error = { error: { message: `failure ${this.calls}`, type: "InternalServerError", code: 500 } };
      queueMicrotask(() => {
        sink.onHeaders(
          failed ? 500 : 200,
          new EngineHeaders([Buffer.from("content-type"), Buffer.from("application/json")]),
        );
        sink.onData(Buffer.from(JSON.stringify(failed ? error : {})));
        sink.onEnd();
      });
      return { abort: () => undefined, resume: () => undefined };
    };
    return { fullName: "m#e0", http: { dispatch } } as unknown as Replica;
  }
}
