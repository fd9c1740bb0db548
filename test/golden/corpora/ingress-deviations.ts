import { refusedFields } from "../../../src/ingress/client-field-policy.ts";
import { defaultRoutes, RouteTable } from "../../../src/ingress/routes.ts";
import { errorEventStatus } from "../../../src/protocol/engine-error-body.ts";
import { same } from "../compare.ts";
import { type Deviation, forDefect } from "../deviations.ts";
import type { GoldenCase } from "../golden-case.ts";
import type { RaisedError, ScriptItem } from "../scripted-server.ts";
import {
  type Answer,
  ask,
  checkWords,
  comparable,
  errorOf,
  type IngressInput,
  sameEvents,
} from "../ingress-exchange.ts";

const routes = new RouteTable(defaultRoutes);

/** A deviation found by the shape of the input, not by Ray's own words. */
function when(
  applies: (input: IngressInput, kase: GoldenCase) => boolean,
  reason: string,
  expect: (answer: Answer) => void | Promise<void>,
): Deviation<Answer> {
  return {
    reason,
    applies: (kase) => applies(kase.input as IngressInput, kase),
    expect,
  };
}

/** Where the ingress differs from Ray's on purpose. The first that applies counts. */
export const deviations: readonly Deviation<Answer>[] = [
  when(
    ({ request }) => request?.path === "/tokenize" && hasField(request.json, "messages"),
    "the chat form of tokenize is served, as by vLLM",
    (answer) => reached(answer),
  ),
  when(
    ({ request }) =>
      Object.keys(request?.headers ?? {}).some((name) => /^x-(data-parallel|kv|prefill|decode)/.test(name)),
    "headers that choose an engine are refused, not forwarded",
    (answer) => same([answer.status, errorOf(answer.text).code], [400, "field_not_allowed"]),
  ),
  when(
    ({ request }) => hasDuplicate(request?.raw),
    "a field that is there twice is refused: engines differ in which one they take",
    (answer) => {
      same(answer.status, 400);
      checkWords(answer, ["more than once"]);
    },
  ),
  when(
    (input) => raisedFirst(input)?.class === "ValidationError",
    "a request's error says what is wrong with it, without Python's text",
    (answer) => same([answer.status, errorOf(answer.text).type], [400, "invalid_request_error"]),
  ),
  when(
    (input) => ["CancelledError", "RequestCancelledError"].includes(raisedFirst(input)?.class ?? ""),
    "a cancelled request is recorded as one (499), it is no failure of the server",
    (answer) => same([answer.status, errorOf(answer.text).code], [499, "client_closed_request"]),
  ),
  when(
    (_input, kase) => (kase.expect as { readonly status: number }).status === 408,
    "an engine that is late is a 504; 408 says that the client was",
    (answer) => same([answer.status, errorOf(answer.text).type], [504, "timeout_error"]),
  ),
  when(
    ({ script }) => script?.some((item) => "type" in item && hasField(item.data, ...refusedFields)),
    "what is between engines never gets to a client",
    (answer) => {
      same(answer.status, 200);
      const expected = comparable(answer.recorded.json, answer) as Record<string, unknown>;
      for (const field of refusedFields) delete expected[field];
      same(comparable(JSON.parse(answer.text), answer), expected);
    },
  ),
  when(
    ({ script }) =>
      script !== undefined && textsOf(script).some((text, at, all) => isDone(text) && at < all.length - 1),
    "nothing follows the end of a stream",
    (answer) => {
      const whole = answer.recorded.body!;
      sameEvents(answer.text, whole.slice(0, whole.indexOf("data: [DONE]\n\n") + "data: [DONE]\n\n".length));
    },
  ),
  when(
    (_input, kase) =>
      kase.id.startsWith("pd-direct/") && (kase.expect as { readonly status: number }).status >= 500,
    "an engine's 5xx keeps its message, but is an error of the gateway",
    (answer) => checkEngineError(answer, errorItem(answer.input)!),
  ),

  forDefect(/invalid status code/, "an engine's impossible code is read by its type", (answer) =>
    same(answer.status, errorEventStatus(errorItem(answer.input))),
  ),
  forDefect(/engine error type and param are lost/, "an engine's error gets through as it is", (answer) => {
    const item = errorItem(answer.input);
    if (item !== undefined) checkEngineError(answer, item);
    else
      same([answer.status, errorOf(answer.text).message], [answer.recorded.status, publicText(answer.input)]);
  }),
  forDefect(
    /500 hides the engine's message/,
    "an engine's 5xx is a 502 with the engine's message",
    (answer) => checkEngineError(answer, errorItem(answer.input)!),
  ),
  forDefect(/internal_message is sent/, "what is internal stays so", (answer) => {
    same([answer.status, errorOf(answer.text).message], [answer.recorded.status, publicText(answer.input)]);
    neverSays(answer, String(raisedFirst(answer.input)!.args[3]));
  }),
  forDefect(/internal exception text is sent/, "an unexpected error says nothing of its cause", (answer) => {
    same([answer.status, errorOf(answer.text).code], [500, "internal_error"]);
    for (const text of raisedFirst(answer.input)!.args.map(String)) {
      same(errorOf(answer.text).message, "Internal Server Error.");
      if (text.length > 3) neverSays(answer, text);
    }
  }),
  forDefect(/plain-text answer/, "the OpenAI error object, with Ray's status and Retry-After", (answer) => {
    same(answer.status, answer.recorded.status);
    const retryAfter = answer.recorded.headers?.["retry-after"];
    if (retryAfter !== undefined) same(answer.headers.get("retry-after"), retryAfter);
    same(answer.headers.get("content-type"), "application/json");
  }),
  forDefect(/\{'detail'\}/, "the OpenAI error object with Ray's words", (answer) => {
    same(answer.status, answer.recorded.status);
    checkWords(answer, answer.recorded.message_contains ?? []);
    same(answer.headers.get("retry-after"), answer.recorded.headers?.["retry-after"] ?? null);
  }),
  forDefect(/40[45]/, "the OpenAI error object; more routes are served, none is redirected to", (answer) => {
    const { method, path } = answer.input.request;
    const match = routes.match(method, path);
    if (match.kind === "match") {
      if ([404, 405, 500].includes(answer.status))
        throw new Error(`${path} is served, but: ${answer.status}`);
      return;
    }
    same(answer.status, answer.recorded.status === 307 ? 404 : answer.recorded.status);
    same(errorOf(answer.text).code, match.kind === "no-route" ? "unknown_route" : "method_not_allowed");
    if (match.kind === "wrong-method") same(answer.headers.get("allow"), match.allowed.join(", "));
  }),
  forDefect(
    /only the first problem/,
    "every problem is named by its field, and no value is repeated",
    checkValidation,
  ),
  forDefect(
    /non-iterable content|dict content/,
    "a message of the wrong shape is a 400 that names it",
    (answer) => {
      same([answer.status, String(errorOf(answer.text).param).startsWith("messages[0].")], [400, true]);
    },
  ),
  forDefect(/without a JSON content type/, "415", (answer) =>
    same([answer.status, errorOf(answer.text).code], [415, "unsupported_media_type"]),
  ),
  forDefect(/NaN in the body/, "NaN is no JSON: 400", (answer) =>
    same([answer.status, errorOf(answer.text).code], [400, "invalid_json"]),
  ),
  forDefect(
    /wrong result type/,
    "an engine's answer gets through, whatever it is; its error is an error",
    (answer) => {
      const item = errorItem(answer.input);
      if (item !== undefined) {
        checkEngineError(answer, item);
        return;
      }
      same(answer.status, 200);
      const { data } = answer.input.script[0] as Extract<ScriptItem, { readonly type: string }>;
      same((JSON.parse(answer.text) as { readonly id?: unknown }).id, data["id"]);
    },
  ),
  forDefect(/an empty (answer|batch) is a 500/, "an engine that says nothing is a 502", (answer) =>
    same([answer.status, errorOf(answer.text).code], [502, "stream_swallowed"]),
  ),
  forDefect(
    /after the first item|no error event|bare dict|first item$|breaks the stream|joining the batch|between stream items/,
    "a stream ends whole with [DONE], or broken with one error event and a cut connection",
    checkStream,
  ),
  forDefect(/model cards have no/, "cards have what clients look for", (answer) => {
    same(comparable(JSON.parse(answer.text), answer), comparable(answer.recorded.json, answer));
    for (const card of (JSON.parse(answer.text) as { readonly data: readonly Record<string, unknown>[] })
      .data) {
      same([Number.isInteger(card["created"]), "max_model_len" in card], [true, true]);
    }
  }),
  forDefect(/contains '--'/, "an id with '--' is found when there is one", async (answer: Answer) => {
    same(answer.status, 404);
    const id = answer.input.request.path.slice("/v1/models/".length);
    const found = await ask({ ...answer.input, models: [{ model_id: id }] }, answer.recorded);
    same([found.status, (JSON.parse(found.text) as { readonly id: unknown }).id], [200, id]);
  }),
  forDefect(/wildcard CORS/, "no CORS unless it is asked for", (answer) => {
    if (answer.input.request.method === "OPTIONS") {
      same([answer.status, errorOf(answer.text).code], [405, "method_not_allowed"]);
      return;
    }
    same(answer.status, answer.recorded.status);
    same(comparable(JSON.parse(answer.text), answer), comparable(answer.recorded.json, answer));
  }),
];

function checkValidation(answer: Answer): void {
  const { message, param } = errorOf(answer.text);
  same([answer.status, String(message).startsWith("Invalid request format: ")], [400, true]);
  const { json, multipart } = answer.input.request;
  const recorded = answer.recorded.json as {
    readonly error: { readonly message: string; readonly param: unknown };
  };
  const place = /\('body'(.*)\)/.exec(recorded.error.message)?.[1] ?? "";
  const sent = multipart?.map(([name]) => name) ?? Object.keys(isObject(json) ? json : {});
  const names = [...[...place.matchAll(/'([a-z_]\w*)'/g)].map((each) => each[1]!), ...sent];
  if (place !== ",") {
    const named = names.find(
      (name) =>
        String(param) === name ||
        String(param).startsWith(`${name}.`) ||
        String(param).startsWith(`${name}[`),
    );
    if (named === undefined)
      throw new Error(`expected one of ${names.join(", ")} in \`param\`, got ${String(param)}`);
  }
  const value = recorded.error.param;
  if (typeof value === "string" && value.length > 2) neverSays(answer, `"${value}"`);
}

function checkEngineError(answer: Answer, error: EngineError): void {
  const actual = errorOf(answer.text);
  const status = errorEventStatus({ error });
  same(actual.message, error.message, "message");
  if (status < 500) {
    same(
      [answer.status, actual.type, actual.param, actual.code],
      [status, error.type, error.param, error.code],
    );
  } else {
    same([answer.status, actual.type], [status === 503 || status === 504 ? status : 502, "engine_error"]);
  }
}

function checkStream(answer: Answer): void {
  const { script, router_timeout_s: limit = 600 } = answer.input;
  same(answer.status, 200);
  const items = flatten(
    script ?? (answer.input as unknown as { readonly pd_http_response: typeof script }).pd_http_response,
  );
  const isFailure = (item: ScriptItem): boolean =>
    "raise" in item ||
    ("type" in item && item.type === "ErrorResponse") ||
    ("sleep" in item && item.sleep > limit);
  const failsAt = items.findIndex(isFailure);
  const sent = items.slice(0, failsAt < 0 ? undefined : failsAt).filter((item) => !("sleep" in item));
  const events = answer.text.split(/(?<=\n\n)/);
  same(events.length, sent.length + 1, "number of events");
  const last = events.at(-1)!;
  same(answer.broken, failsAt >= 0, "cut connection");
  if (failsAt < 0) same(last, "data: [DONE]\n\n");
  else errorOf(last.slice("data: ".length));
}

/** It got to a deployment. */
function reached({ servers, status }: Answer): void {
  same(
    servers.reduce((sum, { calls }) => sum + calls.length, 0),
    1,
    "calls",
  );
  if (status >= 400 && status < 500) throw new Error(`refused with ${status}`);
}

function neverSays({ text }: Answer, secret: string): void {
  if (text.includes(secret)) throw new Error(`says "${secret}": ${text}`);
}

interface EngineError {
  readonly message: string;
  readonly type: string;
  readonly param: string | null;
  readonly code: number;
}

/** The engine error a script begins with. */
function errorItem(input: IngressInput): EngineError | undefined {
  const first = flatten(input.script ?? [])[0];
  return first !== undefined && "type" in first && first.type === "ErrorResponse"
    ? (first.data["error"] as EngineError)
    : undefined;
}

function raisedFirst(input: IngressInput): RaisedError | undefined {
  const first = flatten(input.script ?? [])[0];
  return first !== undefined && "raise" in first ? first.raise : undefined;
}

/** What the script's error says to everybody: its last text but for what is internal. */
function publicText(input: IngressInput): string {
  const { class: name, args } = raisedFirst(input)!;
  return String(name === "OpenAIHTTPException" ? args[1] : args[0]);
}

function flatten(items: readonly ScriptItem[]): readonly ScriptItem[] {
  return items.flatMap((item) => ("list" in item ? flatten(item.list) : [item]));
}

function textsOf(items: readonly ScriptItem[]): readonly string[] {
  return flatten(items).map((item) => ("str" in item ? item.str : ""));
}

function isDone(text: string): boolean {
  return text.trim() === "data: [DONE]";
}

function hasField(value: unknown, ...names: readonly string[]): boolean {
  return isObject(value) && names.some((name) => Object.hasOwn(value, name) && value[name] !== null);
}

/** A JSON object that has a top-level key twice. */
function hasDuplicate(raw: string | undefined): boolean {
  if (raw === undefined || !raw.startsWith("{")) return false;
  const keys = [...raw.matchAll(/[{,]\s*"(\w+)"\s*:/g)].map((match) => match[1]);
  try {
    const parsed: unknown = JSON.parse(raw);
    return (
      isObject(parsed) && Object.keys(parsed).some((key) => keys.filter((each) => each === key).length > 1)
    );
  } catch {
    return false;
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
