import type { EngineErrorBody } from "../errors/engine-response-error.ts";
import { asJsonObject, parseEngineJson } from "./engine-json.ts";

/** What a client may see of an engine's free text, in characters. */
const maxMessageLength = 2000;
const maxExcerptLength = 200;
/** Errors are small; of anything longer only the start is looked at. */
const maxBytes = 1 << 20;

/** vLLM's `type` for a status, for bodies that name none. */
const typeByStatus: Readonly<Record<number, string>> = {
  400: "BadRequestError",
  401: "AuthenticationError",
  403: "PermissionDeniedError",
  404: "NotFoundError",
  405: "MethodNotAllowedError",
  408: "RequestTimeoutError",
  409: "ConflictError",
  413: "RequestTooLargeError",
  422: "UnprocessableEntityError",
  429: "RateLimitError",
  500: "InternalServerError",
  501: "NotImplementedError",
  503: "ServiceUnavailableError",
};

/**
 * Reads what an engine, or a proxy before it, said instead of a result: vLLM's `{"error":{...}}` and
 * `{"error":"..."}`, FastAPI's `{"detail":...}`, the flat shape of older releases, or any text. Never throws.
 *
 * Of text that is no such JSON only a short excerpt gets into the message, and nothing of an HTML page.
 *
 * @param status HTTP status of the answer; gives `type` and `code` where the body has none
 */
export function parseEngineErrorBody(status: number, body: Uint8Array | string): EngineErrorBody {
  const text =
    typeof body === "string"
      ? body.slice(0, maxBytes)
      : new TextDecoder().decode(body.byteLength > maxBytes ? body.subarray(0, maxBytes) : body);
  let value: unknown;
  try {
    value = parseEngineJson(text);
  } catch {
    return fallback(status, describeText(text));
  }
  return engineErrorFromValue(status, value);
}

/** The same for a body that is parsed already, for example an error event within a stream. Never throws. */
export function engineErrorFromValue(status: number, value: unknown): EngineErrorBody {
  const root = asJsonObject(value);
  if (root === undefined) return fallback(status, typeof value === "string" ? describeText(value) : "");
  const error = asJsonObject(root["error"]);
  if (error !== undefined) return fromFields(status, error);
  if (typeof root["error"] === "string") return fallback(status, root["error"]);
  if (typeof root["message"] === "string") return fromFields(status, root);
  return fallback(status, describeDetail(root["detail"]));
}

/** Statuses by what servers call them: vLLM's names, and OpenAI's for a client's fault. */
const statusByType: Readonly<Record<string, number>> = {
  invalid_request_error: 400,
  ...Object.fromEntries(Object.entries(typeByStatus).map(([status, type]) => [type, Number(status)])),
};

/**
 * The status an error event within a stream stands for: its numeric `code` when that is an HTTP error status, else
 * what its `type` says, else 500. vLLM's Rust front end writes words into `code`.
 */
export function errorEventStatus(value: unknown): number {
  const root = asJsonObject(value);
  const error = asJsonObject(root?.["error"]) ?? root;
  const code = Number(error?.["code"]);
  if (Number.isInteger(code) && code >= 400 && code <= 599) return code;
  const type = error?.["type"];
  return (
    (typeof type === "string" && Object.hasOwn(statusByType, type) ? statusByType[type] : undefined) ?? 500
  );
}

function fromFields(status: number, fields: Readonly<Record<string, unknown>>): EngineErrorBody {
  const { message, type, param, code } = fields;
  const base = fallback(status, typeof message === "string" ? message : "");
  return {
    message: base.message,
    type: typeof type === "string" && type !== "" ? clean(type, maxExcerptLength) : base.type,
    param: typeof param === "string" ? clean(param, maxExcerptLength) : null,
    code:
      typeof code === "number" ? code : typeof code === "string" ? clean(code, maxExcerptLength) : base.code,
  };
}

function fallback(status: number, message: string): EngineErrorBody {
  const cleaned = clean(message, maxMessageLength);
  return {
    message: cleaned === "" ? `The engine answered with status ${status}.` : cleaned,
    type: typeByStatus[status] ?? (status >= 500 ? "InternalServerError" : "BadRequestError"),
    param: null,
    code: status,
  };
}

/** FastAPI's `detail`: a sentence, or pydantic's list of problems. */
function describeDetail(detail: unknown): string {
  if (typeof detail === "string") return detail;
  if (!Array.isArray(detail)) return "";
  return detail
    .slice(0, 20)
    .map((entry: unknown) => {
      const problem = asJsonObject(entry);
      if (problem === undefined) return typeof entry === "string" ? entry : "";
      const place = Array.isArray(problem["loc"]) ? problem["loc"].filter(isName).join(".") : "";
      const message = typeof problem["msg"] === "string" ? problem["msg"] : "";
      return place === "" || message === "" ? place + message : `${place}: ${message}`;
    })
    .filter((line) => line !== "")
    .join("; ");
}

function isName(value: unknown): value is string | number {
  return typeof value === "string" || typeof value === "number";
}

function describeText(text: string): string {
  const trimmed = text.trimStart();
  // A page or a broken JSON document tells a client nothing.
  if (trimmed === "" || /^[<{["]/.test(trimmed)) return "";
  return clean(trimmed, maxExcerptLength);
}

/** At most `limit` characters, with no control or invisible formatting characters but line breaks and tabs. */
function clean(text: string, limit: number): string {
  const visible = text
    .slice(0, limit * 4)
    .replaceAll(/[\p{Cc}\p{Cf}\p{Cs}]/gu, (character) =>
      character === "\n" || character === "\t" ? character : " ",
    )
    .trim();
  if (visible.length <= limit) return visible;
  const cut = visible.slice(0, limit - 1);
  // Not between the halves of a surrogate pair.
  return `${/[\ud800-\udbff]$/.test(cut) ? cut.slice(0, -1) : cut}…`;
}
