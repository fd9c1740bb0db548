import { LLMConfig } from "../../../src/config/llm-config.ts";
import type { LLMConfigInit } from "../../../src/config/llm-config-init.ts";
import {
  parsePDServingArgs,
  type PDServingArgs,
  pdServingArgsToPython,
  type RayPDServingArgsInit,
} from "../../../src/config/pd-serving-args.ts";
import { unreadableFile } from "../../../src/config/read-yaml.ts";
import {
  type DPOpenAiServingArgs,
  type DPOpenAiServingArgsInit,
  type LLMServingArgs,
  type LLMServingArgsInit,
  parseDPOpenAiServingArgs,
  parseLLMServingArgs,
  servingArgsToPython,
} from "../../../src/config/serving-args.ts";
import { accepted, attempt, type Outcome, type RecordedError, refused, same, sameError } from "../compare.ts";
import { checkDeviation, type Deviation, forDefect } from "../deviations.ts";
import type { GoldenCase } from "../golden-case.ts";

interface Input {
  readonly class: "PDServingArgs" | "LLMServingArgs" | "DPOpenAiServingArgs";
  readonly args: Readonly<Record<string, unknown>>;
  readonly files?: Readonly<Record<string, string>>;
  readonly same_object?: boolean;
  readonly as_objects?: boolean;
  readonly reuse_objects?: boolean;
}

type ParsedArgs = PDServingArgs | LLMServingArgs | DPOpenAiServingArgs;
type Subject = Outcome<ParsedArgs>;

const deviations: readonly Deviation<Subject>[] = [
  forDefect(/one LLMConfig instance for both sides/, "LLMConfig objects are copied.", (subject) => {
    const { prefillConfig, decodeConfig } = accepted(subject) as PDServingArgs;
    same(prefillConfig.experimentalConfigs, {}, "prefill");
    same(decodeConfig.experimentalConfigs, { NIXL_SIDE_CHANNEL_PORT_BASE: 22_000 }, "decode");
  }),
  forDefect(
    /unusable kv_transfer_config is accepted/,
    "A kv_transfer_config must name a connector, the same on both sides; a name nobody knows is noted.",
    (subject) => {
      if ("error" in subject)
        refused(subject, /names no kv_connector|should be an object|KV connector mismatch/);
      else noted(subject, /kv_connector ".*" is not one of vLLM's/);
    },
  ),
  forDefect(/connectors are not compared/, "Both sides must have the same connector.", (subject) =>
    refused(subject, /P\/D KV connector mismatch/),
  ),
  forDefect(/overlapping port bases/, "notes() says so: the engines may be on different hosts.", (subject) =>
    noted(subject, /same NIXL_SIDE_CHANNEL_PORT_BASE/),
  ),
  forDefect(/different weights on both sides/, "Both sides must load the same model.", (subject) =>
    refused(subject, /P\/D model source mismatch/),
  ),
  forDefect(/KV dtype \/ block size mismatch/, "notes() says so: some connectors can convert.", (subject) =>
    noted(subject, /(kv_cache_dtype|block_size) differs/),
  ),
  forDefect(
    /missing file|FileNotFoundError/,
    "A missing file is a ConfigurationError, in Ray's words.",
    (subject) => refused(subject, /Could not load model config from .*, as the file does not exist\./),
  ),
  forDefect(/error location has no list index/, "The location has the index.", (subject) =>
    refused(subject, /llm_configs\[0\]\.accelerator_type/),
  ),
  forDefect(
    /^late validation$/,
    "Wrong engine arguments are refused when the configuration is made.",
    (subject) => refused(subject, /Invalid data_parallel_size/),
  ),
  forDefect(/raw Python AttributeError escapes/, "Every refusal is a ConfigurationError.", (subject) =>
    refused(subject, /is not valid/),
  ),
  {
    reason: "A field given in both spellings is an error of its own; in Ray the camelCase one is unknown.",
    applies: ({ input }) =>
      "prefillConfig" in (input as Input).args && "prefill_config" in (input as Input).args,
    expect: (subject) => refused(subject, /Given twice, as "prefill_config" and as "prefillConfig"/),
  },
];

function noted(subject: Subject, pattern: RegExp): void {
  const { notes } = accepted(subject) as PDServingArgs;
  if (!notes.some((note) => pattern.test(note))) throw new Error(`no note like ${String(pattern)}`);
}

/** Checks one case of `pd-serving-args.jsonl`. */
export function check(kase: GoldenCase): void {
  const input = kase.input as Input;
  const subject = attempt(() => parse(input));
  if (checkDeviation(deviations, kase, subject)) return;
  const expected = kase.expect as RecordedError | { readonly ok: true; readonly dump: unknown };
  if (expected.ok !== true) {
    sameError(subject, expected);
    return;
  }
  const args = accepted(subject);
  same(
    "prefillConfig" in args ? pdServingArgsToPython(args) : servingArgsToPython(args),
    expected.dump,
    "dump",
  );
}

function parse(input: Input): ParsedArgs {
  const { files = {}, args } = input;
  const options = {
    readFile: (path: string): string => {
      const text = files[path];
      if (text === undefined) throw unreadableFile(path, "as the file does not exist.");
      return text;
    },
  };
  const objects = input.as_objects === true || input.same_object === true ? asObjects(input) : args;
  const run = (): ParsedArgs => {
    if (input.class === "PDServingArgs")
      return parsePDServingArgs(objects as unknown as RayPDServingArgsInit, options);
    if (input.class === "LLMServingArgs")
      return parseLLMServingArgs(objects as unknown as LLMServingArgsInit, options);
    return parseDPOpenAiServingArgs(objects as unknown as DPOpenAiServingArgsInit, options);
  };
  if (input.reuse_objects === true) run();
  return run();
}

function asObjects({ args, same_object: sameObject }: Input): Readonly<Record<string, unknown>> {
  const make = (init: unknown): unknown =>
    init === undefined ? undefined : new LLMConfig(init as LLMConfigInit);
  const objects: Record<string, unknown> = { ...args };
  for (const key of ["prefill_config", "decode_config", "llm_config"]) {
    if (key in args) objects[key] = make(args[key]);
  }
  if (Array.isArray(args["llm_configs"])) objects["llm_configs"] = args["llm_configs"].map(make);
  if (sameObject === true) objects["decode_config"] = objects["prefill_config"];
  return objects;
}
