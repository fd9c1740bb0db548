import { ConfigurationError } from "../errors/configuration-error.ts";

type Kwargs = Readonly<Record<string, unknown>>;

/** What a number must satisfy. */
export interface NumberRule {
  readonly default: number;
  /** Smallest value allowed. @default 0 */
  readonly minimum?: number | undefined;
  /** Largest value allowed. @default Infinity */
  readonly maximum?: number | undefined;
  /** Whole numbers only. */
  readonly integer?: boolean | undefined;
  /** Replaces the message, for parity with Ray. `{value}` stands for what came. */
  readonly message?: string | undefined;
}

/**
 * Refuses keyword arguments that a router does not have, as Python does.
 *
 * @throws ConfigurationError naming the argument and what there is
 */
export function rejectUnknownKwargs(router: string, kwargs: Kwargs, known: readonly string[]): void {
  const unknown = Object.keys(kwargs).filter((name) => !known.includes(name));
  if (unknown.length === 0) return;
  throw new ConfigurationError(
    `Router "${router}"`,
    unknown.map((name) => ({
      path: ["request_router_kwargs", name],
      message: `unexpected keyword argument '${name}'`,
      type: "unexpected_keyword_argument",
      expected: known.length === 0 ? "none" : known.join(", "),
    })),
  );
}

/**
 * A numeric keyword argument, or its default when absent or null.
 *
 * @throws ConfigurationError when it is no number or out of range
 */
export function kwargNumber(router: string, kwargs: Kwargs, name: string, rule: NumberRule): number {
  const value = kwargs[name];
  if (value === undefined || value === null) return rule.default;
  const minimum = rule.minimum ?? 0;
  const maximum = rule.maximum ?? Number.POSITIVE_INFINITY;
  const isOk =
    typeof value === "number" &&
    value >= minimum &&
    value <= maximum &&
    (rule.integer !== true || Number.isInteger(value));
  if (isOk) return value;
  throw invalidKwarg(router, name, value, {
    message: rule.message?.replace("{value}", show(value)) ?? "not a usable number",
    expected: `${rule.integer === true ? "an integer" : "a number"} from ${minimum} to ${maximum}`,
  });
}

/**
 * A true-or-false keyword argument, or its default when absent or null.
 *
 * @throws ConfigurationError when it is anything else
 */
export function kwargBoolean(router: string, kwargs: Kwargs, name: string, fallback: boolean): boolean {
  const value = kwargs[name];
  if (value === undefined || value === null) return fallback;
  if (typeof value === "boolean") return value;
  throw invalidKwarg(router, name, value, { message: "not a boolean", expected: "true or false" });
}

function invalidKwarg(
  router: string,
  name: string,
  value: unknown,
  problem: { readonly message: string; readonly expected: string },
): ConfigurationError {
  return new ConfigurationError(`Router "${router}"`, [
    {
      path: ["request_router_kwargs", name],
      message: problem.message,
      type: "value_error",
      expected: problem.expected,
      received: show(value),
    },
  ]);
}

function show(value: unknown): string {
  return typeof value === "number" || value === undefined
    ? String(value)
    : (JSON.stringify(value) ?? typeof value);
}
