import { ConfigurationError } from "../errors/configuration-error.ts";
import { describeValue } from "./describe-value.ts";
import { jsonProblem } from "./json-value.ts";
import { boolean, isPlainObject } from "./lax-schema.ts";
import {
  removedVllmArguments,
  vllmEngineArguments,
  vllmInternalArguments,
  vllmJsonLists,
  vllmOneWaySwitches,
  vllmReplacements,
  vllmSwitches,
} from "./vllm-engine-arguments.ts";

/** Arguments as words of a command line. */
export interface VllmFlags {
  readonly words: readonly string[];
  /** What the newest vLLM would not take. */
  readonly notes: readonly string[];
}

/**
 * Engine and front-end arguments as words of `vllm serve`, in the order given. Null and undefined are left to vLLM.
 *
 * @param kwargs by vLLM's Python names
 * @throws {ConfigurationError} naming every value that no command line could say
 */
export function vllmFlags(kwargs: Readonly<Record<string, unknown>>): VllmFlags {
  const words: string[] = [];
  const notes: string[] = [];
  const problems: { readonly name: string; readonly message: string; readonly expected?: string }[] = [];
  for (const [name, value] of Object.entries(kwargs)) {
    if (value === undefined || value === null) continue;
    const flag = wordsOf(name, value);
    if ("message" in flag) problems.push({ name, ...flag });
    else words.push(...flag.words);
    if (removedVllmArguments.has(name)) notes.push(removalNote(name));
  }
  if (problems.length === 0) return { words, notes };
  throw new ConfigurationError(
    "The vllm serve command",
    problems.map(({ name, message, expected }) => ({
      path: ["engine_kwargs", name],
      type: "value_error",
      message,
      expected,
      received: describeValue(kwargs[name], [name]),
    })),
  );
}

type Rendered =
  | { readonly words: readonly string[] }
  | { readonly message: string; readonly expected?: string };

function wordsOf(name: string, value: unknown): Rendered {
  if (vllmInternalArguments.has(name)) return { message: "No option of vllm serve: vLLM sets it itself" };
  const flag = `--${name.replaceAll("_", "-")}`;
  const problem = jsonProblem(value) ?? numberProblem(value);
  if (problem !== undefined) return { message: `Can't be written on a command line: ${problem}` };
  if (vllmSwitches.has(name)) return switchWords(name, flag, value);
  if (typeof value === "boolean") return booleanWords(name, flag, value);
  if (Array.isArray(value) && !vllmJsonLists.has(name)) return listWords(name, flag, value);
  return { words: valueWords(flag, textOf(value)) };
}

function switchWords(name: string, flag: string, value: unknown): Rendered {
  const read = boolean().safeParse(value);
  if (!read.success) return { message: "Input should be a valid boolean", expected: "true or false" };
  if (read.data) return { words: [flag] };
  return { words: vllmOneWaySwitches.has(name) ? [] : [`--no-${flag.slice(2)}`] };
}

/** For arguments whose type is not known here, and for `hf_token`, whose value may be left out. */
function booleanWords(name: string, flag: string, value: boolean): Rendered {
  if (name === "hf_token") return { words: value ? [flag] : [] };
  if (vllmEngineArguments.has(name)) return { message: "vLLM has a value here, not a switch" };
  return { words: [value ? flag : `--no-${flag.slice(2)}`] };
}

function listWords(name: string, flag: string, value: readonly unknown[]): Rendered {
  const items = value.map(textOf);
  if (name === "middleware") return { words: items.flatMap((item) => valueWords(flag, item)) };
  const [first, ...others] = items;
  // argparse wants at least one word, so an empty list can only be left to vLLM.
  if (first === undefined) return { words: [] };
  if (others.length === 0) return { words: valueWords(flag, first) };
  if (items.some(looksLikeFlag)) {
    return {
      message: "argparse takes an item that starts with '-' for another flag",
      expected: "other items",
    };
  }
  return { words: [flag, ...items] };
}

/** A value that starts with `-` would be taken for another flag unless it is joined to its own. */
function valueWords(flag: string, text: string): readonly string[] {
  return looksLikeFlag(text) ? [`${flag}=${text}`] : [flag, text];
}

function looksLikeFlag(text: string): boolean {
  return text.startsWith("-") && !/^-\d+$|^-\d*\.\d+$/.test(text);
}

function textOf(value: unknown): string {
  if (typeof value === "string") return value;
  // No exponent: argparse reads whole numbers with int().
  if (typeof value === "number" && Number.isInteger(value)) return BigInt(value).toString();
  return JSON.stringify(value);
}

function numberProblem(value: unknown): string | undefined {
  if (typeof value === "number") return Number.isFinite(value) ? undefined : `${value} is not JSON`;
  const parts = Array.isArray(value) ? value : isPlainObject(value) ? Object.values(value) : [];
  return parts.map(numberProblem).find((problem) => problem !== undefined);
}

function removalNote(name: string): string {
  const instead = Object.hasOwn(vllmReplacements, name) ? `; instead: ${vllmReplacements[name]}` : "";
  return `engine_kwargs.${name} is gone from newer vLLM, which does not start with it${instead}`;
}
