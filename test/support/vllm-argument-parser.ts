import { readFileSync } from "node:fs";

interface VllmArgumentList {
  readonly engine_args: readonly { readonly name: string; readonly type: string }[];
  readonly frontend_flags: readonly string[];
}

/** What vLLM's own source says its arguments are, recorded from it. */
export const vllmArgumentList = JSON.parse(
  readFileSync(new URL("vllm-engine-args.json", import.meta.url), "utf8"),
) as VllmArgumentList;

/** How argparse reads one argument of vLLM's. */
export type ArgumentKind =
  | "switch"
  | "integer"
  | "float"
  | "text"
  | "list"
  | "integers"
  | "json"
  | "optional";

/** The kind of every engine argument, by its Python type. */
export const argumentKinds: ReadonlyMap<string, ArgumentKind> = new Map(
  vllmArgumentList.engine_args.map(({ name, type }) => [name, kindOf(type)]),
);

function kindOf(type: string): ArgumentKind {
  const plain = type.replaceAll("'", "").replace(/ \| None$/, "");
  if (plain === "bool") return "switch";
  if (plain === "int") return "integer";
  if (plain === "float") return "float";
  if (plain === "bool | str") return "optional";
  if (plain === "list[int]") return "integers";
  if (/^(list|set)\[|\| list\[/.test(plain)) return "list";
  if (/dict|Config$|HfOverrides/.test(plain)) return "json";
  return "text";
}

/**
 * Reads the words after `vllm serve MODEL` as vLLM's parser does: `--name value`, `--name=value`, `--switch`,
 * `--no-switch`, several words for a list. A word that starts with `-` and is no negative number is a flag.
 */
export function parseVllmWords(words: readonly string[]): Readonly<Record<string, unknown>> {
  const result: Record<string, unknown> = {};
  for (let index = 0; index < words.length;) {
    const word = words[index] as string;
    if (!word.startsWith("--")) throw new Error(`unrecognized argument: ${word}`);
    const equals = word.indexOf("=");
    const name = (equals < 0 ? word : word.slice(0, equals)).slice(2).replaceAll("-", "_");
    const values = equals < 0 ? [] : [word.slice(equals + 1)];
    index += 1;
    if (equals < 0) {
      while (index < words.length && !isFlag(words[index] as string)) values.push(words[index++] as string);
    }
    const negated = name.startsWith("no_") && argumentKinds.get(name.slice(3)) === "switch";
    const known = negated ? name.slice(3) : name;
    if (known in result) throw new Error(`given twice: ${known}`);
    result[known] = negated ? noValue(name, values, false) : read(name, values);
  }
  return result;
}

function isFlag(word: string): boolean {
  return word.startsWith("-") && !/^-\d+$|^-\d*\.\d+$/.test(word);
}

function noValue(name: string, values: readonly string[], value: boolean): boolean {
  if (values.length > 0) throw new Error(`${name} takes no value`);
  return value;
}

function read(name: string, values: readonly string[]): unknown {
  const kind = argumentKinds.get(name) ?? "text";
  const [first] = values;
  if (kind === "switch") return noValue(name, values, true);
  if (kind === "optional" && first === undefined) return true;
  if (first === undefined) throw new Error(`${name}: expected one argument`);
  if (kind === "list") return values;
  if (kind === "integers") return values.map(readInteger);
  if (values.length > 1) throw new Error(`${name}: unrecognized arguments ${values.slice(1).join(" ")}`);
  if (kind === "integer") return readInteger(first);
  if (kind === "float") return Number(first);
  return kind === "json" ? (JSON.parse(first) as unknown) : first;
}

function readInteger(text: string): number {
  if (!/^-?\d+$/.test(text)) throw new Error(`invalid int value: ${text}`);
  return Number(text);
}
