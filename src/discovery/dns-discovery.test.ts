import { describe, expect, it } from "vitest";
import { DiscoveryProbe } from "./discovery.fixture.ts";
import { dnsDiscovery, type DnsDiscoveryOptions } from "./dns-discovery.ts";
import type { DnsRecord } from "./dns-resolver.ts";

/** A name server that answers what a test says, and the discovery that asks it. */
function lookup(options: Partial<DnsDiscoveryOptions>, first: readonly DnsRecord[] | Error) {
  let answer = first;
  const questions: string[] = [];
  const waiting: (() => void)[] = [];
  const probe = new DiscoveryProbe(
    dnsDiscovery({
      hostname: "prefill.svc",
      ...(options.type === "SRV" ? {} : { port: 8000 }),
      ...options,
      resolver: (hostname, type) => {
        questions.push(`${type} ${hostname}`);
        for (const wake of waiting.splice(0)) wake();
        return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
      },
    }),
  );
  return {
    probe,
    questions,
    /** Answers this from now on, lets time pass, and waits for the next question. */
    after: async (ms: number, next: readonly DnsRecord[] | Error): Promise<void> => {
      answer = next;
      await probe.clock.waitForTimers(1);
      const asked = new Promise<void>((resolve) => waiting.push(resolve));
      probe.clock.advance(ms);
      await asked;
    },
  };
}

describe("dnsDiscovery", () => {
  it("turns addresses into endpoints and asks again when the TTL is over, within its limits", async () => {
    const { probe, questions, after } = lookup({ minRefreshMs: 2_000, maxRefreshMs: 30_000 }, [
      { host: "10.0.0.2", ttlS: 5 },
      { host: "10.0.0.1", ttlS: 9 },
    ]);
    await probe.untilSnapshots(1);
    expect(probe.urls).toEqual(["http://10.0.0.1:8000", "http://10.0.0.2:8000"]);
    await probe.clock.waitForTimers(1);
    probe.clock.advance(4_999);
    expect(questions).toHaveLength(1);
    await after(1, [{ host: "10.0.0.3", ttlS: 0 }]);
    await probe.untilSnapshots(2);
    expect(probe.urls).toEqual(["http://10.0.0.3:8000"]);
    await probe.clock.waitForTimers(1);
    expect(probe.clock.nextTimerMs! - probe.clock.now()).toBe(2_000);
    await after(2_000, [{ host: "10.0.0.3", ttlS: 3_600 }]);
    await probe.clock.waitForTimers(1);
    expect(probe.clock.nextTimerMs! - probe.clock.now()).toBe(30_000);
    expect(probe.snapshots).toHaveLength(2);
    await probe.stop();
    expect(probe.clock.pendingTimers).toBe(0);
  });

  it("the same records in another order are no change", async () => {
    const [a, b] = [{ host: "10.0.0.1" }, { host: "10.0.0.2" }];
    const { probe, after } = lookup({}, [a, b]);
    await probe.untilSnapshots(1);
    await after(10_000, [b, a]);
    await after(10_000, [a]);
    await probe.untilSnapshots(2);
    expect(probe.urls).toEqual(["http://10.0.0.1:8000"]);
    await probe.stop();
  });

  it("uses SRV's own ports and the lowest priority, and IPv6 in brackets", async () => {
    const srv = lookup(
      { type: "SRV", scheme: "https", endpoint: ({ host }) => ({ name: host.split(".")[0] }) },
      [
        { host: "p-1.prefill.svc.", port: 8001, priority: 0 },
        { host: "p-0.prefill.svc", port: 8000, priority: 0 },
        { host: "spare.svc", port: 8000, priority: 10 },
      ],
    );
    await srv.probe.untilSnapshots(1);
    expect(srv.probe.snapshots).toEqual([
      [
        { url: "https://p-0.prefill.svc:8000", name: "p-0" },
        { url: "https://p-1.prefill.svc:8001", name: "p-1" },
      ],
    ]);
    expect(srv.questions).toEqual(["SRV prefill.svc"]);
    await srv.probe.stop();

    const six = lookup({ type: "AAAA" }, [{ host: "fd00::1" }]);
    await six.probe.untilSnapshots(1);
    expect(six.probe.urls).toEqual(["http://[fd00::1]:8000"]);
    await six.probe.stop();
  });

  it("keeps the last list through failures, with growing pauses, and believes an empty answer the second time", async () => {
    const { probe, after } = lookup({ minRefreshMs: 1_000, maxRefreshMs: 3_000 }, [
      { host: "10.0.0.1", ttlS: 1 },
    ]);
    await probe.untilSnapshots(1);
    await after(1_000, new Error("SERVFAIL"));
    for (const pauseMs of [1_000, 2_000, 3_000, 3_000]) {
      await probe.clock.waitForTimers(1);
      expect(probe.clock.nextTimerMs! - probe.clock.now()).toBe(pauseMs);
      await after(pauseMs, new Error("SERVFAIL"));
    }
    expect(probe.warnings).toHaveLength(1);
    await after(3_000, []);
    await probe.clock.waitForTimers(1);
    expect(probe.urls).toEqual(["http://10.0.0.1:8000"]);
    await after(1_000, []);
    await probe.untilSnapshots(2);
    expect(probe.urls).toEqual([]);
    await probe.stop();
  });

  it("starts empty when there are no records yet, and fails to start when nobody answers", async () => {
    const empty = lookup({}, []);
    await empty.probe.untilSnapshots(1);
    expect(empty.probe.snapshots).toEqual([[]]);
    await empty.probe.stop();
    await expect(lookup({}, new Error("ETIMEOUT")).probe.ended).rejects.toThrow("ETIMEOUT");
  });

  it("says what is wrong with its options", () => {
    expect(() => dnsDiscovery({ hostname: "a" })).toThrow("port: Field required");
    expect(() => dnsDiscovery({ hostname: "a", type: "SRV", port: 1 })).toThrow(
      "SRV records have their own ports",
    );
    expect(() => dnsDiscovery({ hostname: "a", port: 70_000 })).toThrow("less than or equal to 65535");
    expect(() => dnsDiscovery({ hostname: "", port: 1, type: "MX" as never })).toThrow(
      "type: Input should be",
    );
  });
});
