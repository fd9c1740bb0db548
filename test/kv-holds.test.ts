import { afterEach, describe, expect, it } from "vitest";
import { channels, type LegEndEvent } from "../src/observability/channels.ts";
import type { RequestRouter } from "../src/routing/request-router.ts";
import { FakeClock, mockAnswer, seededRandom } from "../src/testing/index.ts";
import { post } from "./support/client.ts";
import { holds, model, type PDCluster, type PDClusterOptions, startPDCluster } from "./support/pd-cluster.ts";
import { until } from "./support/until.ts";

let cluster: PDCluster | undefined;
const cleanUp: (() => void)[] = [];

afterEach(async () => {
  for (const each of cleanUp.splice(0)) each();
  await cluster?.stop();
  cluster = undefined;
});

async function start(options: PDClusterOptions = {}): Promise<PDCluster> {
  cluster = await startPDCluster(options);
  return cluster;
}

const chat = (extra: Readonly<Record<string, unknown>> = {}) => ({
  model,
  messages: [{ role: "user" as const, content: "hello there" }],
  max_tokens: 6,
  ...extra,
});

const chatPath = "/v1/chat/completions";

/** Decode requests that reached an engine. */
const decodes = ({ decodes: engines }: PDCluster) =>
  engines.flatMap(({ requests }) => requests.filter(({ phase }) => phase === "decode"));

/** Calls `then` as soon as a prefill has answered, before anything else happens to its request. */
function whenPrefilled(then: () => void): void {
  const listener = (message: unknown): void => {
    if ((message as LegEndEvent).leg.leg === "prefill") then();
  };
  channels.legEnd.subscribe(listener);
  cleanUp.push(() => channels.legEnd.unsubscribe(listener));
}

/** Where time passes just before a handle is sent, a number of times. */
function slowHandoffs(times: number, ms: number): PDClusterOptions {
  const clock = new FakeClock();
  let left = times;
  const slowRouter = (): RequestRouter => ({
    chooseReplicas: (replicas) => [[...replicas]],
    onRequestCompleted: () => {
      if (left <= 0) return;
      left -= 1;
      clock.advance(ms);
    },
  });
  return {
    environment: { clock },
    prefillDeployment: { requestRouterConfig: { requestRouterClass: slowRouter } },
  };
}

describe("a handle that is too old", () => {
  it("is never sent: the request is prefilled once more", async () => {
    const running = await start({ prefills: 1, decodes: 1, ...slowHandoffs(1, 18_001) });
    const answer = await post(running.url + chatPath, chat());

    expect(answer.status).toBe(200);
    expect(JSON.parse(answer.text).choices[0].message.content).toBe(mockAnswer(chat(), 6));
    expect(holds(running)).toMatchObject({ opened: 2, open: 0, ended: { handed_off: 1, expired: 1 } });
    expect(decodes(running)).toHaveLength(1);
    const { ledger } = running.prefills[0]!;
    expect([ledger.issued, ledger.consumed, ledger.rejected]).toEqual([2, 1, []]);
  });

  it("is just young enough at its deadline", async () => {
    const running = await start({ prefills: 1, decodes: 1, ...slowHandoffs(1, 18_000) });
    expect((await post(running.url + chatPath, chat())).status).toBe(200);
    expect(holds(running)).toMatchObject({ opened: 1, ended: { handed_off: 1, expired: 0 } });
  });

  it("twice: 503, and decode is never asked", async () => {
    const running = await start({ prefills: 1, decodes: 1, ...slowHandoffs(9, 18_001) });
    const answer = await post(running.url + chatPath, chat());

    expect(answer.status).toBe(503);
    expect(JSON.parse(answer.text).error.code).toBe("kv_lease_expired");
    expect(holds(running)).toMatchObject({ opened: 2, open: 0, ended: { expired: 2 } });
    expect(decodes(running)).toEqual([]);
  });

  it.each([
    [1000, 0.5, 501, "expired"],
    [1000, 1, 501, "handed_off"],
  ])("by kvLeaseMs %i and kvLeaseSafety %d", async (kvLeaseMs, kvLeaseSafety, lateMs, end) => {
    const proxy = { kvLeaseMs, kvLeaseSafety };
    const running = await start({ prefills: 1, decodes: 1, proxy, ...slowHandoffs(1, lateMs) });
    await post(running.url + chatPath, chat());
    expect(holds(running).ended[end as "expired"]).toBe(1);
  });
});

describe("KV whose decode was never sent", () => {
  it.each([
    ["wait", "stranded", { pinned: 1, freed: 0 }],
    ["release-handoff", "released", { pinned: 0, freed: 1 }],
  ] as const)("because its client left (onStranded: %s)", async (onStranded, end, expected) => {
    const running = await start({ prefills: 1, decodes: 1, proxy: { onStranded } });
    const controller = new AbortController();
    whenPrefilled(() => controller.abort());
    const call = running.app.handle.chat(
      { ...chat(), stream: false, min_tokens: 3 },
      { signal: controller.signal },
    );
    await expect(call).rejects.toMatchObject({ code: "client_closed_request" });
    await until(() => holds(running).open === 0);

    const { ledger } = running.prefills[0]!;
    expect(holds(running).ended).toMatchObject({ [end]: 1, handed_off: 0 });
    expect({ pinned: ledger.pinned.length, freed: ledger.consumed + ledger.released }).toEqual(expected);
    expect(ledger.expired).toBe(0);
    expect(decodes(running).map(({ body }) => (body as { max_tokens: number }).max_tokens)).toEqual(
      onStranded === "wait" ? [] : [1],
    );
    await until(() => running.app.status().deployments["Decode:mock-model"]!.replicas[0]!.inFlight === 0);
  });

  it.each([
    ["wait", { stranded: 1, released: 0 }],
    ["release-handoff", { stranded: 0, released: 1 }],
  ] as const)("because its engine was gone (onStranded: %s)", async (onStranded, expected) => {
    const running = await start({
      prefills: 1,
      proxy: { onStranded },
      environment: { random: seededRandom(3) },
    });
    await running.decodes[0]!.crash();
    let retries = 0;
    for (let index = 0; retries === 0; index += 1) {
      const headers = { "x-request-id": `r${index}` };
      const answer = await post(running.url + chatPath, chat(), { headers });
      expect(JSON.parse(answer.text).choices[0].message.content).toBe(mockAnswer(chat(), 6));
      retries = running.app.explain(`r${index}`)!.retries;
    }
    await until(() => holds(running).open === 0);

    expect(holds(running).ended).toMatchObject(expected);
    const { ledger } = running.prefills[0]!;
    expect(ledger.rejected).toEqual([]);
    expect(ledger.pinned).toHaveLength(expected.stranded);
  });

  it("is freed through the slot of the client that left, when that is the only one", async () => {
    const running = await start({
      prefills: 1,
      decodes: 1,
      decodeDeployment: { maxOngoingRequests: 1 },
      proxy: { onStranded: "release-handoff" },
    });
    const controller = new AbortController();
    whenPrefilled(() => controller.abort());
    const call = running.app.handle.chat({ ...chat(), stream: false }, { signal: controller.signal });
    await expect(call).rejects.toMatchObject({ code: "client_closed_request" });
    await until(() => holds(running).open === 0);

    const { ledger } = running.prefills[0]!;
    expect(holds(running).ended).toMatchObject({ released: 1, stranded: 0 });
    expect([ledger.pinned.length, ledger.expired]).toEqual([0, 0]);
    // Nothing was lost by it: the slot is free, and there is still but one.
    for (const each of cleanUp.splice(0)) each();
    expect((await post(running.url + chatPath, chat())).status).toBe(200);
    expect(running.decodes[0]!.requests.filter(({ phase }) => phase !== undefined)).toHaveLength(2);
  });

  it("is left to its lease when somebody waits for the only slot, who goes first", async () => {
    const running = await start({
      prefills: 1,
      decodes: 1,
      decodeDeployment: { maxOngoingRequests: 1 },
      proxy: { onStranded: "release-handoff" },
    });
    const [prefill, decode] = [running.prefills[0]!, running.decodes[0]!];
    const queued = (): number => running.app.status().deployments["Decode:mock-model"]!.queued;
    prefill.injectFault({ fault: { kind: "slow", timeToFirstTokenMs: 50 }, match: { nth: 1 } });
    decode.injectFault({ fault: { kind: "slow", timeToFirstTokenMs: 50 }, match: { nth: 1 } });
    const controller = new AbortController();
    const first = running.app.handle
      .chat({ ...chat(), stream: false }, { signal: controller.signal })
      .catch((error: unknown) => error);
    await until(() => prefill.requests.some(({ phase }) => phase === "prefill"));
    const second = post(running.url + chatPath, chat());
    await until(() => queued() === 1);
    let seen = 0;
    whenPrefilled(() => {
      if ((seen += 1) === 1) controller.abort();
    });
    expect(await first).toMatchObject({ code: "client_closed_request" });

    expect((await second).status).toBe(200);
    expect(holds(running)).toMatchObject({ open: 0, ended: { stranded: 1, handed_off: 1, released: 0 } });
  });

  it("is left to its lease when the decode engine does not take it", async () => {
    const running = await start({ prefills: 1, decodes: 1, proxy: { onStranded: "release-handoff" } });
    running.decodes[0]!.injectFault({ fault: { kind: "status", status: 500 }, match: { phase: "decode" } });
    const controller = new AbortController();
    whenPrefilled(() => controller.abort());
    await running.app.handle
      .chat({ ...chat(), stream: false }, { signal: controller.signal })
      .catch(() => undefined);
    await until(() => holds(running).open === 0);

    expect(holds(running).ended).toMatchObject({ stranded: 1, released: 0 });
  });

  it("does not keep a shutdown from ending", async () => {
    const running = await start({ prefills: 1, decodes: 1, proxy: { onStranded: "release-handoff" } });
    running.decodes[0]!.injectFault({ fault: { kind: "stallBeforeHeaders" }, match: { phase: "decode" } });
    const controller = new AbortController();
    whenPrefilled(() => controller.abort());
    await running.app.handle
      .chat({ ...chat(), stream: false }, { signal: controller.signal })
      .catch(() => undefined);
    await until(() => decodes(running).length === 1);
    expect(holds(running).open).toBe(1);
    await running.server.shutdown({ graceMs: 0 });

    expect(holds(running).open).toBe(0);
  });
});
