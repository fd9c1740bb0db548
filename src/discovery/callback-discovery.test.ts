import { describe, expect, it } from "vitest";
import { callbackDiscovery } from "./callback-discovery.ts";
import { DiscoveryProbe } from "./discovery.fixture.ts";

describe("callbackDiscovery", () => {
  it("asks again, tells changes only, and keeps the last good list when the callback fails", async () => {
    let list: unknown = ["http://a"];
    const calls: unknown[] = [];
    const answer = (): never => {
      calls.push(list);
      if (list instanceof Error) throw list;
      return list as never;
    };
    const probe = new DiscoveryProbe(callbackDiscovery(answer, { refreshMs: 1_000 }));
    await probe.untilSnapshots(1);
    const next = async (value: unknown, waitMs = 1_000): Promise<void> => {
      list = value;
      await probe.clock.waitForTimers(1);
      const before = calls.length;
      probe.clock.advance(waitMs);
      while (calls.length === before) await Promise.resolve();
    };
    await next(["http://a"]);
    await next(["http://a", { url: "http://b", api_key: "k" }]);
    await probe.untilSnapshots(2);
    await next(new Error("registry down"));
    await next(["nonsense"]);
    await next(["http://c"], 2_000);
    await probe.untilSnapshots(3);
    expect(probe.snapshots[1]).toEqual([{ url: "http://a" }, { url: "http://b", apiKey: "k" }]);
    expect(probe.urls).toEqual(["http://c"]);
    expect(probe.warnings).toEqual([
      'The endpoint callback of "D" failed; the last known endpoints stay in use: registry down',
      'The endpoint callback of "D" answers again.',
    ]);
    await probe.clock.waitForTimers(1);
    await probe.stop();
    expect(probe.clock.pendingTimers).toBe(0);
  });

  it("fails when its first call fails, and refuses bad options", async () => {
    const probe = new DiscoveryProbe(callbackDiscovery(() => Promise.reject(new Error("no registry"))));
    await expect(probe.ended).rejects.toThrow("no registry");
    expect(() => callbackDiscovery(() => [], { refreshMs: 0 })).toThrow("refreshMs");
    expect(() => callbackDiscovery(() => [], { refresh: 1 } as never)).toThrow("refresh");
  });
});
