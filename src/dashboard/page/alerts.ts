import { element, setChildren } from "./element.ts";
import { percent, words } from "./format.ts";
import type { PageState } from "./page-state.ts";
import { ailment, conditionOf } from "./replica-view.ts";

const mostReplicas = 8;

interface Alert {
  readonly tone: "bad" | "warn";
  readonly text: string;
}

/** What somebody should look at now, the worst first. Nothing is there when all is well. */
export class AlertsView {
  readonly root = element("ul", { class: "alerts", "aria-live": "polite", "aria-label": "Alerts" });
  readonly #shown = new Map<string, HTMLElement>();

  render(state: PageState): void {
    const alerts = alertsOf(state);
    const keys = new Set(alerts.map(({ tone, text }) => tone + text));
    for (const key of this.#shown.keys()) if (!keys.has(key)) this.#shown.delete(key);
    const items = alerts.map(({ tone, text }) => {
      let item = this.#shown.get(tone + text);
      if (item === undefined) {
        const sign = element("i", { "aria-hidden": "true" }, tone === "bad" ? "✕" : "!");
        this.#shown.set(tone + text, (item = element("li", { "data-tone": tone }, sign, text)));
      }
      return item;
    });
    setChildren(this.root, items);
    this.root.hidden = items.length === 0;
  }
}

function alertsOf({ application, pools, replicas, disaggregations }: PageState): readonly Alert[] {
  const alerts: Alert[] = [];
  const add = (tone: Alert["tone"], text: string): void => void alerts.push({ tone, text });
  if (application !== undefined && application.message !== "") add("bad", application.message);
  for (const { name, status } of pools) {
    if (status === "UNHEALTHY" || status === "DEPLOY_FAILED")
      add("bad", `${name} is ${status.toLowerCase()}.`);
  }
  for (const { deployment, degraded, handoffShare, window, decodeOnly } of disaggregations) {
    if (!degraded) continue;
    const [reason] = Object.entries(decodeOnly).toSorted(([, one], [, other]) => other - one)[0] ?? [];
    add(
      "bad",
      `${deployment} hardly disaggregates: ${percent(handoffShare)} of the last ${window} requests were handed over` +
        (reason === undefined ? "." : `; most often because of ${words(reason)}.`),
    );
  }
  for (const [tone, condition] of [
    ["bad", "bad"],
    ["warn", "warn"],
  ] as const) {
    const ailing = replicas.filter((replica) => conditionOf(replica) === condition);
    for (const replica of ailing.slice(0, mostReplicas)) {
      add(tone, `${replica.pool} · ${replica.id}: ${ailment(replica)}`);
    }
    const more = ailing.length - mostReplicas;
    if (more > 0) add(tone, `${more} more replicas like these`);
  }
  for (const { deployment, disagreements } of disaggregations) {
    for (const message of disagreements) add("warn", `${deployment}: ${message}`);
  }
  return alerts;
}
