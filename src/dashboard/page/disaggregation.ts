import type { DisaggregationPart } from "../page-message.ts";
import { element, setAttribute, setText } from "./element.ts";
import { percent, words } from "./format.ts";
import type { PageState } from "./page-state.ts";

/** For each prefill/decode deployment: how many requests were really handed over, why the others were not, KV holds. */
export class DisaggregationView {
  readonly root = element("section", { class: "disaggregation", "aria-label": "Disaggregation" });
  #drawn = "";

  render({ disaggregations }: PageState): void {
    const text = JSON.stringify(disaggregations);
    if (text === this.#drawn) return;
    this.#drawn = text;
    this.root.replaceChildren(...disaggregations.map(card));
  }
}

function card(part: DisaggregationPart): HTMLElement {
  const { deployment, degraded, handoffShare, window, requests, disaggregated, decodeOnly } = part;
  const pill = element("span", { class: "pill" });
  setText(pill, degraded ? "degraded" : window === 0 ? "idle" : "ok");
  setAttribute(pill, "data-tone", degraded ? "bad" : window === 0 ? "" : "good");
  const meter = element("div", { class: "meter", "aria-hidden": "true" }, element("i"));
  meter.style.setProperty("--fill", String(handoffShare));
  return element(
    "article",
    { class: "card", "data-tone": degraded ? "bad" : "" },
    element("header", {}, element("h2", {}, "Disaggregation", element("small", {}, deployment)), pill),
    element(
      "p",
      {},
      window === 0
        ? "No request yet that should be handed over."
        : `${percent(handoffShare)} of the last ${window} requests that should have been handed over were.`,
    ),
    meter,
    list("Since the start", { requests, "handed over": disaggregated }),
    list("Decode-only, by reason", decodeOnly),
    list("KV holds", { open: part.holdsOpen, ...part.holdsEnded }),
  );
}

function list(title: string, counts: Readonly<Record<string, number>>): HTMLElement {
  const entries = Object.entries(counts).toSorted(([, one], [, other]) => other - one);
  const rows = entries.map(([name, count]) =>
    element("div", {}, element("dt", {}, words(name)), element("dd", {}, String(count))),
  );
  const body = rows.length === 0 ? element("p", { class: "empty" }, "none") : element("dl", {}, ...rows);
  return element("div", { class: "counts" }, element("h3", {}, title), body);
}
