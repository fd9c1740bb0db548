import { describe, expect, it } from "vitest";
import type { ByteSink } from "../internal/byte-stream.ts";
import type { ApplicationSnapshot } from "../observability/application-snapshot.ts";
import { FakeClock } from "../testing/fake-clock.ts";
import { LiveFeed } from "./live-feed.ts";
import type { PageMessage } from "./page-message.ts";
import { PageState } from "./page/page-state.ts";
import { legTrace, requestTrace } from "./trace.fixture.ts";

/** A page that keeps what it is told. */
class Page implements ByteSink {
  readonly messages: PageMessage[] = [];
  readonly state = new PageState();
  ended = false;
  /** What `write` answers. */
  reads = true;
  bytes = 0;

  write(chunk: Uint8Array): boolean {
    this.bytes += chunk.length;
    const text = new TextDecoder().decode(chunk);
    expect(text).toMatch(/^data: [^\n]*\n\n$/);
    const message = JSON.parse(text.slice(6)) as PageMessage;
    this.messages.push(message);
    this.state.apply(message);
    return this.reads;
  }

  end(): void {
    this.ended = true;
  }

  fail(): void {}
}

/** An application of which only the state is there. */
function world(replicas: number) {
  const clock = new FakeClock();
  const inFlight = Array.from({ length: replicas }, () => 0);
  const warnings: string[] = [];
  let looks = 0;
  let left = false;
  let broken = false;
  const snapshot = (): ApplicationSnapshot => {
    looks += 1;
    if (broken) throw new Error("no state today");
    return {
      status: "RUNNING",
      message: "",
      inFlight: 0,
      pdHealth: [],
      deployments: {
        "Decode:m": {
          status: "HEALTHY",
          message: "",
          queued: 0,
          replicaStates: { RUNNING: replicas },
          replicas: inFlight.map((count, index) => ({
            id: `d${index}`,
            state: "RUNNING",
            health: "healthy",
            inFlight: count,
            ejections: 0,
            holds: 0,
            engineLoad: null,
          })),
        },
      },
    };
  };
  const feed = new LiveFeed({ title: "test", intervalMs: 1000 });
  feed.watch({
    clock: () => clock,
    snapshot,
    warn: (message) => warnings.push(message),
    leave: () => void (left = true),
  });
  const open = () => {
    const page = new Page();
    let leave: () => void = () => undefined;
    const source = feed.open((listener) => (leave = listener));
    source.pipe(page);
    return { page, source, leave: () => leave() };
  };
  return {
    clock,
    feed,
    inFlight,
    warnings,
    open,
    looks: () => looks,
    left: () => left,
    breakState: (value: boolean) => (broken = value),
  };
}

describe("LiveFeed", () => {
  it("does nothing but count while no page is open", () => {
    const { feed, clock, looks } = world(1000);
    for (let index = 0; index < 10_000; index += 1) {
      const trace = requestTrace();
      feed.started(trace);
      feed.ended(trace);
    }
    expect([looks(), clock.pendingTimers]).toEqual([0, 0]);
  });

  it("looks once in an interval, however many requests and pages there are", () => {
    const { feed, clock, open, looks } = world(1000);
    const pages = Array.from({ length: 20 }, open);
    expect(looks()).toBe(1);
    for (let index = 0; index < 1000; index += 1) feed.ended(requestTrace());
    expect(looks()).toBe(1);
    clock.advance(1000);
    expect(looks()).toBe(2);
    expect(pages.map(({ page }) => page.messages.length)).toEqual(pages.map(() => 2));
    for (const { leave } of pages) leave();
    expect([feed.pages, clock.pendingTimers]).toEqual([0, 0]);
  });

  it("tells only what changed: the page's state is the same as that of one who comes anew", () => {
    const { feed, clock, open, inFlight } = world(1000);
    const { page } = open();
    const full = page.bytes;
    for (let round = 0; round < 5; round += 1) {
      inFlight[round * 7] = round + 1;
      const trace = requestTrace({ requestId: `r${round}` });
      feed.started(trace);
      if (round !== 4) feed.ended(trace);
      clock.advance(1000);
    }
    const replicas = page.messages
      .slice(1)
      .map((message) => Object.keys(message.parts).filter((key) => key.startsWith("replica")).length);
    // The one whose load is another, and d0, which served a request.
    expect(replicas).toEqual([1, 2, 2, 2, 1]);
    expect(page.bytes - full).toBeLessThan(full / 5);
    const fresh = open().page.state;
    for (const what of [
      "replicas",
      "pools",
      "application",
      "summary",
      "points",
      "running",
      "ended",
    ] as const) {
      expect(page.state[what], what).toEqual(fresh[what]);
    }
    expect(fresh.running.map(({ id }) => id)).toEqual(["r4"]);
    expect(fresh.ended).toHaveLength(4);
  });

  it("leaves out messages for a page that does not read, and then tells it everything", () => {
    const { clock, open, inFlight } = world(3);
    const slow = open();
    slow.page.reads = false;
    clock.advance(1000);
    const told = slow.page.messages.length;
    for (let index = 0; index < 50; index += 1) clock.advance(1000);
    expect(slow.page.messages.length).toBe(told);
    inFlight[2] = 9;
    slow.page.reads = true;
    slow.source.resume();
    clock.advance(1000);
    expect(slow.page.messages.at(-1)!.type).toBe("full");
    expect(slow.page.state.replicas[2]!.inFlight).toBe(9);
    clock.advance(1000);
    expect(slow.page.messages.at(-1)!.type).toBe("update");
  });

  it("shows some of very many requests, and the last ones", () => {
    const { feed, clock, open } = world(1);
    const { page } = open();
    for (let index = 0; index < 5000; index += 1) {
      const trace = requestTrace({ requestId: `r${index}` });
      feed.started(trace);
      if (index < 4000) feed.ended(trace);
    }
    clock.advance(1000);
    const update = page.messages.at(-1)!;
    expect([update.ended.length, update.running.length]).toEqual([60, 20]);
    expect(update.ended.at(-1)!.id).toBe("r3999");
    expect(page.state.summary!.requests).toBe(4000);
  });

  it("shows how calls to a replica went", () => {
    const { feed, clock, open } = world(1);
    const { page } = open();
    const legs = [legTrace("decode", { failure: "engine_connection_error" })];
    feed.ended(requestTrace({ legs, outcome: "failed" }));
    clock.advance(1000);
    expect(page.state.replicas[0]).toMatchObject({
      calls: 1,
      failures: 1,
      lastFailure: "engine_connection_error",
    });
  });

  it("outlives a state that can't be told", () => {
    const { clock, open, warnings, breakState, inFlight } = world(1);
    const { page } = open();
    breakState(true);
    clock.advance(1000);
    expect(warnings).toEqual(["The dashboard could not be updated: no state today"]);
    breakState(false);
    inFlight[0] = 4;
    clock.advance(1000);
    expect(page.state.replicas[0]!.inFlight).toBe(4);
  });

  it("ends with its application", () => {
    const { feed, clock, open, left } = world(1);
    const { page } = open();
    feed.stopped();
    expect([page.ended, left(), clock.pendingTimers, feed.isStopped]).toEqual([true, true, 0, true]);
  });
});
