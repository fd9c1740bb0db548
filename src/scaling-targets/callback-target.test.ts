import { describe, expect, it } from "vitest";

import { DiscoveryProbe } from "../discovery/discovery.fixture.ts";
import { callbackTarget, type ScaleRequest } from "./callback-target.ts";
import { FakeDeployment, settle } from "./scaling-context.fixture.ts";

const signal = new AbortController().signal;

describe("callbackTarget", () => {
  it("tells how many are wanted; a source finds where they are", async () => {
    const calls: ScaleRequest[] = [];
    const deployment = new FakeDeployment([]);
    const target = callbackTarget((request) => void calls.push(request), { getReplicas: () => 2 });
    await target.start!(deployment.context);
    expect(target.endpoints).toBeUndefined();
    expect(await target.getReplicas!(signal)).toBe(2);
    await target.setReplicas(3, signal);
    expect(calls).toMatchObject([{ replicas: 3, deployment: "D", ready: [] }]);
    expect(() => calls[0]!.reportReady("http://a:1")).toThrow(/reportsEndpoints: true/);
  });

  it("takes engines when they are ready, and lets go of them when nobody uses them", async () => {
    const engine = { url: "http://a:1" };
    const deployment = new FakeDeployment([engine]);
    const steps: string[] = [];
    const target = callbackTarget(
      async ({ replicas, ready, reportReady, drain }) => {
        if (replicas > ready.length) {
          reportReady("http://a:1/v1");
          reportReady(engine);
        } else {
          steps.push("draining");
          await drain("http://a:1/");
          steps.push("drained");
        }
      },
      { reportsEndpoints: true, stop: (ready) => void steps.push(`stop ${ready.length}`) },
    );
    const probe = new DiscoveryProbe(target.endpoints!);
    await target.start!(deployment.context);
    await target.setReplicas(1, signal);
    await probe.untilSnapshots(1);
    await settle();
    expect(probe.urls).toEqual(["http://a:1"]);
    const shrinking = target.setReplicas(0, signal);
    await settle();
    expect(probe.urls).toEqual([]);
    expect(steps).toEqual(["draining"]);
    deployment.finishDrain();
    await shrinking;
    await target.stop!();
    expect(steps).toEqual(["draining", "drained", "stop 0"]);
    await probe.stop();
  });

  it("refuses what is no function, and passes on what it throws", async () => {
    expect(() => callbackTarget(7 as never)).toThrow(/Not a function/);
    expect(() => callbackTarget(() => undefined, { ready: true } as never)).toThrow(/ready/);
    const target = callbackTarget(() => Promise.reject(new Error("no quota")));
    await target.start!(new FakeDeployment([]).context);
    await expect(target.setReplicas(1, signal)).rejects.toThrow("no quota");
  });
});
