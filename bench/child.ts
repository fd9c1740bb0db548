import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { ControlRequest } from "./processes/control.ts";

/** How long a child may take to say that it is ready, milliseconds. */
const startTimeoutMs = 20_000;

const running = new Set<Child>();
let canPin: boolean | undefined;

/** True when `taskset` can put processes on these CPUs. */
export function canPinTo(cpus: readonly string[]): boolean {
  canPin ??= cpus.every((cpu) => {
    try {
      execFileSync("taskset", ["-c", cpu, "true"], { stdio: "ignore" });
      return true;
    } catch {
      return false;
    }
  });
  return canPin;
}

/** Kills every child that still runs, now. */
export function killAll(): void {
  for (const child of running) child.kill();
}

/** How a child is started. */
export interface ChildOptions {
  /** CPU it runs on, as far as pinning works here. */
  readonly cpu: string;
  /** Opens a channel for {@link Child.ask}; the child is a Node process that calls `serveControl`. */
  readonly control?: boolean | undefined;
}

/** A process that this benchmark started. Its stdin stays open as long as we live: children end when it closes. */
export class Child {
  readonly #process: ChildProcess;
  readonly #name: string;
  /** Settles when it has ended. */
  readonly exited: Promise<void>;
  readonly #replies = new Map<number, { resolve: (result: never) => void; reject: (error: Error) => void }>();
  readonly #lines: string[] = [];
  #onLine: ((line: string | undefined) => void) | undefined;
  #over = false;
  #nextId = 1;

  constructor(command: readonly string[], options: ChildOptions) {
    this.#name = command.slice(0, 2).join(" ");
    const pinned = canPin === true ? ["taskset", "-c", options.cpu, ...command] : command;
    this.#process = spawn(pinned[0]!, pinned.slice(1), {
      stdio: ["pipe", "pipe", "inherit", ...(options.control === true ? (["ipc"] as const) : [])],
    });
    running.add(this);
    this.#process.on("error", () => this.#end());
    this.exited = new Promise((resolve) => {
      this.#process.once("close", () => {
        this.#end();
        resolve();
      });
    });
    createInterface({ input: this.#process.stdout! }).on("line", (line) => {
      if (this.#onLine === undefined) this.#lines.push(line);
      else this.#onLine(line);
    });
    this.#process.on("message", (message: { id?: number; result?: never; error?: string; port?: number }) => {
      if (message.id === undefined) {
        this.#lines.push(JSON.stringify(message));
        this.#onLine?.(this.#lines.shift());
        return;
      }
      const reply = this.#replies.get(message.id);
      this.#replies.delete(message.id);
      if (message.error === undefined) reply?.resolve(message.result as never);
      else reply?.reject(new Error(message.error));
    });
  }

  /** Process id: of the program itself, since `taskset` becomes it. */
  get pid(): number {
    return this.#process.pid!;
  }

  /** The next line of its stdout, or its first message; undefined when it has ended. */
  async nextLine(timeoutMs = startTimeoutMs): Promise<string | undefined> {
    if (this.#lines.length > 0) return this.#lines.shift();
    if (this.#over) return undefined;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#onLine = undefined;
        reject(new Error(`${this.#name} said nothing for ${timeoutMs} ms.`));
      }, timeoutMs);
      this.#onLine = (line) => {
        clearTimeout(timer);
        this.#onLine = undefined;
        resolve(line);
      };
    });
  }

  /** The next line, which is JSON. */
  async nextJson<Value>(timeoutMs?: number): Promise<Value> {
    const line = await this.nextLine(timeoutMs);
    if (line === undefined) throw new Error(`${this.#name} ended without an answer.`);
    return JSON.parse(line) as Value;
  }

  /** Asks a process with a control channel. */
  ask<Result>(request: ControlRequest): Promise<Result> {
    const id = this.#nextId++;
    return new Promise<Result>((resolve, reject) => {
      this.#replies.set(id, { resolve, reject });
      this.#process.send({ id, request });
    });
  }

  /** Closes its stdin: tools print their result and end. */
  closeInput(): void {
    this.#process.stdin!.end();
  }

  /** Ends it and waits until it has. */
  async stop(): Promise<void> {
    if (this.#over) return;
    this.#process.kill("SIGTERM");
    const timer = setTimeout(() => this.kill(), 3000);
    await this.exited;
    clearTimeout(timer);
  }

  kill(): void {
    this.#process.kill("SIGKILL");
  }

  #end(): void {
    this.#over = true;
    running.delete(this);
    this.#onLine?.(undefined);
    for (const { reject } of this.#replies.values()) reject(new Error(`${this.#name} ended.`));
    this.#replies.clear();
  }
}
