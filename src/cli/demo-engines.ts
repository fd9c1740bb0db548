import { MockVLLMEngine } from "../testing/mock-vllm-engine.ts";
import { type MockBehaviour, mockEngineOptions } from "./mock-options.ts";

// KV whose client left between prefill and decode stays pinned until its lease ends; nobody wants to wait for that.
const settleMs = 1_000;

/** The KV of all prefill engines together: what was handed out, and how it ended. */
export interface KvBalance {
  /** Handles given out. */
  readonly issued: number;
  /** Handles whose KV a decode engine fetched. */
  readonly consumed: number;
  /** Handles that ended unused: lease over, or given back. */
  readonly unused: number;
  /** Handles waiting for their decode now. */
  readonly open: number;
  /** Fetches that were refused: reused, unknown, too late. */
  readonly refused: number;
}

/** The mock engines of the demo. */
export class DemoEngines {
  readonly prefills: readonly MockVLLMEngine[];
  readonly decodes: readonly MockVLLMEngine[];

  /** @param counts how many engines of each kind */
  constructor(
    counts: { readonly prefills: number; readonly decodes: number },
    model: string,
    behaviour: MockBehaviour,
  ) {
    const make = (role: "prefill" | "decode", index: number): MockVLLMEngine => {
      const options = mockEngineOptions(behaviour);
      // Engines of one seed would give out the same ids.
      const seed = options.seed === undefined ? undefined : options.seed + index;
      return new MockVLLMEngine({ ...options, seed, role, model });
    };
    this.prefills = Array.from({ length: counts.prefills }, (_, index) => make("prefill", index));
    this.decodes = Array.from({ length: counts.decodes }, (_, index) =>
      make("decode", counts.prefills + index),
    );
  }

  async start(): Promise<void> {
    await Promise.all([...this.prefills, ...this.decodes].map((engine) => engine.start()));
  }

  async stop(): Promise<void> {
    await Promise.all([...this.prefills, ...this.decodes].map((engine) => engine.stop()));
  }

  /** Base URLs of the engines, once they run. */
  get urls(): { readonly prefill: readonly string[]; readonly decode: readonly string[] } {
    const of = (engines: readonly MockVLLMEngine[]): string[] => engines.map(({ url }) => url);
    return { prefill: of(this.prefills), decode: of(this.decodes) };
  }

  /** Waits until nothing runs, and a moment for KV that is given back over the side channel. */
  async settle(): Promise<void> {
    await Promise.all([...this.prefills, ...this.decodes].map((engine) => engine.idle()));
    const drained = Promise.all(this.prefills.map(({ ledger }) => ledger.drained()));
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, settleMs);
    });
    await Promise.race([drained, patience]);
    clearTimeout(timer);
  }

  balance(): KvBalance {
    const sum = (value: (engine: MockVLLMEngine) => number): number =>
      this.prefills.reduce((total, engine) => total + value(engine), 0);
    return {
      issued: sum(({ ledger }) => ledger.issued),
      consumed: sum(({ ledger }) => ledger.consumed),
      unused: sum(({ ledger }) => ledger.expired + ledger.released),
      open: sum(({ ledger }) => ledger.pinned.length),
      refused: sum(({ ledger }) => ledger.rejected.length),
    };
  }

  /** Requests that run on each engine, prefill and decode. */
  running(): { readonly prefill: readonly number[]; readonly decode: readonly number[] } {
    const of = (engines: readonly MockVLLMEngine[]): number[] =>
      engines.map(({ load }) => load.running + load.waiting);
    return { prefill: of(this.prefills), decode: of(this.decodes) };
  }
}
