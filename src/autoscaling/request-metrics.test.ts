import { describe, expect, it } from "vitest";

import { RequestMetrics } from "./request-metrics.ts";
import type { HandleReport } from "./request-metrics.ts";

function handle(over: Partial<HandleReport>): HandleReport {
  return { handleId: "h", timestampS: 0, queued: 0, running: new Map(), ...over };
}

const averages = { aggregation: "averages", aggregationFunction: "mean", nowS: 0 } as const;

describe("RequestMetrics", () => {
  it("believes replicas rather than handles, until the replica is forgotten", () => {
    const metrics = new RequestMetrics();
    metrics.recordHandle(handle({ queued: 1, running: new Map([["a", 5]]) }));
    metrics.recordReplica({ replicaId: "a", timestampS: 0, running: 2 });
    const load = () => metrics.load({ ...averages, runningReplicaIds: ["a"] });
    expect(load()).toEqual({ total: 3, queued: 1 });
    metrics.forgetReplica("a");
    expect(load()).toEqual({ total: 6, queued: 1 });
  });

  it("does not count replicas that do not run", () => {
    const metrics = new RequestMetrics();
    metrics.recordHandle(handle({ running: new Map([["gone", 5]]) }));
    metrics.recordReplica({ replicaId: "gone", timestampS: 0, running: 2 });
    expect(metrics.load({ ...averages, runningReplicaIds: ["a"] }).total).toBe(0);
  });

  it("keeps the newest report of a replica", () => {
    const metrics = new RequestMetrics();
    metrics.recordReplica({ replicaId: "a", timestampS: 2, running: 2 });
    metrics.recordReplica({ replicaId: "a", timestampS: 1, running: 9 });
    expect(metrics.load({ ...averages, runningReplicaIds: ["a"] }).total).toBe(2);
  });

  it("drops handles that fell silent or whose owner ended", () => {
    const metrics = new RequestMetrics();
    metrics.recordHandle(handle({ handleId: "silent", timestampS: 0 }));
    metrics.recordHandle(handle({ handleId: "ended", timestampS: 19, ownerId: "proxy" }));
    metrics.recordHandle(handle({ handleId: "alive", timestampS: 19 }));
    metrics.dropStale({ metricsIntervalS: 10 }, 19.9, () => false);
    expect(metrics.handleIds).toEqual(["silent", "alive"]);
    metrics.dropStale({ metricsIntervalS: 10 }, 20);
    expect(metrics.handleIds).toEqual(["alive"]);
  });

  it("merges the points of reporters without averages", () => {
    const metrics = new RequestMetrics();
    metrics.recordHandle(handle({ queuedSeries: [{ timestampS: 0, value: 3 }] }));
    metrics.recordReplica({
      replicaId: "a",
      timestampS: 0,
      running: 0,
      runningSeries: [{ timestampS: 0, value: 4 }],
    });
    const load = metrics.load({
      runningReplicaIds: ["a", "b"],
      aggregation: "series",
      aggregationFunction: "max",
      nowS: 5,
    });
    expect(load).toEqual({ total: 7, queued: 3 });
  });
});
