import { inspect } from "node:util";

import { soundsSecret } from "./describe-value.ts";

/**
 * How to start one vLLM server. The values are the real ones; printed, logged or written as JSON, a variable whose
 * name sounds secret shows only its name.
 */
export class VllmCommand {
  /** The words of the command, `vllm` first. No shell has read them, and they hold no secrets. */
  readonly command: readonly string[];
  /** Variables to add to the environment, secrets included. */
  readonly env: Readonly<Record<string, string>>;
  /** What a person should know before running it. */
  readonly notes: readonly string[];

  constructor(
    command: readonly string[],
    env: Readonly<Record<string, string>>,
    notes: readonly string[] = [],
  ) {
    this.command = command;
    this.env = env;
    this.notes = notes;
  }

  /** For a POSIX shell. Secrets are taken from the shell's own environment, where they must be set. */
  toShell(): string {
    const variables = Object.entries(this.env).map(([name, value]) =>
      soundsSecret(name) ? `${name}="\${${name}:?}"` : `${name}=${quoted(value)}`,
    );
    const [program = "vllm", verb = "serve", model = "", ...words] = this.command;
    const lines = [[program, verb, model].map(quoted).join(" ")];
    for (const word of words) {
      if (word.startsWith("--")) lines.push(`  ${quoted(word)}`);
      else lines[lines.length - 1] += ` ${quoted(word)}`;
    }
    return [...variables, lines.join(" \\\n")].join(" \\\n");
  }

  /** Without secrets. */
  toJSON(): Pick<VllmCommand, "command" | "env" | "notes"> {
    const shown = Object.entries(this.env).map(
      ([name, value]) => [name, soundsSecret(name) ? "[redacted]" : value] as const,
    );
    return { command: this.command, env: Object.fromEntries(shown), notes: this.notes };
  }

  [inspect.custom](): unknown {
    return this.toJSON();
  }
}

function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
