import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { dashboard, type DashboardOptions } from "../../src/dashboard/dashboard.ts";
import { pageDocument } from "../../src/dashboard/page-document.ts";
import { systemClock } from "../../src/internal/clock.ts";
import type { ApplicationSnapshot } from "../../src/observability/application-snapshot.ts";
import type { Application } from "../../src/serve/application.ts";
import type { ApplicationView } from "../../src/serve/request-watcher.ts";
import { installedChromium } from "../support/chromium.ts";
import { post } from "../support/client.ts";
import { model, type PDCluster, type PDClusterOptions, startPDCluster } from "../support/pd-cluster.ts";

const executablePath = installedChromium();
if (executablePath === undefined) {
  process.stderr.write(
    "No Chromium found (set CHROMIUM_PATH): the tests of the status page in a browser are skipped.\n",
  );
}

let browser: Browser;
const closing: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
});

/** A page, and everything that went wrong on it. */
async function openPage(
  url: string,
  options: { readonly colorScheme?: "light" | "dark"; readonly width?: number } = {},
): Promise<{ readonly page: Page; readonly problems: readonly string[] }> {
  const { colorScheme = "light", width = 1400 } = options;
  const page = await browser.newPage({ colorScheme, viewport: { width, height: 900 } });
  closing.push(() => page.close());
  const problems: string[] = [];
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") problems.push(message.text());
  });
  page.on("request", (request) => {
    if (!request.url().startsWith(new URL(url).origin) && !request.url().startsWith("data:")) {
      problems.push(`asked for ${request.url()}`);
    }
  });
  await page.goto(url);
  await page.getByRole("status").getByText("live").waitFor();
  return { page, problems };
}

async function cluster(options: PDClusterOptions = {}, page: DashboardOptions = {}): Promise<PDCluster> {
  const started = await startPDCluster({ prefills: 2, decodes: 2, ...options });
  closing.push(() => started.stop());
  started.app.mount(dashboard(started.app, { prefix: "/status", ...page }));
  return started;
}

const chat = (extra: Readonly<Record<string, unknown>> = {}) => ({
  model,
  messages: [{ role: "user", content: "hello" }],
  max_tokens: 5,
  ...extra,
});

/** A page about `count` replicas, half of them prefill, whose state changes at every look; `failing` of them fail. */
async function pageOfMany(count: number, failing: number): Promise<string> {
  let looks = 0;
  const replicas = (side: string, bad: number): ApplicationSnapshot["deployments"][string]["replicas"] =>
    Array.from({ length: count / 2 }, (_, index) => ({
      id: `${side}${index}`,
      state: "RUNNING",
      health: index < bad ? "unhealthy" : "healthy",
      inFlight: (index + looks) % 7,
      ejections: 0,
      holds: 0,
      engineLoad: { running: index % 5, waiting: 0, kvCacheUsage: ((index * 13 + looks) % 100) / 100 },
    }));
  const pool = { status: "HEALTHY", message: "", queued: 0, replicaStates: { RUNNING: count / 2 } };
  const view: ApplicationView = {
    clock: () => systemClock,
    warn: () => undefined,
    leave: () => undefined,
    snapshot: () => {
      looks += 1;
      return {
        status: "RUNNING",
        message: "",
        inFlight: 0,
        pdHealth: [],
        deployments: {
          "Prefill:m": { ...pool, replicas: replicas("p", 0) },
          "Decode:m": { ...pool, replicas: replicas("d", failing) },
        },
      };
    },
  };
  const app = { watch: () => view } as unknown as Application;
  const { handler, close } = dashboard(app, { prefix: "/", updateIntervalMs: 200 });
  const server = createServer(handler);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closing.push(async () => {
    close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

describe.skipIf(executablePath === undefined)("the status page in a browser", () => {
  beforeAll(async () => {
    // Built before, so that no test waits for it.
    await pageDocument();
    browser = await chromium.launch({ executablePath: executablePath!, args: ["--no-sandbox"] });
  });

  afterAll(() => browser.close());

  it("shows pools, requests and charts, without an error or a word to anybody else", async () => {
    const { url } = await cluster();
    const { page, problems } = await openPage(`${url}/status`);
    await post(`${url}/v1/chat/completions`, chat({ stream: true }), {
      headers: { "x-request-id": "request-a" },
    });
    await post(`${url}/v1/chat/completions`, chat({ n: 2 }), { headers: { "x-request-id": "request-b" } });
    const row = page.locator("tbody tr", { hasText: "request-a" });
    await row.getByText("✓ ok").waitFor();
    expect(await row.locator(".way").textContent()).toMatch(/^p\d → d\d$/);
    const kinds = await row
      .locator(".bars i")
      .evaluateAll((bars) => bars.map((bar) => bar.getAttribute("data-kind")));
    expect(kinds).toEqual(expect.arrayContaining(["prefill", "firstToken"]));
    await page.locator("tbody tr", { hasText: "request-b" }).getByText("multiple choices").waitFor();
    for (const name of ["Prefill:mock-model", "Decode:mock-model"]) {
      const pool = page.getByRole("article", { name: `Pool ${name}` });
      expect(await pool.getByRole("button").count()).toBe(2);
    }
    expect(await page.locator(".plot canvas").count()).toBe(4);
    await page.getByRole("img", { name: /^Requests per second: succeeded/ }).waitFor();
    expect(problems).toEqual([]);
  });

  it("shows a killed replica within two seconds", { retry: 2 }, async () => {
    const { url, decodes } = await cluster();
    const { page } = await openPage(`${url}/status`);
    const killed = page.locator('[data-pool="Decode:mock-model"] [data-id="d1"]');
    await killed.and(page.locator('[data-condition="good"]')).waitFor();
    const began = performance.now();
    const stopped = decodes[1]!.stop();
    // Three failures in a row put it out of service; the health checks would take longer.
    const traffic = Array.from({ length: 16 }, () => post(`${url}/v1/chat/completions`, chat()));
    await killed.and(page.locator('[data-condition="bad"]')).waitFor();
    await page.getByRole("list", { name: "Alerts" }).getByText("d1").waitFor();
    expect(performance.now() - began).toBeLessThan(2000);
    await Promise.all([stopped, ...traffic]);
    expect(await page.title()).toMatch(/^\(1\) /);
  });

  it("is readable in light and dark, as the system has it or as its reader chooses", async () => {
    const url = await pageOfMany(4, 1);
    for (const colorScheme of ["light", "dark"] as const) {
      const { page, problems } = await openPage(url, { colorScheme });
      const contrasts = () =>
        page.locator("h1, h2, .tile strong, .tile small, .facts, .told, figcaption, th").evaluateAll((all) =>
          // The page lives: what an update took away meanwhile has no colours.
          all
            .filter((one) => one.isConnected)
            .map((one) => {
              const shine = (color: string): number => {
                const [red = 0, green = 0, blue = 0] = (color.match(/[\d.]+/g) ?? []).map((part) => {
                  const value = Number(part) / 255;
                  return value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
                });
                return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
              };
              const painted = (element: Element | null): string => {
                if (element === null) return "rgb(255, 255, 255)";
                const { backgroundColor } = getComputedStyle(element);
                return backgroundColor === "rgba(0, 0, 0, 0)"
                  ? painted(element.parentElement)
                  : backgroundColor;
              };
              const pair = [shine(getComputedStyle(one).color), shine(painted(one))] as const;
              return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
            }),
        );
      const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
      const own = await background();
      expect(own).toBe(colorScheme === "light" ? "rgb(244, 245, 247)" : "rgb(16, 18, 22)");
      expect(Math.min(...(await contrasts()))).toBeGreaterThan(4.5);
      await page.getByLabel("Theme").selectOption(colorScheme === "light" ? "dark" : "light");
      expect(await background()).not.toBe(own);
      expect(Math.min(...(await contrasts()))).toBeGreaterThan(4.5);
      expect(problems).toEqual([]);
    }
  });

  it("shows a thousand replicas, and those that fail among them", async () => {
    const { page, problems } = await openPage(await pageOfMany(1000, 3), { width: 1280 });
    await page.locator(".replica").nth(999).waitFor();
    expect(await page.locator('.replica[data-condition="bad"]').count()).toBe(3);
    expect(await page.getByRole("list", { name: "Alerts" }).getByRole("listitem").count()).toBe(3);
    expect(await page.locator(".tile", { hasText: "Replicas in service" }).textContent()).toContain(
      "997/1000",
    );
    const inView = await page
      .locator(".replica")
      .last()
      .evaluate((last) => last.getBoundingClientRect().bottom);
    expect(inView).toBeLessThan(900);
    // Updates come in, and the page has time for them.
    const fill = () =>
      page
        .locator('[data-id="p7"]')
        .evaluate((cell) => (cell as HTMLElement).style.getPropertyValue("--fill"));
    const before = await fill();
    await expect.poll(fill).not.toBe(before);
    expect(problems).toEqual([]);
  });

  it("can be used with the keyboard, and tells a screen reader what it shows", async () => {
    const { page } = await openPage(await pageOfMany(100, 1));
    await page.locator('[data-id="d0"]').focus();
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("ArrowRight");
    expect(await page.evaluate(() => document.activeElement?.getAttribute("data-id"))).toBe("d2");
    const pool = page.getByRole("article", { name: "Pool Decode:m" });
    expect(await pool.locator(".detail").textContent()).toMatch(/^d2: healthy · \d in flight/);
    expect(await pool.locator('.replica[tabindex="0"]').count()).toBe(1);
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("ArrowUp");
    await page.keyboard.press("Home");
    expect(await page.evaluate(() => document.activeElement?.getAttribute("aria-label"))).toMatch(
      /^d0: unhealthy/,
    );
    await page.keyboard.press("End");
    expect(await page.evaluate(() => document.activeElement?.getAttribute("data-id"))).toBe("d49");
    const nameless = await page
      .locator("button, select, input")
      .evaluateAll(
        (all) =>
          (all as HTMLInputElement[]).filter(
            (one) => !one.getAttribute("aria-label") && !one.textContent && one.labels?.length === 0,
          ).length,
      );
    expect(nameless).toBe(0);
  });

  it("says when it has lost its server, and comes back", async () => {
    const { app, url, server } = await cluster();
    const { page } = await openPage(`${url}/status/`);
    await server.shutdown();
    await page.getByRole("status").getByText("not connected").waitFor();
    expect(await page.locator("main.old").count()).toBe(1);
    expect(app.status().status).toBe("NOT_STARTED");
    const again = await startPDCluster({ prefills: 1, decodes: 1 });
    closing.push(() => again.stop());
    const { handler } = dashboard(again.app, { prefix: "/status" });
    const reborn = createServer(handler);
    await new Promise<void>((resolve) => reborn.listen(Number(new URL(url).port), "127.0.0.1", resolve));
    closing.push(async () => {
      reborn.closeAllConnections();
      await new Promise((resolve) => reborn.close(resolve));
    });
    await page.getByRole("status").getByText("live").waitFor();
    expect(await page.locator("main.old").count()).toBe(0);
    expect(await page.locator(".replica").count()).toBe(2);
  });

  it("can be paused, and shows only failures if asked", async () => {
    const { url, decodes } = await cluster({ prefills: 1, decodes: 1 }, { updateIntervalMs: 100 });
    const { page } = await openPage(`${url}/status`);
    const send = (id: string) =>
      post(`${url}/v1/chat/completions`, chat({ stream: true }), { headers: { "x-request-id": id } });
    const row = (id: string) => page.locator("tbody tr", { hasText: id });
    await send("good-one");
    await row("good-one").waitFor();
    await decodes[0]!.stop();
    await send("bad-one");
    await row("bad-one").getByText("engine connection error").waitFor();
    await page.getByLabel("only failed").check();
    expect([await row("good-one").count(), await row("bad-one").count()]).toEqual([0, 1]);
    await page.getByLabel("only failed").uncheck();
    await page.getByRole("button", { name: "Pause" }).click();
    await send("late-one");
    await page.locator(".tile", { hasText: "3 in 60 s" }).waitFor();
    expect(await row("late-one").count()).toBe(0);
    await page.getByRole("button", { name: "Pause" }).click();
    await row("late-one").waitFor();
  });
});
