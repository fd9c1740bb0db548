import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Endpoint } from "../src/config/endpoint.ts";
import { DiscoveryProbe } from "../src/discovery/discovery.fixture.ts";
import {
  kubernetesDiscovery,
  type KubernetesDiscoveryOptions,
  kubernetesScaleTarget,
  type KubernetesScaleOptions,
} from "../src/kubernetes/index.ts";
import { LLMConfig } from "../src/config/llm-config.ts";
import { endpointDiscovery } from "../src/llm/endpoint-discovery.ts";
import { FakeDeployment } from "../src/scaling-targets/scaling-context.fixture.ts";
import { FakeKubernetes, slice } from "./support/fake-kubernetes.ts";

let api: FakeKubernetes;
const probes: DiscoveryProbe[] = [];

beforeEach(async () => {
  api = new FakeKubernetes();
  await api.start();
});

afterEach(async () => {
  for (const probe of probes.splice(0)) await probe.stop();
  await api.stop();
});

function discover(options: Partial<KubernetesDiscoveryOptions> = {}): DiscoveryProbe {
  const probe = new DiscoveryProbe(
    kubernetesDiscovery({ service: "prefill", kubeConfig: api.kubeConfig, ...options }),
  );
  probes.push(probe);
  return probe;
}

/** Waits for the watch that follows snapshot so many. */
async function watching(probe: DiscoveryProbe, snapshots: number, watches: number): Promise<void> {
  await probe.untilSnapshots(snapshots);
  await api.until(() => api.count("watch") >= watches);
}

/** Lets pauses pass, and no other timer, until it holds. */
async function throughPauses(probe: DiscoveryProbe, holds: () => boolean): Promise<void> {
  const longestPauseMs = 29_000;
  while (!holds()) {
    await new Promise((resolve) => setImmediate(resolve));
    const waitMs = (probe.clock.nextTimerMs ?? Infinity) - probe.clock.now();
    if (waitMs < longestPauseMs) probe.clock.advance(waitMs);
  }
}

describe("kubernetesDiscovery", () => {
  it("lists, then follows the watch from where the list ended", async () => {
    api.setSlice("s1", slice([{ ip: "10.0.0.1", pod: "prefill-0", zone: "a" }]));
    const probe = discover({ rank: "pod-name" });
    await watching(probe, 1, 1);
    expect(probe.snapshots[0]).toEqual([
      { url: "http://10.0.0.1:8000", name: "prefill-0", labels: { zone: "a" }, rank: 0 },
    ]);
    const [list, watch] = api.requests;
    expect(list!.path).toBe("/apis/discovery.k8s.io/v1/namespaces/llm/endpointslices");
    expect(list!.query.get("labelSelector")).toBe("kubernetes.io/service-name=prefill");
    expect(list!.headers.authorization).toBe("Bearer secret-token");
    expect(Object.fromEntries(watch!.query)).toMatchObject({
      resourceVersion: "101",
      allowWatchBookmarks: "true",
    });
    api.setSlice("s2", slice([{ ip: "10.0.0.2", pod: "prefill-1" }]));
    await probe.untilSnapshots(2);
    expect(probe.urls).toEqual(["http://10.0.0.1:8000", "http://10.0.0.2:8000"]);
    api.setSlice("s1", undefined);
    await probe.untilSnapshots(3);
    expect(probe.urls).toEqual(["http://10.0.0.2:8000"]);
    expect(probe.warnings).toEqual([]);
  });

  it("drains what terminates, leaves out what is not ready, and counts what two slices have once", async () => {
    const terminating = { ready: false, serving: true, terminating: true };
    api.setSlice(
      "s1",
      slice([
        { ip: "10.0.0.1" },
        { ip: "10.0.0.2", conditions: {} },
        { ip: "10.0.0.3", conditions: { ready: false } },
      ]),
    );
    const probe = discover();
    await watching(probe, 1, 1);
    expect(probe.urls).toEqual(["http://10.0.0.1:8000", "http://10.0.0.2:8000"]);
    api.setSlice("s2", slice([{ ip: "10.0.0.2" }]));
    api.setSlice("s1", slice([{ ip: "10.0.0.1", conditions: terminating }, { ip: "10.0.0.2" }]));
    await probe.untilSnapshots(2);
    expect(probe.urls).toEqual(["http://10.0.0.2:8000"]);
    // A service that publishes endpoints before they are ready calls the terminating ones ready, too.
    api.setSlice(
      "s2",
      slice([{ ip: "10.0.0.4", conditions: { ready: true, terminating: true } }, { ip: "10.0.0.5" }]),
    );
    await probe.untilSnapshots(3);
    expect(probe.urls).toEqual(["http://10.0.0.2:8000", "http://10.0.0.5:8000"]);
  });

  it("goes on from the last version when a watch ends or is cut, bookmarks included", async () => {
    api.setSlice("s1", slice([{ ip: "10.0.0.1" }]));
    const probe = discover();
    await watching(probe, 1, 1);
    api.send({ type: "BOOKMARK", object: { metadata: { resourceVersion: "150" } } });
    // Answered in order: when this is known, so is the bookmark.
    api.version = 159;
    api.setSlice("s2", slice([{ ip: "10.0.0.2" }]));
    await probe.untilSnapshots(2);
    api.send({ type: "BOOKMARK", object: { metadata: { resourceVersion: "170" } } });
    probe.clock.advance(250_000);
    api.endWatches("end");
    await api.until(() => api.count("watch") === 2);
    expect(api.requests.at(-1)!.query.get("resourceVersion")).toBe("170");
    api.endWatches("cut");
    await throughPauses(probe, () => api.count("watch") === 3);
    expect(api.requests.at(-1)!.query.get("resourceVersion")).toBe("170");
    expect(api.count("list")).toBe(1);
    api.version = 180;
    api.setSlice("s3", slice([{ ip: "10.0.0.3" }]));
    await probe.untilSnapshots(3);
    expect(probe.warnings).toEqual([]);
  });

  it("lists anew when its version is too old, said by an event or by a status", async () => {
    api.setSlice("s1", slice([{ ip: "10.0.0.1" }]));
    const probe = discover();
    await watching(probe, 1, 1);
    api.slices.clear();
    api.slices.set("s9", { ...slice([{ ip: "10.0.0.9" }]), metadata: { name: "s9" } });
    api.send({ type: "ERROR", object: { kind: "Status", code: 410, message: "too old" } });
    await throughPauses(probe, () => probe.snapshots.length === 2);
    expect(probe.urls).toEqual(["http://10.0.0.9:8000"]);
    await api.until(() => api.count("watch") === 2);
    api.failures.set("?watch", [410]);
    probe.clock.advance(250_000);
    api.endWatches("end");
    await throughPauses(probe, () => api.count("list") === 3 && api.count("watch") === 4);
    expect(probe.warnings).toEqual([]);
  });

  it("lists anew after what it can't read, says so, and keeps the last list while the server is away", async () => {
    api.setSlice("s1", slice([{ ip: "10.0.0.1" }]));
    const probe = discover();
    await watching(probe, 1, 1);
    api.failures.set("endpointslices", [500, 503]);
    api.send('{"type":"MODIFIED","object":{"meta\n');
    await probe.untilWarnings(1);
    expect(probe.warnings[0]).toMatch(
      /^Service prefill of "D" can't be watched; the last known endpoints stay in use: /,
    );
    await throughPauses(probe, () => api.count("list") === 4);
    expect(probe.urls).toEqual(["http://10.0.0.1:8000"]);
    await api.until(() => api.count("watch") === 2);
    api.setSlice("s2", slice([{ ip: "10.0.0.2" }]));
    await probe.untilSnapshots(2);
    await probe.untilWarnings(2);
    expect(probe.warnings[1]).toBe('Service prefill of "D" is watched again.');
  });

  it("gives up on a watch that is silent for longer than any may be", async () => {
    api.setSlice("s1", slice([{ ip: "10.0.0.1" }]));
    const probe = discover();
    await watching(probe, 1, 1);
    await probe.clock.waitForTimers(1);
    probe.clock.advance(320_000);
    await throughPauses(probe, () => api.count("watch") === 2);
    expect(probe.clock.pendingTimers).toBe(1);
  });

  it("reads ranks and pair groups from the pods' labels, once for each pod", async () => {
    const labels = { "apps.kubernetes.io/pod-index": "3", group: "blue" };
    api.pods.set("prefill-x", { metadata: { name: "prefill-x", labels } });
    api.setSlice(
      "s1",
      slice([
        { ip: "10.0.0.1", pod: "prefill-x" },
        { ip: "10.0.0.2", pod: "gone" },
      ]),
    );
    const probe = discover({ rankLabel: "apps.kubernetes.io/pod-index", pairGroupLabel: "group" });
    await watching(probe, 1, 1);
    expect(probe.snapshots[0]).toMatchObject([{ rank: 3, pairGroup: "blue" }, { name: "gone" }]);
    api.setSlice("s1", slice([{ ip: "10.0.0.1", pod: "prefill-x" }]));
    await probe.untilSnapshots(2);
    expect(api.requests.filter(({ path }) => path.endsWith("/pods/prefill-x"))).toHaveLength(1);
  });

  it("fails the start when there is no list, and refuses options that are no use", async () => {
    api.failures.set("endpointslices", [403]);
    const probe = discover();
    await expect(probe.untilSnapshots(1)).rejects.toThrow(
      /endpointslices answered 403: as the test wants it/,
    );
    probes.splice(0);
    expect(() => kubernetesDiscovery({ service: "" })).toThrow(/service/);
    expect(() => kubernetesDiscovery({ service: "a", adressType: "IPv6" } as never)).toThrow(/addressType/);
    // By name in a configuration: its options are checked before anything starts.
    const { endpoints } = new LLMConfig({
      modelLoadingConfig: { modelId: "m" },
      endpoints: { kubernetes: { namespace: "llm" } },
    });
    expect(() => endpointDiscovery(endpoints!)).toThrow(/service/);
  });
});

describe("kubernetesScaleTarget", () => {
  const signal = new AbortController().signal;
  const paths = {
    Deployment: "/apis/apps/v1/namespaces/llm/deployments/decode/scale",
    StatefulSet: "/apis/apps/v1/namespaces/llm/statefulsets/decode/scale",
    LeaderWorkerSet: "/apis/leaderworkerset.x-k8s.io/v1/namespaces/llm/leaderworkersets/decode/scale",
  } as const;
  const engines: Endpoint[] = [0, 1, 2].map((number) => ({
    url: `http://10.0.0.${number}:8000`,
    name: `decode-${number}`,
  }));

  function pod(name: string, ip: string, more: { created?: string; ready?: boolean } = {}): void {
    const { created = "2026-01-01T00:00:00Z", ready = true } = more;
    api.pods.set(name, {
      metadata: { name, creationTimestamp: created },
      status: { podIP: ip, conditions: [{ type: "Ready", status: ready ? "True" : "False" }] },
    });
  }

  function make(kind: KubernetesScaleOptions["kind"], more: Partial<KubernetesScaleOptions> = {}) {
    const deployment = new FakeDeployment(engines);
    const target = kubernetesScaleTarget({ kind, name: "decode", kubeConfig: api.kubeConfig, ...more });
    return { deployment, target };
  }

  const turns = async (holds: () => boolean): Promise<void> => {
    while (!holds()) await new Promise((resolve) => setImmediate(resolve));
  };

  it.each(Object.keys(paths) as (keyof typeof paths)[])("reads and sets the scale of a %s", async (kind) => {
    api.scales.set(paths[kind], 2);
    const { deployment, target } = make(kind);
    await target.start!(deployment.context);
    expect(await target.getReplicas!(signal)).toBe(2);
    await target.setReplicas(5, signal);
    expect(api.scales.get(paths[kind])).toBe(5);
    const patch = api.requests.find(({ method }) => method === "PATCH")!;
    expect([patch.headers["content-type"], patch.body]).toEqual([
      "application/merge-patch+json",
      '{"spec":{"replicas":5}}',
    ]);
    await target.stop!();
  });

  it("drains the pods that will go, and only then lowers the number", async () => {
    api.scales.set(paths.StatefulSet, 3);
    for (const number of [0, 1, 2]) pod(`decode-${number}`, `10.0.0.${number}`);
    pod("decode-0-1", "10.0.1.1");
    const { deployment, target } = make("StatefulSet");
    await target.start!(deployment.context);
    await target.setReplicas(1, signal);
    expect(deployment.draining.toSorted()).toEqual([engines[1]!.url, engines[2]!.url]);
    deployment.finishDrain();
    expect(api.scales.get(paths.StatefulSet)).toBe(3);
    // More are wanted while it drains: those stay after all.
    await target.setReplicas(2, signal);
    expect(deployment.readmitted).toEqual([engines[1]!.url]);
    while (deployment.draining.length > 0) deployment.finishDrain();
    await turns(() => api.scales.get(paths.StatefulSet) === 2);
    await target.stop!();
    expect(api.requests.filter(({ method }) => method === "PATCH")).toHaveLength(1);
  });

  it("marks the pods of a Deployment that have drained: not ready first, then the youngest", async () => {
    api.scales.set(paths.Deployment, 3);
    pod("old", "10.0.0.0");
    pod("young", "10.0.0.1", { created: "2026-02-01T00:00:00Z" });
    pod("unready", "10.0.0.9", { ready: false });
    const { deployment, target } = make("Deployment");
    await target.start!(deployment.context);
    await target.setReplicas(1, signal);
    // Found by address: endpoints from DNS have no pod's name.
    expect(deployment.draining).toEqual([engines[1]!.url]);
    deployment.finishDrain();
    await turns(() => api.scales.get(paths.Deployment) === 1);
    const marked = api.requests.filter(({ method, path }) => method === "PATCH" && path.includes("/pods/"));
    expect(marked.map(({ path }) => path.split("/").at(-1))).toEqual(["unready", "young"]);
    expect(marked[0]!.body).toContain('"controller.kubernetes.io/pod-deletion-cost":"-1000"');
    await target.stop!();
  });

  it("tries again when the server does not take it, and goes without draining where it may not see pods", async () => {
    api.scales.set(paths.StatefulSet, 3);
    for (const number of [0, 1, 2]) pod(`decode-${number}`, `10.0.0.${number}`);
    const { deployment, target } = make("StatefulSet");
    await target.start!(deployment.context);
    await target.setReplicas(2, signal);
    api.failures.set("/scale", [500]);
    deployment.finishDrain();
    await deployment.clock.waitForTimers(1);
    await turns(() => deployment.warnings.length === 1);
    await turns(() => deployment.clock.pendingTimers === 1);
    deployment.clock.advance(1_000);
    await turns(() => api.scales.get(paths.StatefulSet) === 2);
    api.failures.set("/pods", [403]);
    await target.setReplicas(0, signal);
    expect(api.scales.get(paths.StatefulSet)).toBe(0);
    expect(deployment.warnings[1]).toMatch(/Pods of "D" are not drained before they go: .*403/);
    await target.stop!();
  });

  it("says at the start that there is no such object", async () => {
    const { deployment, target } = make("Deployment");
    await expect(target.start!(deployment.context)).rejects.toThrow(
      /scalingTarget: Deployment "decode" can't be read: GET .*\/scale answered 404: not found/,
    );
    expect(() => kubernetesScaleTarget({ kind: "DaemonSet" as never, name: "x" })).toThrow(/kind/);
  });
});
