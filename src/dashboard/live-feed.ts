import type { ByteSource } from "../internal/byte-stream.ts";
import type { Timer } from "../internal/clock.ts";
import type { RequestTrace } from "../observability/request-trace.ts";
import type { ApplicationView, RequestWatcher } from "../serve/request-watcher.ts";
import type { FullMessage, RequestRow, UpdateMessage } from "./page-message.ts";
import { changedParts, joinParts, type PageParts, pageParts } from "./page-parts.ts";
import { PageStream } from "./page-stream.ts";
import { ReplicaCalls } from "./replica-calls.ts";
import { requestRow } from "./request-row.ts";
import { maxPoints, pointMs, TrafficHistory } from "./traffic-history.ts";

/** Requests that are over which a page shows. */
const shownEnded = 60;
/** Requests that run which a page shows. */
const shownRunning = 20;

/** What a {@link LiveFeed} tells, and how often. */
export interface LiveFeedOptions {
  /** What pages call the application. */
  readonly title: string;
  /** Milliseconds between two messages. */
  readonly intervalMs: number;
}

interface EndedRequest {
  readonly key: number;
  readonly trace: RequestTrace;
}

/**
 * Watches an application and tells every open page what changes, once in an interval. While no page is open it only
 * counts requests that end: no timer, and nothing that depends on the number of replicas.
 */
export class LiveFeed implements RequestWatcher {
  readonly #options: LiveFeedOptions;
  readonly #streams = new Set<PageStream>();
  readonly #running = new Map<RequestTrace, number>();
  readonly #calls = new ReplicaCalls();
  #view: ApplicationView | undefined;
  /** Oldest first. */
  #ended: EndedRequest[] = [];
  #endedSinceTick = 0;
  #history: TrafficHistory | undefined;
  #nextKey = 1;
  /** What every page that is up to date knows. */
  #parts: PageParts = new Map();
  #tickedMs = 0;
  #timer: Timer | undefined;
  #stopped = false;

  constructor(options: LiveFeedOptions) {
    this.#options = options;
  }

  /** Begins to watch. Call once, before all else. */
  watch(view: ApplicationView): void {
    this.#view = view;
  }

  /** Open pages. */
  get pages(): number {
    return this.#streams.size;
  }

  /** True when the application has shut down, or {@link stop} was called: there is nothing to see any more. */
  get isStopped(): boolean {
    return this.#stopped;
  }

  started(trace: RequestTrace): void {
    this.#running.set(trace, this.#nextKey++);
  }

  ended(trace: RequestTrace): void {
    const key = this.#running.get(trace) ?? this.#nextKey++;
    this.#running.delete(trace);
    this.#ended.push({ key, trace });
    this.#endedSinceTick += 1;
    // Not one by one: that would move the array for every request.
    if (this.#ended.length >= 2 * shownEnded) this.#ended = this.#ended.slice(-shownEnded);
    const nowMs = this.#wallNow();
    this.#historyAt(nowMs).add(trace, nowMs);
    for (const leg of trace.legs) this.#calls.add(leg, nowMs);
  }

  stopped(): void {
    this.stop();
  }

  /** Opens a page's stream: everything at once, then what changes. @param onEnd calls its argument when the page is gone */
  open(onEnd: (listener: () => void) => void): ByteSource {
    const stream = new PageStream();
    if (this.#streams.size === 0) this.#tick();
    stream.send(this.#fullMessage());
    this.#streams.add(stream);
    onEnd(() => this.#remove(stream));
    return stream;
  }

  /** Stops watching and ends the streams of all pages. */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#view?.leave();
    this.#timer?.cancel();
    for (const stream of this.#streams) stream.end();
    this.#streams.clear();
    this.#running.clear();
    this.#ended = [];
  }

  #remove(stream: PageStream): void {
    if (!this.#streams.delete(stream) || this.#streams.size > 0) return;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#parts = new Map();
  }

  #tick(): void {
    try {
      this.#update();
    } catch (error) {
      // A class of the user's may fail to tell its state; that must not end the process.
      this.#viewed.warn(
        `The dashboard could not be updated: ${error instanceof Error ? error.message : String(error)}`,
      );
    }
    this.#timer = this.#clock().setTimer(() => this.#tick(), this.#options.intervalMs);
  }

  /** Looks at the application once for all pages. */
  #update(): void {
    const nowMs = this.#wallNow();
    const parts = this.#readParts(nowMs);
    const update = new Lazy(() => this.#updateMessage(parts, nowMs));
    const behind: PageStream[] = [];
    for (const stream of this.#streams) {
      // A page that does not read as fast as it is told misses messages, and then gets everything anew.
      if (!stream.isReady) stream.missed = true;
      else if (stream.missed) behind.push(stream);
      else stream.send(update.value);
    }
    this.#parts = parts;
    this.#tickedMs = nowMs;
    this.#endedSinceTick = 0;
    const full = new Lazy(() => this.#fullMessage());
    for (const stream of behind) {
      stream.missed = false;
      stream.send(full.value);
    }
  }

  #readParts(nowMs: number): Map<string, string> {
    const { title } = this.#options;
    const parts = pageParts(title, this.#viewed.snapshot(), (deployment, replica) =>
      this.#calls.of(deployment, replica, nowMs),
    );
    parts.set("summary", JSON.stringify(this.#historyAt(nowMs).summary(nowMs)));
    return parts;
  }

  #updateMessage(parts: PageParts, nowMs: number): string {
    const live: Omit<UpdateMessage, "parts"> = {
      type: "update",
      at: nowMs,
      running: this.#runningRows(nowMs),
      points: this.#historyAt(nowMs).points(this.#tickedMs, nowMs),
      ended: this.#endedRows(this.#endedSinceTick),
    };
    return withParts(live, joinParts(changedParts(this.#parts, parts)));
  }

  #fullMessage(): string {
    const nowMs = this.#wallNow();
    const live: Omit<FullMessage, "parts"> = {
      type: "full",
      at: nowMs,
      pointMs,
      maxPoints,
      intervalMs: this.#options.intervalMs,
      running: this.#runningRows(nowMs),
      points: this.#historyAt(nowMs).points(0, nowMs),
      ended: this.#endedRows(shownEnded),
    };
    return withParts(live, joinParts(this.#parts));
  }

  #endedRows(count: number): readonly RequestRow[] {
    if (count === 0) return [];
    return this.#ended
      .slice(-Math.min(count, shownEnded))
      .map(({ key, trace }) => requestRow(trace, key, trace.endMs ?? 0));
  }

  /** Those that run longest; they came first, and a map keeps its order. */
  #runningRows(nowMs: number): readonly RequestRow[] {
    const rows: RequestRow[] = [];
    for (const [trace, key] of this.#running) {
      rows.push(requestRow(trace, key, Math.max(0, nowMs - trace.startedWallMs)));
      if (rows.length === shownRunning) break;
    }
    return rows;
  }

  #historyAt(nowMs: number): TrafficHistory {
    this.#history ??= new TrafficHistory(nowMs);
    return this.#history;
  }

  get #viewed(): ApplicationView {
    if (this.#view === undefined) throw new TypeError("The feed watches no application yet.");
    return this.#view;
  }

  #clock(): ReturnType<ApplicationView["clock"]> {
    return this.#viewed.clock();
  }

  #wallNow(): number {
    return this.#clock().wallNow();
  }
}

/** Made when somebody needs it, once. */
class Lazy {
  readonly #make: () => string;
  #value: string | undefined;

  constructor(make: () => string) {
    this.#make = make;
  }

  get value(): string {
    this.#value ??= this.#make();
    return this.#value;
  }
}

function withParts(message: object, parts: string): string {
  return `${JSON.stringify(message).slice(0, -1)},"parts":${parts}}`;
}
