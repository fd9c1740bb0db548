import { Console } from "node:console";
import { Writable } from "node:stream";
import { pino } from "pino";
import { Registry } from "prom-client";
import { afterEach, describe, expect, it, vi } from "vitest";
import type { MetricsRegistry } from "../src/observability/metric-set.ts";
import { post } from "./support/client.ts";
import { model, type PDCluster, type PDClusterOptions, startPDCluster } from "./support/pd-cluster.ts";

const clusters: PDCluster[] = [];

afterEach(async () => {
  await Promise.all(clusters.splice(0).map((each) => each.stop()));
});

async function start(options: PDClusterOptions = {}): Promise<PDCluster> {
  const cluster = await startPDCluster(options);
  clusters.push(cluster);
  return cluster;
}

const chatPath = "/v1/chat/completions";
const chat = (extra: Readonly<Record<string, unknown>> = {}) => ({
  model,
  messages: [{ role: "user", content: "hello" }],
  max_tokens: 5,
  ...extra,
});

/** Names and labels of all series, without their values. */
function seriesOf(text: string): readonly string[] {
  return text
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => line.slice(0, line.lastIndexOf(" ")));
}

function valueOf(text: string, series: string): number | undefined {
  const line = text.split("\n").find((each) => each.startsWith(`${series} `));
  return line === undefined ? undefined : Number(line.slice(series.length + 1));
}

const own = 'application="default",deployment="PDProxyServer"';

describe("explain", () => {
  it("tells the story of a request, of its own application only", async () => {
    const [one, other] = [await start(), await start()];
    const headers = { "x-request-id": "story" };
    await post(one.url + chatPath, chat({ stream: true }), { headers });
    const story = one.app.explain("story")!;
    expect(story).toMatchObject({ mode: "pd", outcome: "success", retries: 0, method: "chat", stream: true });
    expect(story.legs.map(({ leg, failure }) => [leg, failure])).toEqual([
      ["prefill", undefined],
      ["decode", undefined],
    ]);
    for (const { choice, replica, sentMs, answeredMs, endMs } of story.legs) {
      expect(choice!.considered).toBe(2);
      expect(choice!.ranked.map((each) => each.replica)).toContain(replica);
      expect(sentMs).toBeLessThanOrEqual(answeredMs!);
      expect(answeredMs).toBeLessThanOrEqual(endMs!);
    }
    const { totalMs, timeToFirstTokenMs, prefillMs } = story.phases;
    expect(prefillMs).toBeGreaterThan(0);
    expect(timeToFirstTokenMs).toBeGreaterThanOrEqual(prefillMs!);
    expect(totalMs).toBeGreaterThanOrEqual(timeToFirstTokenMs!);
    expect(other.app.explain("story")).toBeUndefined();
  });

  it("remembers as many as it is told to", async () => {
    const { app, url } = await start();
    app.keepTraces(2);
    for (const id of ["a", "b", "c"]) await post(url + chatPath, chat(), { headers: { "x-request-id": id } });
    expect(["a", "b", "c"].map((id) => app.explain(id)?.requestId)).toEqual([undefined, "b", "c"]);
    expect(() => app.keepTraces(-1)).toThrow(RangeError);
  });
});

describe("x-serve-llm-route", () => {
  it("is not sent unless it is asked for", async () => {
    const { url } = await start();
    expect((await post(url + chatPath, chat())).headers["x-serve-llm-route"]).toBeUndefined();
  });

  it("names the replicas, also of a request that failed", async () => {
    const { url, decodes } = await start({ prefills: 1, decodes: 1, ingress: { routeHeader: true } });
    const good = await post(url + chatPath, chat({ stream: true }));
    expect(good.headers["x-serve-llm-route"]).toBe("mode=pd; prefill=p0; decode=d0");
    const alone = await post(url + chatPath, chat({ n: 2 }));
    expect(alone.headers["x-serve-llm-route"]).toBe("mode=decode-only; reason=multiple_choices; decode=d0");
    await decodes[0]!.stop();
    const bad = await post(url + chatPath, chat());
    expect(bad.status).toBe(502);
    expect(bad.headers["x-serve-llm-route"]).toMatch(/^mode=pd; prefill=p0; decode=d0/);
  });
});

describe("metrics", () => {
  it("are served only where that is asked for, and counted from the start", async () => {
    const { url: closed } = await start();
    expect((await fetch(`${closed}/metrics`)).status).toBe(404);

    const { url } = await start({ ingress: { metricsPath: "/metrics" } });
    await post(url + chatPath, chat({ stream: true, stream_options: { include_usage: true } }));
    const answer = await fetch(`${url}/metrics`);
    expect(answer.headers.get("content-type")).toMatch(/^text\/plain; version=0\.0\.4/);
    const text = await answer.text();
    const labels = `${own},method="chat",mode="pd",outcome="success",error_code=""`;
    expect(valueOf(text, `serve_llm_requests_total{${labels}}`)).toBe(1);
    expect(valueOf(text, `serve_llm_completion_tokens_total{${own}}`)).toBe(5);
    for (const step of [
      "queue",
      "prefill",
      "handoff",
      "decode_first_token",
      "time_to_first_token",
      "inter_token",
    ]) {
      expect(valueOf(text, `serve_llm_${step}_seconds_count{${own},mode="pd"}`), step).toBe(1);
    }
    const http = 'application="default",route="/v1/chat/completions",method="POST",status_code="200"';
    expect(valueOf(text, `ray_serve_num_http_requests_total{${http}}`)).toBe(1);
    const engines = seriesOf(text).filter((each) => each.startsWith("vllm:num_requests_running{"));
    expect(engines).toHaveLength(4);
    for (const series of engines)
      expect(series).toMatch(/deployment="(Prefill|Decode):mock-model",replica="[pd]\d"/);
  });

  it("keep their series whatever clients send", async () => {
    const { app, url } = await start({ ingress: { metricsPath: "/metrics" } });
    const send = async (index: number): Promise<void> => {
      const headers = { "x-request-id": `id-${index}`, "x-session-id": `session-${index}` };
      const body = index % 10 === 0 ? chat({ user: `user-${index}` }) : chat({ model: `model-${index}` });
      const path = index % 3 === 0 ? chatPath : `/path-${index}`;
      const request = { method: index % 7 === 0 ? "PROPFIND" : "POST", headers, body: JSON.stringify(body) };
      await (await app.fetch(new Request(url + path, request))).arrayBuffer();
    };
    // Every kind of request once, so that every series there will be is there.
    for (let index = 0; index < 210; index += 1) await send(index);
    await vi.waitFor(() => {
      const replicas = Object.values(app.status().deployments).flatMap((each) => each.replicas);
      expect(replicas.filter(({ engineLoad }) => engineLoad !== null)).toHaveLength(4);
    });
    const ofOurs = async (): Promise<readonly string[]> =>
      seriesOf(await app.metrics()).filter((each) => !each.startsWith("vllm:"));
    const before = await ofOurs();
    for (let index = 210; index < 10_210; index += 1) await send(index);
    expect((await ofOurs()).toSorted()).toEqual(before.toSorted());
  }, 120_000);

  it("go to the user's registry, told apart by application", async () => {
    const registry = new Registry() as MetricsRegistry;
    const { app } = await start();
    const { app: other } = await start();
    app.useMetrics(registry, { application: "one" });
    other.useMetrics(registry, { application: "two" });
    await Promise.all([app.metrics(), other.metrics()]);
    const text = await registry.metrics();
    for (const name of ["one", "two"]) {
      expect(valueOf(text, `ray_serve_application_status{application="${name}"}`)).toBe(6);
    }
    expect(() => app.useMetrics(registry)).toThrow(/in use already/);
  });

  it("tell of replicas, holds and ejections", async () => {
    const { app, url, decodes } = await start({ prefills: 1 });
    app.useMetrics();
    await app.metrics();
    await post(url + chatPath, chat());
    await decodes[1]!.stop();
    await Promise.all(Array.from({ length: 16 }, () => post(url + chatPath, chat())));
    const text = await app.metrics();
    const decode = 'application="default",deployment="Decode:mock-model"';
    const prefill = 'application="default",deployment="Prefill:mock-model"';
    const values = {
      ejected: valueOf(text, `serve_llm_ejections_total{${decode},replica="d1"}`),
      other: valueOf(text, `serve_llm_ejections_total{${decode},replica="d0"}`),
      healthy: valueOf(text, `ray_serve_deployment_replica_healthy{${decode},replica="d1"}`),
      running: valueOf(text, `serve_llm_replicas{${decode},state="RUNNING"}`),
      queued: valueOf(text, `ray_serve_deployment_queued_queries{${decode}}`),
      ongoing: valueOf(text, `ray_serve_replica_processing_queries{${decode},replica="d0"}`),
      pinned: valueOf(text, `serve_llm_replica_kv_holds{${prefill},replica="p0"}`),
      open: valueOf(text, `serve_llm_kv_holds{${own}}`),
      share: valueOf(text, `serve_llm_handoff_share_ratio{${own}}`),
    };
    expect(values).toEqual({
      ejected: 1,
      other: 0,
      healthy: 0,
      running: 2,
      queued: 0,
      ongoing: 0,
      pinned: 0,
      open: 0,
      share: 1,
    });
    expect(valueOf(text, `serve_llm_kv_holds_ended_total{${own},end="handed_off"}`)).toBeGreaterThanOrEqual(
      17,
    );
    expect(valueOf(text, `serve_llm_request_seconds_count{${own},mode="pd",outcome="success"}`)).toBe(17);
  });

  it("hold no engine to account for what its client did wrong", async () => {
    const { app, url } = await start({ decodes: 1, ingress: { metricsPath: "/metrics" } });
    expect((await post(url + chatPath, chat({ max_tokens: -1 }))).status).toBe(400);
    const story = app.explain(
      (await post(url + chatPath, chat({ max_tokens: -1 }))).headers["x-request-id"] as string,
    )!;
    expect(story.legs.at(-1)).toMatchObject({ failure: "engine_response_error", clientFault: true });
    const text = await app.metrics();
    const replica = 'application="default",deployment="Decode:mock-model",replica="d0"';
    expect(valueOf(text, `ray_serve_deployment_request_counter_total{${replica}}`)).toBe(2);
    expect(
      seriesOf(text).filter((each) => each.startsWith("ray_serve_deployment_error_counter_total")),
    ).toEqual([]);
    expect(seriesOf(text).filter((each) => each.startsWith("serve_llm_leg_failures_total"))).toEqual([]);
  });

  it("say which engines could not be asked", async () => {
    const { app, decodes } = await start({ prefills: 1, decodes: 1 });
    await decodes[0]!.stop();
    const text = await app.metrics();
    const up = (side: string, replica: string) =>
      valueOf(
        text,
        `serve_llm_engine_metrics_up{application="default",deployment="${side}:mock-model",replica="${replica}"}`,
      );
    expect([up("Prefill", "p0"), up("Decode", "d0")]).toEqual([1, 0]);
  });
});

describe("a logger", () => {
  it("gets one line for each request, and no secret, prompt or answer", async () => {
    const canaries = ["sk-canary-key", "canary-header", "canary-prompt"];
    const lines: unknown[] = [];
    const take = (fields: object, message: string): void => void lines.push([fields, message]);
    const { app, url, decodes } = await start({
      prefills: 1,
      decodes: 1,
      client: { apiKey: canaries[0], headers: { "x-secret": canaries[1]! } },
      ingress: { metricsPath: "/metrics", routeHeader: true },
    });
    app.useLogger({ info: take, warn: take, error: take }, { requests: true });
    const messages = [{ role: "user", content: canaries[2] }];
    await post(url + chatPath, chat({ messages }), {
      headers: { "x-request-id": "good", authorization: canaries[0]! },
    });
    await decodes[0]!.stop();
    const bad = await post(url + chatPath, chat({ messages }), { headers: { "x-request-id": "bad" } });
    const requests = lines.filter((line) => (line as [unknown, string])[1] === "request");
    expect(requests).toMatchObject([
      [{ requestId: "good", outcome: "success", mode: "pd", prefill: "p0", decode: "d0" }, "request"],
      [{ requestId: "bad", outcome: "failed", errorCode: "engine_connection_error" }, "request"],
    ]);
    const sinks = [lines, bad, app.status(), app.explain("good"), app.explain("bad"), await app.metrics()];
    for (const canary of canaries) expect(JSON.stringify(sinks)).not.toContain(canary);
  });

  it("may be pino or the console", async () => {
    const written = { pino: "", console: "" };
    const into = (name: keyof typeof written): Writable =>
      new Writable({
        write(chunk: Buffer, _encoding, done) {
          written[name] += String(chunk);
          done();
        },
      });
    const loggers = { pino: pino({}, into("pino")), console: new Console(into("console")) };
    for (const name of ["pino", "console"] as const) {
      const { app, url } = await start({ prefills: 1, decodes: 1 });
      app.useLogger(loggers[name], { requests: true });
      await post(url + chatPath, chat(), { headers: { "x-request-id": `by-${name}` } });
    }
    expect(JSON.parse(written.pino)).toMatchObject({
      level: 30,
      msg: "request",
      requestId: "by-pino",
      mode: "pd",
    });
    expect(written.console).toMatch(/requestId: 'by-console'[^]*request\n$/);
  });

  it("is refused when a method is missing", async () => {
    const { app } = await start();
    expect(() => app.useLogger({ info() {} } as never)).toThrow(/`warn` is missing/);
  });
});
