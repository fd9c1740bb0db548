import type * as z from "zod";

import { isPlainObject, reading } from "./lax-schema.ts";
import { LLMConfig } from "./llm-config.ts";
import type { LLMConfigInit, RayLLMConfigInit } from "./llm-config-init.ts";
import { nested } from "./parse-config.ts";
import { readConfigFile } from "./read-yaml.ts";

/** A configuration, what one is made from, or the path of a YAML file. Ray's `str | dict | LLMConfig`. */
export type LLMConfigSource = LLMConfig | LLMConfigInit | RayLLMConfigInit | string;

/** How builders' arguments are read. */
export interface ServingArgsOptions {
  /** Reads the YAML file of a path. @default from the file system, relative to the working directory */
  readonly readFile?: ((path: string) => string) | undefined;
}

/** Reads an {@link LLMConfigSource}. Objects are copied: what a builder adds never reaches the caller's. */
export function llmConfigSource(options: ServingArgsOptions): z.ZodType<LLMConfig> {
  const readFile = options.readFile ?? readConfigFile;
  return reading((input) => {
    if (typeof input === "string") return nested(() => LLMConfig.parseYaml(readFile(input)));
    if (input instanceof LLMConfig) return nested(() => new LLMConfig(input));
    if (isPlainObject(input)) return nested(() => new LLMConfig(input as unknown as LLMConfigInit));
    return {
      type: "model_type",
      message: "Input should be an LLMConfig, an object to make one from, or the path of a YAML file",
    };
  });
}
