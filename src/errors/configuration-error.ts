import { ServeLLMError } from "./serve-llm-error.ts";

/** One thing wrong with a configuration. */
export interface ConfigIssue {
  /** Where it is, in the spelling the user wrote, for example `["prefillConfig", "engineKwargs"]`. */
  readonly path: readonly (string | number)[];
  /** What is wrong, in words; Ray's own words where Ray has some. */
  readonly message: string;
  /**
   * What kind of problem it is, in pydantic's vocabulary: `missing`, `extra_forbidden`, `value_error`,
   * `int_parsing`, `greater_than`, `literal_error` and so on.
   */
  readonly type: string;
  /** What would have been accepted. */
  readonly expected?: string | undefined;
  /** What came instead, shortened; secrets are never shown. */
  readonly received?: string | undefined;
}

/** A configuration was refused. `issues` lists every problem found, not just the first. */
export class ConfigurationError extends ServeLLMError {
  override readonly name = "ConfigurationError";
  readonly issues: readonly ConfigIssue[];

  constructor(subject: string, issues: readonly ConfigIssue[], options: { cause?: unknown } = {}) {
    super(`${subject} is not valid:\n${issues.map(formatIssue).join("\n")}`, {
      code: "invalid_config",
      status: 500,
      type: "configuration_error",
      cause: options.cause,
    });
    this.issues = issues;
  }
}

function formatIssue(issue: ConfigIssue): string {
  const where = issue.path.length === 0 ? "(root)" : formatPath(issue.path);
  const expected = issue.expected === undefined ? "" : `; expected ${issue.expected}`;
  const received = issue.received === undefined ? "" : `; got ${issue.received}`;
  return `  ${where}: ${issue.message}${expected}${received}`;
}

function formatPath(path: readonly (string | number)[]): string {
  return path
    .map((part, index) => (typeof part === "number" ? `[${part}]` : index === 0 ? part : `.${part}`))
    .join("");
}
