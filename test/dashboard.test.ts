import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import express from "express";
import { request } from "undici";
import { afterEach, describe, expect, it } from "vitest";
import { dashboard, type DashboardGuard, type DashboardOptions } from "../src/dashboard/dashboard.ts";
import type { PageMessage } from "../src/dashboard/page-message.ts";
import { PageState } from "../src/dashboard/page/page-state.ts";
import { post } from "./support/client.ts";
import { model, type PDCluster, type PDClusterOptions, startPDCluster } from "./support/pd-cluster.ts";

const clusters: PDCluster[] = [];
const servers: Server[] = [];

afterEach(async () => {
  await Promise.all(clusters.splice(0).map((each) => each.stop()));
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

async function start(options: PDClusterOptions = {}): Promise<PDCluster> {
  const cluster = await startPDCluster({ prefills: 1, decodes: 1, ...options });
  clusters.push(cluster);
  return cluster;
}

async function mounted(options: DashboardOptions = {}, cluster: PDClusterOptions = {}): Promise<PDCluster> {
  const started = await start(cluster);
  started.app.mount(dashboard(started.app, { prefix: "/status", updateIntervalMs: 100, ...options }));
  return started;
}

async function listen(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Reads a page's stream until `found` is true of its state. */
async function watch(
  stream: AsyncIterable<Uint8Array>,
  found: (state: PageState) => boolean,
): Promise<string> {
  const state = new PageState();
  const decoder = new TextDecoder();
  let all = "";
  let seen = 0;
  for await (const chunk of stream) {
    all += decoder.decode(chunk, { stream: true });
    const events = all.split("\n\n").slice(0, -1);
    for (const event of events.slice(seen))
      state.apply(JSON.parse(event.slice("data: ".length)) as PageMessage);
    seen = events.length;
    if (found(state)) return all;
  }
  throw new Error("The stream ended early.");
}

const chat = (extra: Readonly<Record<string, unknown>> = {}) => ({
  model,
  messages: [{ role: "user", content: "canary-prompt" }],
  max_tokens: 5,
  ...extra,
});

describe("the status page", () => {
  it("is not there unless it is mounted", async () => {
    const { url, app } = await start();
    dashboard(app, { prefix: "/status" });
    expect((await fetch(`${url}/status`)).status).toBe(404);
  });

  it("is one file that needs no other, and lets nothing but its own code run", async () => {
    const { url } = await mounted();
    for (const path of ["/status", "/status/"]) {
      const answer = await fetch(url + path);
      const html = await answer.text();
      expect([answer.status, answer.headers.get("content-type")]).toEqual([200, "text/html; charset=utf-8"]);
      expect(html).not.toMatch(/(?:src|href)="(?!data:)/);
      expect(html).not.toMatch(/@import|url\(/);
      const policy = answer.headers.get("content-security-policy")!;
      expect(policy).toMatch(/^default-src 'none'; script-src 'sha256-[^']+'; style-src 'sha256-[^']+';/);
      expect(policy).toContain("connect-src 'self'");
      expect(policy).toContain("frame-ancestors 'none'");
      expect(policy).not.toMatch(/unsafe|\*|https?:/);
      expect(answer.headers.get("cache-control")).toBe("no-store");
    }
    expect((await fetch(`${url}/status`, { method: "HEAD" })).status).toBe(200);
    expect((await fetch(`${url}/status`, { method: "POST" })).status).toBe(405);
    expect((await fetch(`${url}/status/other`)).status).toBe(404);
    expect((await fetch(`${url}/statuses`)).status).toBe(404);
  });

  it("leaves the application's own routes alone, and does not count as a request", async () => {
    const { url, app } = await mounted();
    expect((await fetch(`${url}/v1/models`)).status).toBe(200);
    const { body } = await request(`${url}/status/events`);
    await watch(body, (state) => state.application?.inFlight === 0);
    expect(app.status().inFlight).toBe(0);
    body.destroy();
  });

  it("does not start the application", async () => {
    const { app } = await start();
    const { buildPdOpenaiApp } = await import("../src/builders/build-pd-openai-app.ts");
    const config = { modelLoadingConfig: { modelId: "m" }, endpoints: ["http://127.0.0.1:9"] };
    const idle = buildPdOpenaiApp({
      prefillConfig: { ...config, engineKwargs: { kv_transfer_config: nixl } },
      decodeConfig: { ...config, engineKwargs: { kv_transfer_config: nixl } },
    });
    idle.mount(dashboard(idle));
    expect((await idle.fetch(new Request("http://any/dashboard"))).status).toBe(200);
    const events = await idle.fetch(new Request("http://any/dashboard/events"));
    await watch(events.body!, ({ application }) => application?.status === "NOT_STARTED");
    expect(idle.status().status).toBe("NOT_STARTED");
    expect(app.status().status).toBe("RUNNING");
    await idle.shutdown();
  });

  it("shows requests and replicas through every door, and nothing that is a secret", async () => {
    const canaries = ["sk-canary-key", "canary-header", "canary-prompt", "127.0.0.1"];
    const secret = { apiKey: canaries[0], headers: { "x-secret": canaries[1]! } };
    const { url, app } = await mounted({}, { client: secret });
    const own = dashboard(app, { prefix: "/", updateIntervalMs: 100 });
    const viaExpress = await listen(express().use("/admin/page", own.handler));
    const streams = [
      (await request(`${url}/status/events`)).body,
      (await app.fetch(new Request("http://any/status/events"))).body!,
      (await request(`${viaExpress}/admin/page/events`)).body,
      (await own.fetch(new Request("http://any/events"))).body!,
    ];
    const texts = Promise.all(
      streams.map((stream) =>
        watch(stream, ({ ended, replicas }) => ended.length === 2 && replicas.some(({ calls }) => calls > 0)),
      ),
    );
    await post(`${url}/v1/chat/completions`, chat({ stream: true }), {
      headers: { "x-request-id": "one", authorization: canaries[0]! },
    });
    await post(`${url}/v1/chat/completions`, chat({ n: 2 }), { headers: { "x-request-id": "two" } });
    for (const text of await texts) {
      expect(text).toContain('"id":"one"');
      expect(text).toContain('"reason":"multiple_choices"');
      for (const canary of canaries) expect(text).not.toContain(canary);
    }
    expect((await fetch(`${viaExpress}/admin/page`)).status).toBe(200);
  });

  it("passes on what is not its own", async () => {
    const { app } = await start();
    const page = dashboard(app, { prefix: "/status" });
    const url = await listen(express().use(page.handler, app.handler));
    expect((await fetch(`${url}/status`)).status).toBe(200);
    expect((await fetch(`${url}/v1/models`)).status).toBe(200);
  });

  it("ends with its application, and leaves nothing open", async () => {
    const { url, app, server } = await mounted();
    const own = dashboard(app, { prefix: "/page" });
    const { body } = await request(`${url}/status/events`);
    await watch(body, (state) => state.application !== undefined);
    await server.shutdown();
    const answer = await own.fetch(new Request("http://any/page/events"));
    expect([answer.status, await answer.text()]).toEqual([503, "The application has shut down.\n"]);
  });

  it("can be closed", async () => {
    const { app } = await start();
    const page = dashboard(app, { prefix: "/page", updateIntervalMs: 100 });
    const events = await page.fetch(new Request("http://any/page/events"));
    page.close();
    await expect(watch(events.body!, () => false)).rejects.toThrow("ended early");
  });

  it("refuses to be mounted twice, over the application, or anywhere strange", async () => {
    const { app } = await mounted();
    expect(() => app.mount(dashboard(app, { prefix: "/status/" }))).toThrow(
      /mounted under "\/status" already/,
    );
    expect(() => app.mount(dashboard(app, { prefix: "/" }))).toThrow(/hide the application/);
    expect(() => dashboard(app, { prefix: "status" })).toThrow(/begins with a slash/);
    expect(() => dashboard(app, { updateIntervalMs: 5 })).toThrow(RangeError);
    expect(() => dashboard(app, { guard: true as never })).toThrow(/has to be a function/);
  });
});

const nixl = { kv_connector: "NixlConnector", kv_role: "kv_both" };

describe("the guard of the status page", () => {
  const ask = async (guard: DashboardGuard, headers: Record<string, string> = {}) => {
    const warnings: string[] = [];
    const environment = { warn: (message: string) => void warnings.push(message) };
    const { url } = await mounted({ guard }, { environment });
    const answers = await Promise.all(
      ["/status", "/status/", "/status/events"].map(async (path) => {
        const { statusCode, headers: sent, body } = await request(url + path, { headers });
        body.on("error", () => undefined);
        body.destroy();
        return [statusCode, sent["www-authenticate"]];
      }),
    );
    return { answers, warnings };
  };
  const all = (...answer: readonly unknown[]) => [answer, answer, answer];

  it("lets in whom it knows", async () => {
    const guard: DashboardGuard = ({ method, path, header }) =>
      method === "GET" && path.startsWith("/status") && header("Authorization") === "Bearer right";
    expect((await ask(guard, { authorization: "Bearer right" })).answers).toEqual(all(200, undefined));
    expect((await ask(guard, { authorization: "Bearer wrong" })).answers).toEqual(all(403, undefined));
    expect((await ask(async (request) => guard(request))).answers).toEqual(all(403, undefined));
  });

  it("may answer itself", async () => {
    const headers = { "www-authenticate": 'Basic realm="serve-llm"' };
    const { answers } = await ask(() => new Response("who are you?", { status: 401, headers }));
    expect(answers).toEqual(all(401, 'Basic realm="serve-llm"'));
  });

  it("lets nobody in by mistake", async () => {
    expect((await ask((() => undefined) as never)).answers).toEqual(all(403, undefined));
    expect((await ask((() => "yes") as never)).answers).toEqual(all(403, undefined));
    const { answers, warnings } = await ask(() => {
      throw new Error("no session store");
    });
    expect(answers).toEqual(all(500, undefined));
    expect(warnings[0]).toBe("The dashboard's guard threw: no session store");
  });
});
