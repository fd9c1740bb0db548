import { RequestError } from "../errors/request-error.ts";
import type { FormRules } from "./body-rules.ts";
import { refuseFieldNames } from "./client-field-policy.ts";
import { expectation, type FieldProblem, invalidRequest, missing } from "./field-rules.ts";

/** What the ingress knows of a multipart form; its bytes go on as they came. */
export interface FormBody {
  /** Undefined when the client named none. */
  readonly model: string | undefined;
  readonly stream: boolean;
}

const flags: ReadonlySet<string> = new Set(["true", "false", "1", "0"]);

/**
 * Reads a multipart form as far as serving it needs.
 *
 * @param contentType with its boundary
 * @throws RequestError 400 naming every field at fault
 */
export async function parseFormBody(
  bytes: Uint8Array,
  contentType: string,
  rules: FormRules,
): Promise<FormBody> {
  const form = await readForm(bytes, contentType);
  refuseFieldNames([...form.keys()]);
  const problems: FieldProblem[] = [];
  for (const name of rules.files) {
    const file = form.get(name);
    if (file === null) problems.push(missing([name]));
    else if (typeof file === "string") problems.push(expectation(name, "a file", "a text"));
  }
  const check = (name: string, expected: string, accepts: (text: string) => boolean): void => {
    for (const value of form.getAll(name)) {
      if (typeof value !== "string") problems.push(expectation(name, expected, "a file"));
      else if (!accepts(value)) problems.push(expectation(name, expected, "another text"));
    }
  };
  check("model", "a text", () => true);
  for (const [name, words] of Object.entries(rules.words)) {
    check(name, `one of ${words.map((each) => `"${each}"`).join(", ")}`, (text) => words.includes(text));
  }
  for (const name of rules.numbers)
    check(name, "a number", (text) => text !== "" && Number.isFinite(Number(text)));
  for (const name of rules.flags) check(name, "true or false", (text) => flags.has(text.toLowerCase()));
  for (const name of ["model", ...rules.flags]) {
    if (form.getAll(name).length > 1)
      problems.push({ param: name, text: `\`${name}\` is there more than once` });
  }
  if (problems.length > 0) throw invalidRequest(problems);
  const stream = form.get("stream");
  return {
    model: textOf(form.get("model")),
    stream: typeof stream === "string" && ["true", "1"].includes(stream.toLowerCase()),
  };
}

async function readForm(bytes: Uint8Array, contentType: string): Promise<FormData> {
  try {
    return await new Response(bytes as Uint8Array<ArrayBuffer>, {
      headers: { "content-type": contentType },
    }).formData();
  } catch (cause) {
    throw new RequestError("Invalid request format: the body is not a multipart form.", {
      code: "invalid_form",
      cause,
    });
  }
}

function textOf(value: ReturnType<FormData["get"]>): string | undefined {
  return typeof value === "string" ? value : undefined;
}
