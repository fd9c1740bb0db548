import { createServer } from "node:net";
import { afterEach, describe, expect, it } from "vitest";

import type { Endpoint, EndpointInit } from "../config/endpoint.ts";
import type { EngineReply } from "../config/scaling-target.ts";
import { DiscoveryProbe } from "../discovery/discovery.fixture.ts";
import { FakeDeployment, settle } from "./scaling-context.fixture.ts";
import { vllmProcesses, type VllmProcessesOptions } from "./vllm-processes.ts";

const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

const signal = new AbortController().signal;

/** Processes that do what a shell script says, and a deployment whose drains and clock belong to the test. */
function make(
  script: string,
  options: VllmProcessesOptions = {},
  reply: () => EngineReply = () => ({ status: 200, body: "" }),
) {
  const engines: Endpoint[] = [];
  const lines: string[] = [];
  const deployment = new FakeDeployment(engines, reply);
  const target = vllmProcesses({
    command: ["/bin/sh", "-c", `echo "pid $$"; ${script}`],
    onLine: ({ engine, line }) => lines.push(`${engine} ${line}`),
    endpoint: ({ url }): Partial<EndpointInit> => {
      engines.push({ url });
      return { labels: { kind: "process" } };
    },
    ...options,
  });
  const probe = new DiscoveryProbe(target.endpoints!);
  cleanups.push(
    () => probe.stop(),
    async () => {
      const stopped = target.stop!();
      while (deployment.draining.length > 0) deployment.finishDrain();
      await stopped;
    },
  );
  return { deployment, target, probe, lines };
}

const stays = "trap 'exit 0' TERM; while :; do sleep 0.05; done";

/** What happens in other processes comes when it comes. */
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5));
}

describe("processes", { timeout: 30_000 }, () => {
  it("are known when they are healthy, and drained before they end", async () => {
    const { deployment, target, probe, lines } = make(stays);
    await target.start!(deployment.context);
    await target.setReplicas(2, signal);
    await until(() => probe.urls.length === 2);
    expect(probe.snapshots.at(-1)).toMatchObject([{ labels: { kind: "process" } }, {}]);
    await until(() => lines.length === 2);
    expect(lines.every((line) => /^D\/[01] pid \d+$/.test(line))).toBe(true);
    const last = probe.urls[1]!;
    await target.setReplicas(1, signal);
    await until(() => probe.urls.length === 1);
    expect(deployment.draining).toEqual([last]);
    // Wanted again while it drains: the same process goes on.
    await target.setReplicas(2, signal);
    await until(() => probe.urls.length === 2);
    expect(probe.urls[1]).toBe(last);
    deployment.finishDrain();
    await settle();
    expect(lines).toHaveLength(2);
    await target.setReplicas(1, signal);
    deployment.finishDrain();
    await settle();
    await target.setReplicas(2, signal);
    await until(() => probe.urls.length === 2);
    expect(probe.urls[1]).not.toBe(last);
  });

  it("are started again with growing pauses while they fail", async () => {
    const { deployment, target } = make("exit 3", {}, () => ({ status: 503, body: "" }));
    await target.start!(deployment.context);
    await target.setReplicas(1, signal);
    for (const [count, seconds] of [1, 2, 4, 8, 16, 32, 60, 60].entries()) {
      await until(() => deployment.warnings.length === count + 1);
      expect(deployment.warnings[count]).toMatch(
        new RegExp(`^Engine 0 of "D" ended and is started again in ${seconds} s: exit code 3`),
      );
      await deployment.clock.waitForTimers(1);
      deployment.clock.advance(seconds * 1_000);
    }
  });

  it("that do not become ready in time are ended, by force if need be", async () => {
    const { deployment, target } = make(
      "trap '' TERM; while :; do sleep 0.05; done",
      { startupTimeoutMs: 10_000, stopTimeoutMs: 2_000 },
      () => ({ status: 503, body: "" }),
    );
    await target.start!(deployment.context);
    await target.setReplicas(1, signal);
    await until(() => deployment.asked.length > 0);
    await deployment.clock.waitForTimers(2);
    deployment.clock.advance(10_000);
    await settle();
    await deployment.clock.waitForTimers(1);
    deployment.clock.advance(2_000);
    await until(() => deployment.warnings.length === 1);
    expect(deployment.warnings[0]).toMatch(/it was not ready within 10 s; signal SIGKILL/);
  });

  it("that hang are ended, by force if need be, and started again", async () => {
    let status = 200;
    const { deployment, target, probe, lines } = make(
      "trap '' TERM; while :; do sleep 0.05; done",
      { stopTimeoutMs: 2_000 },
      () => ({ status, body: "" }),
    );
    const { clock } = deployment;
    const check = async (): Promise<void> => {
      const asked = deployment.asked.length;
      await clock.waitForTimers(1);
      clock.advance(10_000);
      await until(() => deployment.asked.length > asked);
      await settle();
    };
    await target.start!(deployment.context);
    await target.setReplicas(1, signal);
    await until(() => probe.urls.length === 1 && lines.length === 1);
    const [first] = probe.urls;
    for (const next of [503, 503, 200, 503, 503]) {
      status = next;
      await check();
    }
    // Never three in a row.
    expect(probe.urls).toEqual([first]);
    await check();
    await until(() => probe.urls.length === 0);
    await clock.waitForTimers(1);
    clock.advance(2_000);
    await until(() => deployment.warnings.length === 1);
    expect(deployment.warnings[0]).toMatch(
      /^Engine 0 of "D" ended and is started again in 1 s: it failed 3 health checks in a row; signal SIGKILL/,
    );
    status = 200;
    await clock.waitForTimers(1);
    clock.advance(1_000);
    await until(() => probe.urls.length === 1 && lines.length === 2);
    // This one does not heed SIGTERM either.
    await target.setReplicas(0, signal);
    deployment.finishDrain();
    await settle();
    await clock.waitForTimers(1);
    clock.advance(2_000);
  });

  it("take the port they are told, unless somebody has it", async () => {
    const first = make(stays);
    await first.target.start!(first.deployment.context);
    await first.target.setReplicas(1, signal);
    await until(() => first.probe.urls.length === 1);
    const port = Number(new URL(first.probe.urls[0]!).port);
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
    cleanups.push(() => new Promise((resolve) => server.close(resolve)));
    const { deployment, target } = make(stays, { portBase: port });
    await target.start!(deployment.context);
    await target.setReplicas(1, signal);
    await until(() => deployment.warnings.length === 1);
    expect(deployment.warnings[0]).toContain("EADDRINUSE");
  });
});
