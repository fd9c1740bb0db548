import { afterEach, describe, expect, it } from "vitest";

import { FakeClock } from "../testing/fake-clock.ts";
import { MockVLLMEngine } from "../testing/mock-vllm-engine.ts";
import { LoadScraper } from "./load-scraper.ts";
import { LoopbackServer, makeReplica } from "./replica.fixture.ts";
import type { Replica } from "./replica.ts";

const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

function setUp() {
  const clock = new FakeClock();
  const warnings: string[] = [];
  const scraper = new LoadScraper({
    clock,
    random: { next: () => 0.999, id: () => "" },
    requestRoutingStatsPeriodS: 10,
    requestRoutingStatsTimeoutS: 4,
    warn: (message) => warnings.push(message),
  });
  cleanups.push(() => scraper.stop());
  const replica = (url: string): Replica => {
    const made = makeReplica({ url, clock });
    cleanups.push(() => made.destroy());
    return made;
  };
  return { clock, scraper, replica, warnings };
}

/** A server that answers `/metrics` with what a test says; undefined: never. */
async function makeServer(
  answer: () => { status: number; text: string } | undefined,
): Promise<LoopbackServer & { scrapes: number }> {
  const server = Object.assign(
    new LoopbackServer((_request, response) => {
      server.scrapes += 1;
      const result = answer();
      if (result !== undefined) response.writeHead(result.status).end(result.text);
    }),
    { scrapes: 0 },
  );
  await server.listen();
  cleanups.push(() => server[Symbol.asyncDispose]());
  return server;
}

const page = (running: number): { status: number; text: string } => ({
  status: 200,
  text: `vllm:num_requests_running{engine="0"} ${running}\nvllm:num_requests_waiting 2\nvllm:kv_cache_usage_perc 0.25\n`,
});

describe("LoadScraper", () => {
  it("keeps what the engine reports, with its time, and asks again a little before the period is over", async () => {
    let running = 3;
    const server = await makeServer(() => page(running));
    const { clock, scraper, replica } = setUp();
    const scraped = replica(server.url);
    clock.advance(100);
    scraper.sync([scraped]);
    await scraper.scrapeNow();
    expect(scraped.engineLoad).toEqual({ others: 5, running: 3, waiting: 2, kvCacheUsage: 0.25, atMs: 100 });
    const dueMs = clock.nextTimerMs!;
    expect(dueMs).toBeGreaterThan(100 + 8_000);
    expect(dueMs).toBeLessThan(100 + 9_500);
    running = 4;
    clock.advance(dueMs - clock.now());
    await scraper.scrapeNow();
    expect(scraped.engineLoad).toMatchObject({ running: 4, atMs: dueMs });
    expect(server.scrapes).toBe(2);
  });

  it("leaves the last report when a scrape fails or takes too long", async () => {
    let answer: { status: number; text: string } | undefined = page(1);
    const server = await makeServer(() => answer);
    const { clock, scraper, replica, warnings } = setUp();
    const scraped = replica(server.url);
    scraper.sync([scraped]);
    await scraper.scrapeNow();
    const last = scraped.engineLoad;
    answer = { status: 500, text: "broken" };
    await scraper.scrapeNow();
    answer = undefined;
    const done = scraper.scrapeNow();
    clock.advance(4_000);
    await done;
    expect(scraped.engineLoad).toBe(last);
    expect(warnings).toEqual([]);
  });

  it("says once that an engine reports nothing of the kind", async () => {
    let answer = { status: 404, text: "" };
    const server = await makeServer(() => answer);
    const { scraper, replica, warnings } = setUp();
    scraper.sync([replica(server.url)]);
    await scraper.scrapeNow();
    answer = { status: 200, text: "process_cpu_seconds_total 1\n" };
    await scraper.scrapeNow();
    expect(warnings).toEqual([
      expect.stringContaining("D#r does not report vLLM's load at /metrics (status 404)"),
    ]);
  });

  it("reads a real engine's page, and stops at once", async () => {
    await using engine = new MockVLLMEngine();
    await engine.start();
    const { clock, scraper, replica } = setUp();
    const scraped = replica(engine.url);
    scraper.sync([scraped]);
    await scraper.scrapeNow();
    expect(scraped.engineLoad).toEqual({ others: 0, running: 0, waiting: 0, kvCacheUsage: 0, atMs: 0 });
    engine.injectFault({ match: { path: "/metrics" }, fault: { kind: "stallBeforeHeaders" } });
    const hung = scraper.scrapeNow();
    await scraper.stop();
    await hung;
    expect(clock.pendingTimers).toBe(0);
    await scraped.destroy();
  });
});
