import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Readable } from "node:stream";

const root = join(import.meta.dirname, "..");

/** One line that the command logged with `--json`. */
export type LogLine = Readonly<Record<string, unknown>> & { readonly event: string };

const command = join(root, "dist", "cli.js");

/** The command as a process of its own: the built one, which `npm test` makes first. */
export class CliProcess {
  readonly #child: ChildProcessByStdio<null, Readable, Readable>;
  readonly #ended: Promise<void>;
  #stdout = "";
  #stderr = "";

  constructor(args: readonly string[], environment: Readonly<Record<string, string>> = {}) {
    if (!existsSync(command)) throw new Error(`There is no ${command}: run "npm run build" first`);
    this.#child = spawn(process.execPath, [command, ...args], {
      cwd: root,
      env: { ...process.env, ...environment },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#child.stdout.setEncoding("utf8").on("data", (text: string) => (this.#stdout += text));
    this.#child.stderr.setEncoding("utf8").on("data", (text: string) => (this.#stderr += text));
    this.#ended = once(this.#child, "close").then(() => undefined);
  }

  get stdout(): string {
    return this.#stdout;
  }

  get stderr(): string {
    return this.#stderr;
  }

  /** Resolves with the first log line of this event. @throws Error when the process ends without one */
  async event(name: string): Promise<LogLine> {
    for (;;) {
      const found = this.lines().find((line) => line.event === name);
      if (found !== undefined) return found;
      await this.output();
    }
  }

  /** Resolves when there is more on stdout. @throws Error when the process ends instead */
  async output(): Promise<void> {
    const before = this.#stdout.length;
    const more = new Promise<void>((resolve) => this.#child.stdout.once("data", () => resolve()));
    await Promise.race([more, this.#ended]);
    if (this.#stdout.length === before) {
      throw new Error(`the command ended; stdout: ${this.#stdout}; stderr: ${this.#stderr}`);
    }
  }

  /** Complete log lines so far. */
  lines(): readonly LogLine[] {
    return this.#stdout
      .split("\n")
      .slice(0, -1)
      .filter((line) => line.startsWith("{"))
      .map((line) => JSON.parse(line) as LogLine);
  }

  /** Sends a signal, when one is given, and resolves with the exit code. */
  async end(signal?: NodeJS.Signals): Promise<number | null> {
    if (signal !== undefined) this.#child.kill(signal);
    await this.#ended;
    return this.#child.exitCode;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null) this.#child.kill("SIGKILL");
    await this.#ended;
  }
}
