import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";

import { childEnvironment } from "../config/environment.ts";
import type { Clock } from "../internal/clock.ts";

/** How an {@link EngineProcess} is started. */
export interface EngineProcessInit {
  /** Program and arguments; no shell reads them. */
  readonly words: readonly string[];
  /** Put over the environment of this process. */
  readonly env: Readonly<Record<string, string>>;
  readonly cwd?: string | undefined;
  /** A line it wrote, without its end. */
  readonly onLine: (line: string, stream: "stdout" | "stderr") => void;
  /** Milliseconds between SIGTERM and SIGKILL, 0 or more. */
  readonly stopTimeoutMs: number;
  readonly clock: Clock;
}

const keptLines = 10;

/**
 * One running engine: the leader of a process group of its own, so that its workers end with it and a Ctrl-C in this
 * terminal does not end it before it has drained. A guard beside it ends the group when this process is gone, however
 * that happened. For POSIX systems, as vLLM itself.
 */
export class EngineProcess {
  /** Resolves when it is over, with the reason in words. Never rejects. */
  readonly exited: Promise<string>;
  readonly #init: EngineProcessInit;
  readonly #child: ChildProcess;
  readonly #lastLines: string[] = [];
  #over = false;

  constructor(init: EngineProcessInit) {
    this.#init = init;
    const [program = "", ...args] = init.words;
    this.#child = spawn(program, args, {
      env: childEnvironment(init.env),
      cwd: init.cwd,
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#readLines("stdout");
    this.#readLines("stderr");
    const { pid } = this.#child;
    const guard = pid === undefined ? undefined : startGuard(pid, init.stopTimeoutMs);
    this.exited = new Promise((resolve) => {
      const end = (reason: string): void => {
        if (this.#over) return;
        this.#over = true;
        // Workers that outlived their leader.
        this.#kill("SIGKILL");
        guard?.stdin?.end("over\n");
        const said = this.#lastLines.length === 0 ? "" : `; it said last:\n  ${this.#lastLines.join("\n  ")}`;
        resolve(reason + said);
      };
      this.#child.once("error", (error) => end(error.message));
      // Not "close": a worker may hold the pipes open.
      this.#child.once("exit", (code, signal) =>
        end(signal === null ? `exit code ${code}` : `signal ${signal}`),
      );
    });
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get running(): boolean {
    return !this.#over;
  }

  /** Asks it to end, and makes it after `stopTimeoutMs`. Resolves when it is over. */
  async terminate(): Promise<void> {
    if (this.#over) return;
    this.#kill("SIGTERM");
    const { clock, stopTimeoutMs } = this.#init;
    const timer = clock.setTimer(() => this.#kill("SIGKILL"), stopTimeoutMs, { keepAlive: true });
    await this.exited;
    timer.cancel();
  }

  #readLines(name: "stdout" | "stderr"): void {
    const stream = this.#child[name] as Readable;
    stream.on("error", () => undefined);
    createInterface(stream).on("line", (line) => {
      if (line === "") return;
      this.#lastLines.push(line);
      if (this.#lastLines.length > keptLines) this.#lastLines.shift();
      this.#init.onLine(line, name);
    });
  }

  #kill(signal: NodeJS.Signals): void {
    const { pid } = this.#child;
    if (pid === undefined) return;
    try {
      process.kill(-pid, signal);
    } catch {
      // Nobody is left in the group.
    }
  }
}

/** Reads until it is told that the group is over; when its input ends without that, this process has died. */
const guardScript =
  'read -r word && exit 0; kill -s TERM -- "-$1" 2>/dev/null; sleep "$2"; kill -s KILL -- "-$1" 2>/dev/null';

function startGuard(group: number, stopTimeoutMs: number): ChildProcess {
  const seconds = String(Math.ceil(stopTimeoutMs / 1000));
  const guard = spawn("/bin/sh", ["-c", guardScript, "serve-llm-guard", String(group), seconds], {
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
  });
  guard.on("error", () => undefined);
  guard.stdin?.on("error", () => undefined);
  guard.unref();
  return guard;
}
