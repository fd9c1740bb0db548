import type { RequestRow, Segment, SegmentKind } from "../page-message.ts";
import { element, setChildren } from "./element.ts";
import { duration, words } from "./format.ts";
import type { PageState } from "./page-state.ts";

const mostRows = 30;

const names: Readonly<Record<SegmentKind, string>> = {
  queue: "queue",
  prefill: "prefill",
  handoff: "handoff",
  firstToken: "decode, first token",
  stream: "stream",
  failed: "failed call",
};

interface Row {
  readonly root: HTMLTableRowElement;
  readonly bar: HTMLElement;
  shown: RequestRow;
}

/** Recent requests as a waterfall: one above the other, on one scale of time. */
export class RequestsView {
  readonly root: HTMLElement;
  readonly #body = element("tbody");
  readonly #axis = element("div", { class: "axis", "aria-hidden": "true" });
  readonly #empty = element("p", { class: "empty" }, "No request yet.");
  readonly #rows = new Map<number, Row>();
  readonly #paused: HTMLButtonElement;
  readonly #onlyFailed = element("input", { type: "checkbox" });
  readonly #scale: HTMLSelectElement;
  #state: PageState | undefined;

  constructor() {
    this.#paused = element("button", { type: "button", "aria-pressed": "false" }, "Pause");
    this.#paused.addEventListener("click", () => {
      const paused = this.#paused.getAttribute("aria-pressed") !== "true";
      this.#paused.setAttribute("aria-pressed", String(paused));
      this.#draw();
    });
    this.#onlyFailed.addEventListener("change", () => this.#draw());
    this.#scale = element(
      "select",
      { "aria-label": "Scale of time" },
      element("option", { value: "whole" }, "whole request"),
      element("option", { value: "first" }, "to first token"),
    );
    this.#scale.addEventListener("change", () => this.#rescale());
    this.root = element(
      "section",
      { class: "card requests" },
      element(
        "header",
        {},
        element("h2", {}, "Requests"),
        legend(),
        element("label", {}, this.#onlyFailed, " only failed"),
        this.#scale,
        this.#paused,
      ),
      element("div", { class: "scroll" }, element("table", {}, head(this.#axis), this.#body)),
      this.#empty,
    );
  }

  render(state: PageState): void {
    this.#state = state;
    if (this.#paused.getAttribute("aria-pressed") !== "true") this.#draw();
  }

  #draw(): void {
    if (this.#state === undefined) return;
    const { running, ended } = this.#state;
    const over = new Set(ended.map(({ key }) => key));
    const all = [...running.filter(({ key }) => !over.has(key)).toReversed(), ...ended.toReversed()];
    const chosen = this.#onlyFailed.checked
      ? all.filter(({ outcome, segments }) => toneOf(outcome) === "bad" || segments.some(isFailed))
      : all;
    const shown = chosen.slice(0, mostRows);
    const keys = new Set(shown.map(({ key }) => key));
    for (const key of this.#rows.keys()) if (!keys.has(key)) this.#rows.delete(key);
    const rows = shown.map((request) => this.#row(request).root);
    setChildren(this.#body, rows);
    this.#empty.hidden = rows.length > 0;
    this.#rescale();
  }

  #row(request: RequestRow): Row {
    const known = this.#rows.get(request.key);
    if (known?.shown === request) return known;
    // What ended never changes; what runs is drawn anew.
    const made = known !== undefined && sameRow(known.shown, request) ? known : drawRow(request);
    made.shown = request;
    if (made !== known) this.#rows.set(request.key, made);
    return made;
  }

  #rescale(): void {
    const first = this.#scale.value === "first";
    const lengthOf = ({ firstTokenMs, totalMs }: RequestRow): number =>
      first ? (firstTokenMs ?? totalMs) : totalMs;
    const longest = Math.max(1, ...[...this.#rows.values()].map(({ shown }) => lengthOf(shown)));
    for (const { bar, shown } of this.#rows.values()) {
      [...bar.children].forEach((child, index) => {
        const segment = shown.segments[index];
        if (segment === undefined || !(child instanceof HTMLElement)) return;
        child.style.left = `${(segment.from / longest) * 100}%`;
        child.style.width = `${((segment.to - segment.from) / longest) * 100}%`;
      });
    }
    const ticks = [0, 0.25, 0.5, 0.75, 1].map((part) => element("span", {}, duration(longest * part)));
    this.#axis.replaceChildren(...ticks);
  }
}

function drawRow(request: RequestRow): Row {
  const { id, at, model, method, mode, reason, outcome, error, retries, segments, tokens } = request;
  const bar = element("div", { class: "bars", "aria-hidden": "true" });
  for (const segment of segments) {
    bar.append(element("i", { "data-kind": segment.kind, "data-leg": segment.leg, title: titleOf(segment) }));
  }
  const result = element("td", { class: "result", "data-tone": toneOf(outcome) }, resultOf(outcome, error));
  if (retries > 0) result.append(element("small", {}, ` ${retries} ${retries === 1 ? "retry" : "retries"}`));
  const root = element(
    "tr",
    { "data-outcome": outcome ?? "running", title: `${method} · ${model}` },
    element("td", { class: "time" }, new Date(at).toLocaleTimeString(undefined, { hour12: false })),
    element("td", { class: "id" }, element("span", { title: id }, id)),
    element(
      "td",
      { class: "way" },
      wayOf(request),
      ...(reason === null ? [] : [element("small", {}, ` ${words(reason)}`)]),
    ),
    element(
      "td",
      { class: "waterfall" },
      bar,
      element("span", { class: "unseen" }, segments.map(titleOf).join(", ")),
    ),
    element("td", { class: "number" }, duration(request.firstTokenMs)),
    element("td", { class: "number" }, duration(request.totalMs)),
    element("td", { class: "number" }, tokens === null ? "–" : String(tokens)),
    result,
  );
  root.dataset["mode"] = mode;
  return { root, bar, shown: request };
}

function head(axis: HTMLElement): HTMLElement {
  const column = (text: string, name = ""): HTMLElement => element("th", { scope: "col", class: name }, text);
  return element(
    "thead",
    {},
    element(
      "tr",
      {},
      column("Time"),
      column("Request"),
      column("Replicas"),
      element(
        "th",
        { scope: "col", class: "waterfall" },
        element("span", { class: "unseen" }, "Phases"),
        axis,
      ),
      column("First token", "number"),
      column("Total", "number"),
      column("Tokens", "number"),
      column("Result"),
    ),
  );
}

function legend(): HTMLElement {
  const list = element("ul", { class: "legend", "aria-label": "Colours" });
  for (const [kind, name] of Object.entries(names)) {
    list.append(element("li", {}, element("i", { "data-kind": kind, "aria-hidden": "true" }), name));
  }
  return list;
}

/** The replicas that served it in the end. */
function wayOf({ segments, mode }: RequestRow): string {
  const last = (leg: Segment["leg"]): string | undefined =>
    segments.findLast((segment) => segment.leg === leg)?.replica;
  const prefill = mode === "pd" ? last("prefill") : undefined;
  return [prefill, last("decode")].filter((replica) => replica !== undefined).join(" → ") || "–";
}

function titleOf({ kind, from, to, replica, leg }: Segment): string {
  const what = kind === "failed" ? `failed ${leg ?? "call"}` : names[kind];
  return `${what}${replica === undefined ? "" : ` on ${replica}`}: ${duration(to - from)}`;
}

function isFailed({ kind }: Segment): boolean {
  return kind === "failed";
}

function sameRow(one: RequestRow, other: RequestRow): boolean {
  return one.outcome !== null && other.outcome !== null;
}

function resultOf(outcome: string | null, error: string | null): string {
  if (outcome === null) return "running";
  if (outcome === "success") return "✓ ok";
  if (outcome === "refused" || outcome === "cancelled") return outcome;
  return `✕ ${words(error ?? outcome)}`;
}

function toneOf(outcome: string | null): string {
  if (outcome === "failed" || outcome === "broken") return "bad";
  return outcome === "success" ? "good" : "";
}
