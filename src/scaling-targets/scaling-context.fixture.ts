import type { Endpoint } from "../config/endpoint.ts";
import type { EngineQuestion, EngineReply, ScalingContext } from "../config/scaling-target.ts";
import { VllmCommand } from "../config/vllm-command-line.ts";
import { FakeClock } from "../testing/fake-clock.ts";

/** A deployment under the control of a test: who drains, and what engines answer. */
export class FakeDeployment {
  readonly clock = new FakeClock();
  readonly warnings: string[] = [];
  readonly asked: string[] = [];
  readonly readmitted: string[] = [];
  readonly #drains: { readonly url: string; readonly finish: () => void }[] = [];
  readonly context: ScalingContext;

  /**
   * @param engines all that may be drained
   * @param answer what an engine answers
   */
  constructor(
    engines: readonly Endpoint[],
    answer: (url: string, question: EngineQuestion) => EngineReply = () => ({ status: 200, body: "" }),
  ) {
    this.context = {
      deployment: "D",
      clock: this.clock,
      random: { next: () => 0.5, id: () => "0".repeat(32) },
      warn: (message) => this.warnings.push(message),
      healthCheck: { periodMs: 10_000, timeoutMs: 30_000 },
      engine: {
        devices: 1,
        dataParallelSize: 1,
        command: () => new VllmCommand(["vllm", "serve", "m"], {}),
      },
      drain: async (matches) => {
        const leaving = engines.filter(matches);
        await Promise.all(
          leaving.map(
            ({ url }) => new Promise<void>((resolve) => this.#drains.push({ url, finish: resolve })),
          ),
        );
      },
      readmit: (matches) => {
        this.readmitted.push(...engines.filter(matches).map(({ url }) => url));
      },
      call: (endpoint, question) => {
        this.asked.push(`${question.method} ${endpoint.url}${question.path}`);
        return Promise.resolve(answer(endpoint.url, question));
      },
    };
  }

  /** URLs that wait to be drained, oldest first. */
  get draining(): readonly string[] {
    return this.#drains.map(({ url }) => url);
  }

  /** The oldest drain ends. */
  finishDrain(): void {
    this.#drains.shift()?.finish();
  }
}

/** Lets everything that waits for nothing but promises go on. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
}
