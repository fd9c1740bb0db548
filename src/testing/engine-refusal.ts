/** An error as vLLM words it: what a refused request is answered with. */
export class EngineRefusal extends Error {
  override readonly name = "EngineRefusal";
  readonly status: number;
  /** `error.type`, for example `BadRequestError`. */
  readonly type: string;
  readonly param: string | null;

  constructor(status: number, type: string, message: string, param: string | null = null) {
    super(message);
    this.status = status;
    this.type = type;
    this.param = param;
  }

  /** The body of the JSON answer, compact like vLLM's. */
  body(): string {
    const { message, type, param, status } = this;
    return JSON.stringify({ error: { message, type, param, code: status } });
  }

  /** The frames that end a stream with this error. Spaced, because vLLM writes this one with `json.dumps`. */
  frames(): string {
    return `${this.errorFrame()}data: [DONE]\n\n`;
  }

  /** The error frame alone. */
  errorFrame(): string {
    const text = (value: string): string => asciiJson(value);
    return (
      `data: {"error": {"message": ${text(this.message)}, "type": ${text(this.type)}, ` +
      `"param": ${this.param === null ? "null" : text(this.param)}, "code": ${this.status}}}\n\n`
    );
  }
}

/** What vLLM says of a generation that ended with finish reason `error`. */
export function generationError(): EngineRefusal {
  return new EngineRefusal(500, "InternalServerError", "Internal server error");
}

/** What vLLM says to requests of an engine that died. */
export function engineDeadError(): EngineRefusal {
  return new EngineRefusal(
    500,
    "InternalServerError",
    "EngineCore encountered an issue. See stack trace (above) for the root cause.",
  );
}

/** A value vLLM itself refused: 400 `BadRequestError`. */
export function badRequest(message: string, param: string | null = null): EngineRefusal {
  return new EngineRefusal(400, "BadRequestError", message, param);
}

/** One entry of pydantic's list of errors. */
export interface PydanticIssue {
  readonly type: string;
  readonly loc: readonly (string | number)[];
  readonly msg: string;
  readonly input: unknown;
  readonly ctx?: Readonly<Record<string, unknown>>;
}

/** A body that does not have the right shape: 400 `Bad Request`, with pydantic's errors as Python prints them. */
export function validationError(issues: readonly PydanticIssue[], param?: string): EngineRefusal {
  const lines = issues.map(({ type, loc, msg, input, ctx }) => {
    const place = loc.length === 1 ? `(${pythonRepr(loc[0])},)` : `(${loc.map(pythonRepr).join(", ")})`;
    const context = ctx === undefined ? "" : `, 'ctx': ${pythonRepr(ctx)}`;
    return `  {'type': ${pythonRepr(type)}, 'loc': ${place}, 'msg': ${pythonRepr(msg)}, 'input': ${pythonRepr(input)}${context}}`;
  });
  const message = `${issues.length} validation error(s):\n${lines.join("\n")}`;
  return new EngineRefusal(400, "Bad Request", message, param ?? issues[0]?.loc.join(".") ?? null);
}

/** A JSON value as Python's `repr` shows it. */
export function pythonRepr(value: unknown): string {
  if (value === null || value === undefined) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (typeof value === "string") {
    const quote = value.includes("'") && !value.includes('"') ? '"' : "'";
    const escaped = value.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll("\r", "\\r");
    return quote + (quote === "'" ? escaped.replaceAll("'", "\\'") : escaped).replaceAll("\t", "\\t") + quote;
  }
  if (Array.isArray(value)) return `[${value.map(pythonRepr).join(", ")}]`;
  if (typeof value === "object") {
    return `{${Object.entries(value)
      .map(([key, item]) => `${pythonRepr(key)}: ${pythonRepr(item)}`)
      .join(", ")}}`;
  }
  return typeof value === "number" ? String(value) : "None";
}

/** A JSON string with everything beyond ASCII escaped, as Python's `json.dumps` writes it. */
function asciiJson(value: string): string {
  return JSON.stringify(value).replaceAll(
    /[\u007f-\uffff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
