import { describe, expect, it } from "vitest";

import { DiscoveryProbe } from "../discovery/discovery.fixture.ts";
import { FakeDeployment, settle } from "./scaling-context.fixture.ts";
import { sleepWakeTarget } from "./sleep-wake-target.ts";

const urls = ["http://a:1", "http://b:1", "http://c:1"] as const;

function make(awake: readonly string[], broken: ReadonlySet<string> = new Set()) {
  const sleeping = new Set<string>(urls.filter((url) => !awake.includes(url)));
  const deployment = new FakeDeployment(
    urls.map((url) => ({ url })),
    (url, { path }) => {
      if (broken.has(url)) return { status: 500, body: "" };
      if (path === "/sleep?level=1") sleeping.add(url);
      if (path === "/wake_up") sleeping.delete(url);
      return { status: 200, body: JSON.stringify({ is_sleeping: sleeping.has(url) }) };
    },
  );
  const target = sleepWakeTarget({ endpoints: urls });
  const probe = new DiscoveryProbe(target.endpoints!);
  return { deployment, target, probe, sleeping, signal: new AbortController().signal };
}

describe("sleepWakeTarget", () => {
  it("begins with those that are awake, and wakes more in order", async () => {
    const { deployment, target, probe, signal, sleeping } = make([urls[1]]);
    await target.start!(deployment.context);
    expect(await target.getReplicas!(signal)).toBe(1);
    await target.setReplicas(2, signal);
    await probe.untilSnapshots(1);
    await settle();
    expect(probe.urls).toEqual([urls[0], urls[1]]);
    expect([...sleeping]).toEqual([urls[2]]);
    await target.setReplicas(4, signal);
    await settle();
    expect(probe.urls).toEqual(urls);
    expect(deployment.warnings).toEqual(['4 engines are wanted of "D", but there are only 3.']);
    await probe.stop();
  });

  it("drains before it puts to sleep, and does not wait for that", async () => {
    const { deployment, target, probe, signal, sleeping } = make(urls);
    await target.start!(deployment.context);
    await target.setReplicas(1, signal);
    await probe.untilSnapshots(1);
    await settle();
    expect(probe.urls).toEqual([urls[0]]);
    expect(deployment.draining).toEqual([urls[2], urls[1]]);
    expect(sleeping.size).toBe(0);
    deployment.finishDrain();
    await settle();
    expect([...sleeping]).toEqual([urls[2]]);
    // The other one still drains: it stays awake, since it is wanted again.
    await target.setReplicas(2, signal);
    await settle();
    expect(probe.urls).toEqual([urls[0], urls[1]]);
    deployment.finishDrain();
    await settle();
    expect([...sleeping]).toEqual([urls[2]]);
    await target.stop!();
    await probe.stop();
  });

  it("waits for the last release of an engine, not for an earlier one", async () => {
    const { deployment, target, signal, sleeping } = make(urls);
    await target.start!(deployment.context);
    await target.setReplicas(2, signal);
    await target.setReplicas(3, signal);
    await target.setReplicas(2, signal);
    expect(deployment.draining).toEqual([urls[2], urls[2]]);
    deployment.finishDrain();
    await settle();
    expect(sleeping.size).toBe(0);
    deployment.finishDrain();
    await settle();
    expect([...sleeping]).toEqual([urls[2]]);
  });

  it("takes another spare when one does not wake, and tells when none is left", async () => {
    const { deployment, target, signal } = make([], new Set([urls[0]]));
    await target.start!(deployment.context);
    await target.setReplicas(1, signal);
    expect(await target.getReplicas!(signal)).toBe(1);
    await expect(target.setReplicas(3, signal)).rejects.toThrow("POST /wake_up of http://a:1 answered 500");
    expect(await target.getReplicas!(signal)).toBe(2);
  });

  it("gives up on an engine that says it is awake never", async () => {
    const deployment = new FakeDeployment([], () => ({ status: 200, body: '{"is_sleeping":true}' }));
    const target = sleepWakeTarget({ endpoints: [urls[0]], wakeTimeoutMs: 1_000 });
    await target.start!(deployment.context);
    const waking = target.setReplicas(1, new AbortController().signal);
    const failed = expect(waking).rejects.toThrow("did not wake up in time");
    for (let step = 0; step < 5; step++) {
      await deployment.clock.waitForTimers(1);
      deployment.clock.advance(200);
    }
    await failed;
  });

  it("says what an engine lacks, and works for one deployment", async () => {
    const deployment = new FakeDeployment([{ url: urls[0] }], (_, { path }) =>
      path.startsWith("/sleep") ? { status: 404, body: "" } : { status: 200, body: '{"is_sleeping":false}' },
    );
    const target = sleepWakeTarget({ endpoints: [urls[0]] });
    await target.start!(deployment.context);
    await target.setReplicas(0, new AbortController().signal);
    deployment.finishDrain();
    await settle();
    expect(deployment.warnings[0]).toMatch(/not put to sleep: .*404; vLLM has it with --enable-sleep-mode/);
    const other = { ...deployment.context, deployment: "E" };
    await expect(target.start!(other)).rejects.toThrow(/scales "D" already/);
    expect(() => sleepWakeTarget({ endpoints: ["nowhere"] })).toThrow(/valid URL/);
  });
});
