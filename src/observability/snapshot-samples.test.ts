import { describe, expect, it } from "vitest";
import type { ApplicationSnapshot } from "./application-snapshot.ts";
import { snapshotSamples } from "./snapshot-samples.ts";

const deployment = {
  status: "UPSCALING",
  message: "",
  queued: 4,
  targetReplicas: 3,
  replicaStates: { RUNNING: 1, STARTING: 2 },
  replicas: [
    {
      id: "d0",
      state: "RUNNING",
      health: "ejected",
      inFlight: 5,
      ejections: 2,
      holds: 1,
      engineLoad: { running: 6, waiting: 7, kvCacheUsage: 0.25 },
    },
  ],
};
const snapshot: ApplicationSnapshot = {
  status: "RUNNING",
  message: "",
  inFlight: 9,
  deployments: { "Decode:m": deployment },
  pdHealth: [],
};

describe("snapshotSamples", () => {
  it("reads autoscaling, load and state of a pool", () => {
    const samples = snapshotSamples(snapshot);
    const values = Object.fromEntries([...samples].map(([key, all]) => [key, all.map(({ value }) => value)]));
    expect(values).toEqual({
      applicationStatus: [6],
      httpOngoing: [9],
      deploymentStatus: [4],
      replicas: [1, 2],
      targetReplicas: [3],
      queued: [4],
      ongoing: [5],
      replicaOngoing: [5],
      replicaHealthy: [0],
      ejections: [2],
      replicaHolds: [1],
      engineRunning: [6],
      engineWaiting: [7],
      engineKvUsage: [0.25],
    });
    expect(samples.get("replicas")!.map(({ labels }) => labels["state"])).toEqual(["RUNNING", "STARTING"]);
    expect(samples.get("ejections")![0]!.labels).toEqual({ deployment: "Decode:m", replica: "d0" });
  });

  it("has no series of loads that no engine told", () => {
    const silent = { ...deployment, replicas: [{ ...deployment.replicas[0]!, engineLoad: null }] };
    const samples = snapshotSamples({ ...snapshot, deployments: { "Decode:m": silent } });
    expect([...samples.keys()].filter((key) => key.startsWith("engine"))).toEqual([]);
  });
});
