import type { PoolPart, ReplicaPart } from "../page-message.ts";
import { element, setAttribute, setChildren, setText } from "./element.ts";
import { percent } from "./format.ts";
import type { PageState } from "./page-state.ts";
import { ReplicaGrid } from "./replica-grid.ts";
import { byId, conditionOf } from "./replica-view.ts";

/** One card for each pool, with its replicas. */
export class PoolsView {
  readonly root = element("section", { class: "pools", "aria-label": "Pools" });
  readonly #cards = new Map<string, PoolCard>();

  render(state: PageState): void {
    const byPool = new Map<string, ReplicaPart[]>();
    for (const replica of state.replicas) {
      const known = byPool.get(replica.pool);
      if (known === undefined) byPool.set(replica.pool, [replica]);
      else known.push(replica);
    }
    const cards = state.pools.map((pool) => {
      let card = this.#cards.get(pool.name);
      if (card === undefined) this.#cards.set(pool.name, (card = new PoolCard(pool.name)));
      card.render(pool, (byPool.get(pool.name) ?? []).toSorted(byId));
      return card.root;
    });
    const present = new Set(state.pools.map(({ name }) => name));
    for (const name of this.#cards.keys()) if (!present.has(name)) this.#cards.delete(name);
    setChildren(this.root, cards);
  }
}

class PoolCard {
  readonly root: HTMLElement;
  readonly #status = element("span", { class: "pill" });
  readonly #facts = element("p", { class: "facts" });
  readonly #message = element("p", { class: "message" });
  readonly #grid: ReplicaGrid;

  constructor(name: string) {
    const [role, ...rest] = name.split(":");
    const heading = element("h2", {}, element("span", {}, role ?? name));
    if (rest.length > 0) heading.append(element("small", {}, rest.join(":")));
    this.#grid = new ReplicaGrid(name);
    this.root = element(
      "article",
      { class: "card", "aria-label": `Pool ${name}`, "data-pool": name },
      element("header", {}, heading, this.#status),
      this.#facts,
      this.#message,
      this.#grid.root,
    );
  }

  render(pool: PoolPart, replicas: readonly ReplicaPart[]): void {
    const { status, message, queued, target } = pool;
    setText(this.#status, status.toLowerCase());
    setAttribute(
      this.#status,
      "data-tone",
      status === "HEALTHY" ? "good" : status === "UNHEALTHY" || status === "DEPLOY_FAILED" ? "bad" : "warn",
    );
    setText(this.#facts, factsOf(replicas, queued, target).join(" · "));
    setText(this.#message, message);
    this.#message.hidden = message === "";
    this.#grid.render(replicas);
  }
}

function factsOf(replicas: readonly ReplicaPart[], queued: number, target: number | null): readonly string[] {
  const well = replicas.filter((replica) => conditionOf(replica) !== "bad").length;
  const inFlight = replicas.reduce((total, replica) => total + replica.inFlight, 0);
  const holds = replicas.reduce((total, replica) => total + replica.holds, 0);
  const told = replicas.flatMap(({ engine }) => (engine === null ? [] : [engine.kvUsage]));
  const mean = told.reduce((total, usage) => total + usage, 0) / told.length;
  return [
    `${well} of ${replicas.length} in service`,
    ...(target === null || target === replicas.length ? [] : [`target ${target}`]),
    `${inFlight} in flight`,
    `${queued} waiting`,
    ...(holds === 0 ? [] : [`${holds} KV holds`]),
    ...(told.length === 0 ? [] : [`KV cache ${percent(mean)} on average`]),
  ];
}
