import type { PageMessage } from "../page-message.ts";
import { AlertsView } from "./alerts.ts";
import { ChartsView } from "./charts.ts";
import { DisaggregationView } from "./disaggregation.ts";
import { element, setAttribute, setText } from "./element.ts";
import { PageState } from "./page-state.ts";
import { PoolsView } from "./pools.ts";
import { RequestsView } from "./requests.ts";
import { SummaryView } from "./summary.ts";
import { ThemeSwitch } from "./theme-switch.ts";

const retryMs = 2000;
/** Without a message for so many intervals, what the page shows is old. */
const staleIntervals = 5;

const state = new PageState();
const title = element("h1", {}, "serve-llm");
const status = element("span", { class: "pill" });
const connection = element("span", { class: "connection", role: "status" });
const alerts = new AlertsView();
const summary = new SummaryView();
const charts = new ChartsView();
const pools = new PoolsView();
const requests = new RequestsView();
const disaggregation = new DisaggregationView();

const theme = new ThemeSwitch(() => charts.redraw());
const main = element(
  "main",
  {},
  alerts.root,
  summary.root,
  pools.root,
  charts.root,
  element("div", { class: "below" }, requests.root, disaggregation.root),
);
document.body.append(
  element(
    "header",
    { class: "top" },
    title,
    status,
    element("span", { class: "space" }),
    connection,
    theme.root,
  ),
  main,
);
connect();

let drawing = false;

function draw(): void {
  drawing = false;
  const { application } = state;
  if (application === undefined) return;
  setText(title, application.name);
  const failing = application.status === "UNHEALTHY" || application.status === "DEPLOY_FAILED";
  setText(status, application.status.toLowerCase().replaceAll("_", " "));
  setAttribute(status, "data-tone", application.status === "RUNNING" ? "good" : failing ? "bad" : "warn");
  const out = state.replicas.filter(({ health }) => health === "ejected" || health === "unhealthy").length;
  document.title = `${out > 0 ? `(${out}) ` : ""}${application.name}`;
  alerts.render(state);
  summary.render(state);
  pools.render(state);
  charts.render(state);
  requests.render(state);
  disaggregation.render(state);
}

function connect(): void {
  // The page is served under a prefix of the user's choice, with or without a slash at its end.
  const source = new EventSource(`${location.pathname.replace(/\/+$/, "")}/events`);
  let stale: ReturnType<typeof setTimeout> | undefined;
  say("connecting", "");
  source.addEventListener("message", ({ data }: MessageEvent<string>) => {
    state.apply(JSON.parse(data) as PageMessage);
    say("live", "good");
    clearTimeout(stale);
    stale = setTimeout(() => say("no news", "warn"), staleIntervals * state.intervalMs);
    if (drawing) return;
    drawing = true;
    requestAnimationFrame(draw);
  });
  source.addEventListener("error", () => {
    clearTimeout(stale);
    say("not connected", "bad");
    // A browser gives up for good when it is answered with an error.
    source.close();
    setTimeout(connect, retryMs);
  });
}

function say(text: string, tone: string): void {
  setText(connection, text);
  setAttribute(connection, "data-tone", tone);
  main.classList.toggle("old", tone === "bad" || tone === "warn");
}
