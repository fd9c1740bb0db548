import type { Random } from "../../src/internal/random.ts";
import type { DeploymentControl } from "../../src/serve/deployment-context.ts";
import type { PDCluster } from "../support/pd-cluster.ts";

interface Side {
  readonly control: DeploymentControl;
  readonly prefix: string;
  readonly urls: readonly string[];
  /** Part of the endpoint's name; a new one makes a new replica of the same engine. */
  readonly versions: number[];
}

/** Changes the pools of a running application by hand: replicas drain, are cut off, are replaced, and come back. */
export class PoolChanges {
  readonly #sides: readonly Side[];
  readonly #running = new Set<Promise<void>>();
  #count = 0;

  constructor({ app, prefills, decodes }: PDCluster, model: string) {
    const side = (name: string, prefix: string, engines: PDCluster["engines"]): Side => ({
      control: app.deployment(`${name}:${model}`),
      prefix,
      urls: engines.map(({ url }) => url),
      versions: engines.map(() => 0),
    });
    this.#sides = [side("Prefill", "p", prefills), side("Decode", "d", decodes)];
  }

  /** Changes made so far. */
  get count(): number {
    return this.#count;
  }

  /** Makes one change; what it leads to goes on in the background. Never takes the last replica. */
  change(random: Random): void {
    const side = this.#sides[random.next() < 0.5 ? 0 : 1]!;
    const { control, versions } = side;
    const running = control.status().replicas.filter(({ state }) => state === "RUNNING");
    const chosen = running[Math.floor(random.next() * running.length)];
    const kind = random.next();
    this.#count += 1;
    if (kind < 0.3 && chosen !== undefined && running.length > 1) this.#watch(control.drain(chosen.id));
    else if (kind < 0.5 && chosen !== undefined && running.length > 1) this.#watch(control.remove(chosen.id));
    else {
      if (kind < 0.75) versions[Math.floor(random.next() * versions.length)]! += 1;
      this.#setAll(side);
    }
  }

  /** Everything that was taken out comes back; resolves when what left has drained. */
  async restore(): Promise<void> {
    for (const side of this.#sides) this.#setAll(side);
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  #setAll({ control, prefix, urls, versions }: Side): void {
    const endpoints = urls.map((url, index) => ({ url, name: `${prefix}${index}v${versions[index]}` }));
    this.#watch(control.setEndpoints(endpoints));
  }

  #watch(change: Promise<void>): void {
    const watched = change.finally(() => this.#running.delete(watched));
    this.#running.add(watched);
  }
}
