import { watch } from "node:fs";
import { readFile } from "node:fs/promises";
import { basename, dirname } from "node:path";

import { type Discovery, type DiscoveryContext, type Endpoint, parseEndpoints } from "../config/endpoint.ts";
import { number, objectOf, text, withDefault } from "../config/lax-schema.ts";
import { parseConfig } from "../config/parse-config.ts";
import { parseYaml } from "../config/read-yaml.ts";
import type { Timer } from "../internal/clock.ts";
import { SnapshotStream } from "./snapshot-stream.ts";

/** Options of {@link fileDiscovery}. */
export interface FileDiscoveryOptions {
  /** YAML or JSON: a list of URLs and endpoint objects, or an object with such a list as `endpoints`. */
  readonly path: string;
  /** Milliseconds after a change until the file is read: a writer may not be done. 0 or more. @default 50 */
  readonly settleMs?: number | undefined;
  /**
   * Milliseconds between looks at the file beside the system's notices, which network file systems don't give, > 0.
   * @default 5000
   */
  readonly pollMs?: number | undefined;
}

const schema = objectOf("fileDiscovery", {
  path: text({ minLength: 1 }),
  settleMs: withDefault(number({ atLeast: 0 }), 50),
  pollMs: withDefault(number({ greaterThan: 0 }), 5_000),
});

/**
 * Endpoints from a file that is watched: changed in place, replaced by rename (also by way of a symbolic link, as
 * Kubernetes does with a ConfigMap), removed and written again. While it is missing or has no valid list, the last
 * good one stays in use and a warning says why.
 *
 * @throws ConfigurationError when an option is not usable
 */
export function fileDiscovery(options: FileDiscoveryOptions): Discovery {
  const parsed = parseConfig(schema, options, "fileDiscovery");
  return async function* discover(signal, context) {
    const first = await readEndpoints(parsed.path);
    const watcher = new FileWatcher(parsed, first, context);
    watcher.start();
    try {
      yield* watcher.changes.read(signal);
    } finally {
      await watcher.stop();
    }
  };
}

interface FileContent {
  readonly text: string;
  readonly endpoints: readonly Endpoint[];
}

class FileWatcher {
  readonly changes = new SnapshotStream<readonly Endpoint[]>();
  readonly #options: Required<FileDiscoveryOptions> & { readonly settleMs: number; readonly pollMs: number };
  readonly #context: DiscoveryContext;
  #text: string;
  #problem: string | undefined;
  #closeWatch: (() => void) | undefined;
  #settleTimer: Timer | undefined;
  #pollTimer: Timer | undefined;
  #reading: Promise<void> | undefined;
  #again = false;
  #stopped = false;

  constructor(
    options: { readonly path: string; readonly settleMs: number; readonly pollMs: number },
    first: FileContent,
    context: DiscoveryContext,
  ) {
    this.#options = options;
    this.#context = context;
    this.#text = first.text;
    this.changes.push(first.endpoints);
  }

  start(): void {
    const { path, pollMs, settleMs } = this.#options;
    const { clock } = this.#context;
    this.#pollTimer = clock.setTimer(() => {
      this.#pollTimer?.refresh();
      this.#read();
    }, pollMs);
    try {
      // The directory: a watched file is lost when another one takes its place.
      const watcher = watch(dirname(path), { persistent: false });
      watcher.on("change", () => {
        if (this.#settleTimer === undefined) {
          this.#settleTimer = clock.setTimer(() => this.#read(), settleMs);
        } else {
          this.#settleTimer.refresh();
        }
      });
      watcher.on("error", () => this.#closeWatch?.());
      this.#closeWatch = () => watcher.close();
    } catch (error) {
      this.#context.warn(
        `${this.#subject()} can't be watched, so it is looked at every ${pollMs} ms: ${messageOf(error)}`,
      );
    }
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#closeWatch?.();
    this.#settleTimer?.cancel();
    this.#pollTimer?.cancel();
    await this.#reading;
  }

  #read(): void {
    if (this.#stopped) return;
    if (this.#reading !== undefined) {
      this.#again = true;
      return;
    }
    this.#reading = this.#readOnce().finally(() => {
      this.#reading = undefined;
      if (!this.#again) return;
      this.#again = false;
      this.#read();
    });
  }

  async #readOnce(): Promise<void> {
    try {
      const { text: content, endpoints } = await readEndpoints(this.#options.path);
      if (this.#problem !== undefined) this.#context.warn(`${this.#subject()} is readable again.`);
      this.#problem = undefined;
      if (content === this.#text) return;
      this.#text = content;
      this.changes.push(endpoints);
    } catch (error) {
      const problem = messageOf(error);
      if (problem === this.#problem) return;
      this.#problem = problem;
      this.#context.warn(`${this.#subject()} is not usable; the last good endpoints stay in use: ${problem}`);
    }
  }

  #subject(): string {
    return `The endpoint file ${basename(this.#options.path)} of "${this.#context.deployment}"`;
  }
}

/** @throws ConfigurationError when the content is no list of endpoints, or Node's error when it can't be read */
async function readEndpoints(path: string): Promise<FileContent> {
  const content = await readFile(path, "utf8");
  const value = parseYaml(content, basename(path));
  const list =
    typeof value === "object" &&
    value !== null &&
    !Array.isArray(value) &&
    Object.keys(value).join() === "endpoints"
      ? (value as { readonly endpoints: unknown }).endpoints
      : value;
  return { text: content, endpoints: parseEndpoints(list, basename(path)) };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
