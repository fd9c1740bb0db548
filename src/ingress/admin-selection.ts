import { RequestError } from "../errors/request-error.ts";
import type { EngineCommandOption } from "../llm/engine-commands.ts";
import { scanJson } from "./json-body.ts";

/** Which engines an admin request is for, and what they are told. */
export interface AdminSelection {
  readonly model: string | undefined;
  readonly deployments: readonly string[] | undefined;
  readonly options: Readonly<Record<string, EngineCommandOption>>;
}

const bodyFields: ReadonlySet<string> = new Set(["model", "deployment", "options"]);

/**
 * Reads an admin request: vLLM's way, where everything stands in the query, or Ray's, where the body is
 * `{ model, options }`. `model` and `deployment` choose engines; the rest goes to them.
 *
 * @throws RequestError 400 naming what is wrong
 */
export function readAdminSelection(query: string, body: Uint8Array): AdminSelection {
  const options: Record<string, EngineCommandOption> = Object.create(null) as Record<
    string,
    EngineCommandOption
  >;
  const models: string[] = [];
  const deployments: string[] = [];
  const parameters = new URLSearchParams(query);
  for (const name of new Set(parameters.keys())) {
    const values = parameters.getAll(name);
    if (name === "model") models.push(...values);
    else if (name === "deployment") deployments.push(...values);
    else options[name] = values.length === 1 ? values[0]! : values;
  }
  if (body.byteLength > 0) {
    const given = JSON.parse(Buffer.from(scanJson(body).bytes).toString()) as Readonly<
      Record<string, unknown>
    >;
    for (const name of Object.keys(given)) {
      if (!bodyFields.has(name)) throw invalid(name, "is not known here; use model, deployment or options");
    }
    models.push(...textsIn(given, "model", false));
    deployments.push(...textsIn(given, "deployment", true));
    for (const [name, value] of Object.entries(optionsIn(given))) {
      if (name in options) throw invalid(`options.${name}`, "stands in the query as well");
      options[name] = value;
    }
  }
  if (models.length > 1) throw invalid("model", "is there more than once");
  return { model: models[0], deployments: deployments.length === 0 ? undefined : deployments, options };
}

function textsIn(
  body: Readonly<Record<string, unknown>>,
  name: string,
  mayBeList: boolean,
): readonly string[] {
  const value = body[name];
  if (value === undefined || value === null) return [];
  const items: readonly unknown[] = mayBeList && Array.isArray(value) ? value : [value];
  if (items.every((item): item is string => typeof item === "string")) return items;
  throw invalid(name, mayBeList ? "must be a string or a list of strings" : "must be a string");
}

function optionsIn(body: Readonly<Record<string, unknown>>): Readonly<Record<string, EngineCommandOption>> {
  const value = body["options"] ?? {};
  if (typeof value !== "object" || Array.isArray(value)) throw invalid("options", "must be an object");
  for (const [name, option] of Object.entries(value)) {
    const items: readonly unknown[] = Array.isArray(option) ? option : [option];
    if (items.some((item) => !["string", "number", "boolean"].includes(typeof item))) {
      throw invalid(`options.${name}`, "must be a string, number or boolean, or a list of them");
    }
  }
  return value as Readonly<Record<string, EngineCommandOption>>;
}

function invalid(param: string, problem: string): RequestError {
  const shown = param.slice(0, 100);
  return new RequestError(`Invalid request format: \`${shown}\` ${problem}.`, {
    code: "invalid_parameter",
    param: shown,
  });
}
