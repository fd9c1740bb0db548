import { readFileSync } from "node:fs";

import { parse, type Tags, YAMLParseError } from "yaml";

import { ConfigurationError } from "../errors/configuration-error.ts";

/**
 * Reads YAML as Python's loader does (YAML 1.1: `yes` and `on` are true, `<<` merges).
 *
 * @param subject what is being read, for the message
 * @throws {ConfigurationError} with line and column when the text is not YAML
 */
export function parseYaml(text: string, subject: string): unknown {
  try {
    return parse(text, {
      version: "1.1",
      merge: true,
      maxAliasCount: 100,
      logLevel: "error",
      customTags: (tags) => tags.map(asPythonReads),
    });
  } catch (error) {
    const position = error instanceof YAMLParseError ? error.linePos?.[0] : undefined;
    const where = position === undefined ? "" : ` (line ${position.line}, column ${position.col})`;
    const message = error instanceof Error ? (error.message.split("\n")[0] ?? "") : "not readable";
    throw new ConfigurationError(
      subject,
      [{ path: [], type: "yaml_syntax", message: `Not valid YAML${where}: ${message}` }],
      { cause: error },
    );
  }
}

const trueWords = /^(?:yes|Yes|YES|true|True|TRUE|on|On|ON)$/;
const falseWords = /^(?:no|No|NO|false|False|FALSE|off|Off|OFF)$/;

/** YAML 1.1 also has `y` and `n` for booleans; Python's loader, and so Ray, reads them as text. */
function asPythonReads(tag: Tags[number]): Tags[number] {
  if (typeof tag === "string" || tag.tag !== "tag:yaml.org,2002:bool" || !("test" in tag)) return tag;
  const words = tag.test?.test("yes") ? trueWords : falseWords;
  return { ...tag, test: words } as Tags[number];
}

/**
 * Reads a text file, at once (as Ray's `from_file` does): configurations are read before anything runs.
 *
 * @throws {ConfigurationError} when it can't be read
 */
export function readConfigFile(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const missing = error instanceof Error && "code" in error && error.code === "ENOENT";
    throw unreadableFile(
      path,
      missing ? "as the file does not exist." : `as it can't be read: ${String(error)}`,
      error,
    );
  }
}

/** The error for a configuration file that can't be had; Ray's words. */
export function unreadableFile(path: string, reason: string, cause?: unknown): ConfigurationError {
  const message = `Could not load model config from ${path}, ${reason}`;
  return new ConfigurationError("LLMConfig", [{ path: [], type: "value_error", message }], { cause });
}
