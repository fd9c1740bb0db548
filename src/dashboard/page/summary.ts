import { element, setAttribute, setText } from "./element.ts";
import { amount, duration, percent } from "./format.ts";
import type { PageState } from "./page-state.ts";
import { conditionOf } from "./replica-view.ts";

type Tone = "good" | "warn" | "bad" | "";

interface Reading {
  readonly value: string;
  readonly note: string;
  readonly tone?: Tone | undefined;
}

const readings: Readonly<Record<string, (state: PageState) => Reading>> = {
  "Replicas in service": (state) => {
    const { replicas } = state;
    const out = replicas.filter((replica) => conditionOf(replica) === "bad").length;
    return {
      value: `${replicas.length - out}/${replicas.length}`,
      note: out === 0 ? "all of them" : `${out} out of service`,
      tone: out > 0 ? "bad" : replicas.length === 0 ? "" : "good",
    };
  },
  "Requests per second": ({ summary }) => ({
    value: amount(summary?.requestsPerSecond ?? 0),
    note: `${summary?.requests ?? 0} in 60 s`,
  }),
  "Running now": ({ application, pools }) => ({
    value: String(application?.inFlight ?? 0),
    note: `${pools.reduce((total, { queued }) => total + queued, 0)} waiting for a slot`,
  }),
  "First token, p50": ({ summary }) => ({
    value: duration(summary?.timeToFirstTokenMs?.p50),
    note: `p95 ${duration(summary?.timeToFirstTokenMs?.p95)}`,
  }),
  "Inter-token, p50": ({ summary }) => ({
    value: duration(summary?.interTokenMs?.p50),
    note: `p95 ${duration(summary?.interTokenMs?.p95)}`,
  }),
  "Tokens per second": ({ summary }) => ({
    value: amount(summary?.tokensPerSecond ?? 0),
    note: "of answers",
  }),
  Errors: ({ summary }) => {
    const share = summary?.errorShare ?? null;
    return {
      value: percent(share),
      note: "in the last 60 s",
      tone: share === null ? "" : share >= 0.05 ? "bad" : share > 0 ? "warn" : "good",
    };
  },
  Disaggregated: ({ summary, disaggregations }) => {
    const share = summary?.decodeOnlyShare ?? null;
    return {
      value: share === null ? "–" : percent(1 - share),
      note: `decode-only ${percent(share)}`,
      tone: disaggregations.some(({ degraded }) => degraded) ? "bad" : "",
    };
  },
};

/** The last minute in eight numbers. */
export class SummaryView {
  readonly root = element("section", { class: "tiles", "aria-label": "The last minute" });
  readonly #tiles: readonly {
    readonly root: HTMLElement;
    readonly value: HTMLElement;
    readonly note: HTMLElement;
    readonly read: (state: PageState) => Reading;
  }[];

  constructor() {
    this.#tiles = Object.entries(readings).map(([label, read]) => {
      const value = element("strong");
      const note = element("small");
      const root = element("div", { class: "card tile" }, element("span", {}, label), value, note);
      return { root, value, note, read };
    });
    this.root.append(...this.#tiles.map(({ root }) => root));
  }

  render(state: PageState): void {
    for (const { root, value, note, read } of this.#tiles) {
      const reading = read(state);
      setText(value, reading.value);
      setText(note, reading.note);
      setAttribute(root, "data-tone", reading.tone ?? "");
    }
  }
}
