import type { ReplicaPart } from "../page-message.ts";
import { element, setAttribute, setChildren, setText } from "./element.ts";
import { percent } from "./format.ts";
import { ailment, conditionOf, describeReplica, signs } from "./replica-view.ts";

/** Up to so many replicas get a tile with words. */
const mostTiles = 12;
/** Up to so many get a cell with a number; more are dots. */
const mostCells = 240;

type Density = "tiles" | "cells" | "dots";

interface Entry {
  readonly button: HTMLButtonElement;
  shown: ReplicaPart | undefined;
  density: Density | undefined;
}

/** All replicas of a pool: tiles for a few, cells for many, dots for a thousand. One stop of the tab key; arrows move. */
export class ReplicaGrid {
  readonly root: HTMLElement;
  readonly #cells: HTMLElement;
  readonly #detail = element("p", { class: "detail" });
  readonly #entries = new Map<string, Entry>();
  #selected: string | undefined;

  constructor(pool: string) {
    this.#cells = element("div", { class: "replicas", role: "group", "aria-label": `Replicas of ${pool}` });
    this.#cells.addEventListener("keydown", (event) => this.#move(event));
    this.#cells.addEventListener("focusin", (event) => this.#select(event.target));
    this.#cells.addEventListener("click", (event) => this.#select(event.target));
    this.root = element("div", {}, this.#cells, this.#detail);
  }

  render(replicas: readonly ReplicaPart[]): void {
    const density: Density =
      replicas.length <= mostTiles ? "tiles" : replicas.length <= mostCells ? "cells" : "dots";
    setAttribute(this.#cells, "data-density", density);
    const present = new Set(replicas.map(({ id }) => id));
    for (const id of this.#entries.keys()) if (!present.has(id)) this.#entries.delete(id);
    if (this.#selected === undefined || !present.has(this.#selected)) this.#selected = undefined;
    const buttons = replicas.map((replica) => this.#entry(replica, density).button);
    setChildren(this.#cells, buttons);
    const stop = this.#entries.get(this.#selected ?? replicas[0]?.id ?? "")?.button;
    for (const button of buttons) button.tabIndex = button === stop ? 0 : -1;
    const selected = replicas.find(({ id }) => id === this.#selected);
    // Tiles say it all themselves.
    this.#detail.hidden = density === "tiles";
    setText(
      this.#detail,
      selected === undefined ? "Choose a replica to see how it does." : describeReplica(selected),
    );
  }

  #entry(replica: ReplicaPart, density: Density): Entry {
    let entry = this.#entries.get(replica.id);
    if (entry === undefined) {
      const button = element("button", { type: "button", class: "replica", "data-id": replica.id });
      this.#entries.set(replica.id, (entry = { button, shown: undefined, density: undefined }));
    }
    // The state keeps the object of a replica that did not change.
    if (entry.shown !== replica || entry.density !== density) {
      draw(entry.button, replica, density);
      entry.shown = replica;
      entry.density = density;
    }
    return entry;
  }

  #select(target: EventTarget | null): void {
    const button = target instanceof Element ? target.closest<HTMLButtonElement>(".replica") : null;
    const id = button?.dataset["id"];
    const entry = id === undefined ? undefined : this.#entries.get(id);
    if (button === null || entry?.shown === undefined) return;
    for (const other of this.#cells.querySelectorAll<HTMLButtonElement>('[tabindex="0"]'))
      other.tabIndex = -1;
    button.tabIndex = 0;
    this.#selected = id;
    setText(this.#detail, describeReplica(entry.shown));
  }

  #move(event: KeyboardEvent): void {
    const buttons = [...this.#cells.children] as HTMLButtonElement[];
    const index = buttons.indexOf(document.activeElement as HTMLButtonElement);
    if (index < 0) return;
    const top = buttons[0]!.offsetTop;
    const columns = buttons.findIndex((button) => button.offsetTop > top);
    const row = columns < 0 ? buttons.length : columns;
    const steps: Readonly<Record<string, number>> = {
      ArrowLeft: index - 1,
      ArrowRight: index + 1,
      ArrowUp: index - row,
      ArrowDown: index + row,
      Home: 0,
      End: buttons.length - 1,
    };
    const target = steps[event.key];
    if (target === undefined) return;
    event.preventDefault();
    buttons[target]?.focus();
  }
}

function draw(button: HTMLButtonElement, replica: ReplicaPart, density: Density): void {
  const condition = conditionOf(replica);
  const usage = replica.engine?.kvUsage;
  button.dataset["condition"] = condition;
  button.dataset["pressure"] = usage !== undefined && usage >= 0.9 ? "high" : "";
  button.style.setProperty("--fill", String(usage ?? 0));
  button.setAttribute("aria-label", describeReplica(replica));
  button.title = describeReplica(replica);
  if (density === "dots") button.replaceChildren(signs[condition]);
  else if (density === "cells") {
    button.replaceChildren(element("span", {}, signs[condition] || String(replica.inFlight)));
  } else button.replaceChildren(...tile(replica));
}

function tile(replica: ReplicaPart): readonly HTMLElement[] {
  const { id, inFlight, engine, holds } = replica;
  const told = ailment(replica);
  const sign = signs[conditionOf(replica)];
  const facts = [
    `${inFlight} in flight`,
    ...(engine === null ? [] : [`${engine.running} run, ${engine.waiting} wait`]),
    ...(holds === 0 ? [] : [`${holds} holds`]),
  ];
  return [
    element(
      "span",
      { class: "name" },
      element("i", { class: "lamp", "aria-hidden": "true" }, sign),
      element("b", {}, id),
    ),
    element("span", { class: "told" }, told === "" ? facts.join(" · ") : told),
    element(
      "span",
      { class: "kv" },
      element("i", { class: "bar" }),
      engine === null ? "KV –" : `KV ${percent(engine.kvUsage)}`,
    ),
  ];
}
