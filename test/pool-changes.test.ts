import { afterEach, describe, expect, it } from "vitest";
import { mockAnswer, type MockVLLMEngine, seededRandom } from "../src/testing/index.ts";
import { post, readStream } from "./support/client.ts";
import { model, type PDCluster, startPDCluster } from "./support/pd-cluster.ts";

let cluster: PDCluster | undefined;

afterEach(async () => {
  await cluster?.stop();
  cluster = undefined;
});

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** One pool, and how a test changes it at random: never to nothing, and never an engine that still serves. */
class ChangingPool {
  readonly #control;
  readonly #engines: readonly MockVLLMEngine[];
  readonly #random: () => number;
  readonly #leaving = new Set<Promise<void>>();
  restarts = 0;

  constructor(running: PDCluster, side: "Prefill" | "Decode", random: () => number) {
    this.#control = running.app.deployment(`${side}:${model}`);
    this.#engines = side === "Prefill" ? running.prefills : running.decodes;
    this.#random = random;
  }

  async change(): Promise<void> {
    const kind = this.#random();
    if (kind < 0.3) await this.#drainOne();
    else this.#keep(this.#control.setEndpoints(kind < 0.4 ? null : this.#someEndpoints()));
  }

  /** Resolves when every replica that left has drained. */
  async settled(): Promise<void> {
    while (this.#leaving.size > 0) await Promise.all(this.#leaving);
  }

  #someEndpoints(): { url: string; name: string; labels: Record<string, string> }[] {
    const sure = Math.floor(this.#random() * this.#engines.length);
    return this.#engines
      .map(({ url }, index) => ({
        url,
        name: `engine${index}`,
        // Other labels are another replica of the same engine.
        labels: { generation: this.#random() < 0.8 ? "1" : "2" },
      }))
      .filter((_, index) => index === sure || this.#random() < 0.6);
  }

  /** Drained means that nothing needs the engine any more: it is restarted at once. */
  async #drainOne(): Promise<void> {
    const running = this.#control.status().replicas.filter(({ state }) => state === "RUNNING");
    const leaving = running[Math.floor(this.#random() * running.length)]!;
    if (running.length < 2) return;
    const engine = this.#engines.find(({ url }) => url === leaving.url)!;
    const restart = this.#random() < 0.2;
    const drained = this.#control.drain(leaving.id);
    if (!restart) return this.#keep(drained);
    await drained;
    // An earlier replica of the same engine may drain as well.
    if (this.#control.status().replicas.some(({ url }) => url === leaving.url)) return;
    await engine.restart();
    this.restarts += 1;
  }

  #keep(promise: Promise<void>): void {
    const kept = promise.finally(() => this.#leaving.delete(kept));
    this.#leaving.add(kept);
  }
}

describe("a pool that changes under load", () => {
  it("fails no request because of 1,000 random changes", { timeout: 120_000 }, async () => {
    const random = seededRandom(20_260_817);
    const changes = seededRandom(5);
    cluster = await startPDCluster({ prefills: 4, decodes: 4, environment: { random } });
    const { app, url, prefills, engines } = cluster;
    await app.start();
    const pools = [
      new ChangingPool(cluster, "Prefill", () => changes.next()),
      new ChangingPool(cluster, "Decode", () => changes.next()),
    ];
    const failures: string[] = [];
    let finished = 0;
    let changing = true;

    const worker = async (id: number): Promise<void> => {
      for (let count = 0; changing; count++) {
        const messages = [{ role: "user", content: `worker ${id} asks ${count}` }];
        const stream = count % 2 === 0;
        const { status, text, broken } = await post(`${url}/v1/chat/completions`, {
          model,
          messages,
          stream,
        });
        const content = stream
          ? readStream(text).content
          : (JSON.parse(text) as { choices?: { message: { content: string } }[] }).choices?.[0]?.message
              .content;
        if (status !== 200 || broken !== undefined || content !== mockAnswer({ messages })) {
          failures.push(`${status} ${broken?.message ?? ""} ${text.slice(0, 300)}`);
        }
        finished += 1;
      }
    };
    const load = Promise.all(Array.from({ length: 12 }, (_, id) => worker(id)));
    // How many engines could be restarted by then depends on how long others drain.
    const enough = (): boolean => pools.every(({ restarts }) => restarts > 5);
    for (let change = 0; change < 1_000 || !enough(); change++) {
      await pools[change % 2]!.change();
      // Every few changes some requests get through; others are under way.
      const goal = change % 4 === 0 ? finished + 1 : finished;
      while (finished < goal) await nextTurn();
    }
    changing = false;
    await load;
    await Promise.all(pools.map((pool) => pool.settled()));

    expect(failures).toEqual([]);
    expect(finished).toBeGreaterThan(250);
    expect(pools[0]!.restarts).toBeGreaterThan(5);
    expect(pools[1]!.restarts).toBeGreaterThan(5);
    // No prefill engine went away with KV that decode had yet to fetch, and none was computed twice for a change.
    for (const { ledger } of prefills) expect(ledger.rejected).toEqual([]);
    for (const engine of engines) expect(engine.openResponses).toBe(0);
    expect(app.status().deployments[`Prefill:${model}`]!.replicas.every(({ holds }) => holds === 0)).toBe(
      true,
    );
    expect(app.pdHealth()[0]).toMatchObject({ degraded: false, disaggregated: finished, decodeOnly: {} });
  });

  it("drains one replica, tells who is unknown, and ends what runs on one that is removed", async () => {
    cluster = await startPDCluster({ prefills: 1, decodes: 2, client: { unavailableTimeoutMs: 50 } });
    const { app, url, decodes } = cluster;
    await app.start();
    expect(() => app.deployment("nobody")).toThrow(/Decode:mock-model/);
    const pool = app.deployment(`Decode:${model}`);
    await expect(pool.drain("d7")).rejects.toThrow(/d0, d1/);
    await expect(pool.setEndpoints(["nowhere"])).rejects.toThrow(/valid URL/);
    await pool.drain("d0");
    expect(pool.status().replicas.map(({ id }) => id)).toEqual(["d1"]);
    decodes[1]!.injectFault({ fault: { kind: "stallAfterTokens", tokens: 1 } });
    const body = { model, messages: [{ role: "user", content: "hi" }], stream: true };
    const answer = post(`${url}/v1/chat/completions`, body);
    await decodes[1]!.received(1);
    while (pool.status().replicas[0]?.inFlight !== 1) await nextTurn();
    const drained = pool.drain("d1");
    expect(pool.status().replicas).toMatchObject([{ id: "d1", state: "STOPPING", inFlight: 1 }]);
    await pool.remove("d1");
    await drained;
    const { status, text } = await answer;
    expect([status === 200 ? readStream(text).error !== undefined : status >= 500, text]).toEqual([
      true,
      text,
    ]);
    await pool.setEndpoints(null);
    // What was taken out by hand is back with what discovery says.
    expect(pool.status().replicas.map(({ id }) => id)).toEqual(["d0", "d1"]);
    decodes[1]!.clearFaults();
    expect((await post(`${url}/v1/chat/completions`, { ...body, stream: false })).status).toBe(200);
  });
});
