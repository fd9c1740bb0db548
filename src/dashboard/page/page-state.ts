import type {
  DisaggregationPart,
  PageMessage,
  PagePart,
  PoolPart,
  ReplicaPart,
  RequestRow,
  SummaryPart,
  TrafficPoint,
} from "../page-message.ts";

/** Requests that are over which the page remembers. */
const remembered = 200;

type Kind = PagePart["kind"];
type PartOf<K extends Kind> = Extract<PagePart, { readonly kind: K }>;

/** What the page knows: the last full message, and every update since. */
export class PageState {
  readonly #parts = new Map<string, PagePart>();
  #points: TrafficPoint[] = [];
  #ended: RequestRow[] = [];
  #running: readonly RequestRow[] = [];
  #maxPoints = 1;
  pointMs = 1000;
  intervalMs = 1000;
  /** The server's clock at the last message, milliseconds since 1970. */
  at = 0;
  /** Counts messages that replaced everything. */
  generation = 0;

  /** Takes in a message. An update means nothing before the first full message, and is then left out. */
  apply(message: PageMessage): void {
    if (message.type === "full") {
      this.#parts.clear();
      this.#points = [];
      this.#ended = [];
      this.#maxPoints = message.maxPoints;
      this.pointMs = message.pointMs;
      this.intervalMs = message.intervalMs;
      this.generation += 1;
    } else if (this.generation === 0) {
      return;
    }
    this.at = message.at;
    for (const [key, part] of Object.entries(message.parts)) {
      if (part === null) this.#parts.delete(key);
      else this.#parts.set(key, part);
    }
    this.#addPoints(message.points);
    const known = new Set(this.#ended.map(({ key }) => key));
    this.#ended = [...this.#ended, ...message.ended.filter(({ key }) => !known.has(key))].slice(-remembered);
    this.#running = message.running;
  }

  get application(): PartOf<"application"> | undefined {
    return this.#all("application")[0];
  }

  get summary(): SummaryPart | undefined {
    return this.#all("summary")[0];
  }

  get pools(): readonly PoolPart[] {
    return this.#all("pool");
  }

  get replicas(): readonly ReplicaPart[] {
    return this.#all("replica");
  }

  get disaggregations(): readonly DisaggregationPart[] {
    return this.#all("disaggregation");
  }

  /** Whole intervals only, oldest first: the one that still runs would look like a fall. */
  get points(): readonly TrafficPoint[] {
    return this.#points.filter(({ at }) => at + this.pointMs <= this.at);
  }

  get running(): readonly RequestRow[] {
    return this.#running;
  }

  /** Oldest first. */
  get ended(): readonly RequestRow[] {
    return this.#ended;
  }

  #addPoints(points: readonly TrafficPoint[]): void {
    const first = points[0];
    if (first === undefined) return;
    this.#points = [...this.#points.filter(({ at }) => at < first.at), ...points].slice(-this.#maxPoints);
  }

  #all<K extends Kind>(kind: K): readonly PartOf<K>[] {
    return [...this.#parts.values()].filter((part): part is PartOf<K> => part.kind === kind);
  }
}
