import { afterEach, describe, expect, it } from "vitest";
import type { ServeLLMError } from "../src/errors/serve-llm-error.ts";
import { mockAnswer, MockKvStore } from "../src/testing/index.ts";
import { post } from "./support/client.ts";
import { type ConnectorSetup, connectorSetups } from "./support/connectors.ts";
import { model, type PDCluster, type PDClusterOptions, startPDCluster } from "./support/pd-cluster.ts";

let cluster: PDCluster | undefined;

afterEach(async () => {
  await cluster?.stop();
  cluster = undefined;
});

async function start(setup: ConnectorSetup, more: PDClusterOptions = {}): Promise<PDCluster> {
  const options = setup.cluster();
  cluster = await startPDCluster({ ...options, ...more, engine: { ...options.engine, ...more.engine } });
  return cluster;
}

const named = (name: string): ConnectorSetup => connectorSetups.find((setup) => setup.name === name)!;

const chat = { model, messages: [{ role: "user", content: "tell me a story" }], max_tokens: 6 };
const paths = { chat: "/v1/chat/completions" };

describe("what engines publish", () => {
  it("endpoints without what a connector needs are refused, all of them by name", async () => {
    const setup = named("MoRIIO WRITE");
    const failure = await startPDCluster({ ...setup.cluster(), endpoint: undefined })
      .then(async (started) => {
        await started.stop();
        return undefined;
      })
      .catch((error: unknown) => error as ServeLLMError & { readonly issues: readonly { path: unknown }[] });

    expect(failure?.issues.map(({ path }) => path)).toEqual(
      ["prefill", "decode"].flatMap((side) =>
        [0, 1].map((index) => [`${side}Config`, "endpoints", index, "kvMetadata", "mori_zmq_address"]),
      ),
    );
    expect(failure?.message).toContain("mori_zmq_address");
  });

  it("both addresses and one transfer id are in both MoRIIO requests", async () => {
    const { url, prefills, decodes } = await start(named("MoRIIO WRITE"), { prefills: 1, decodes: 1 });
    await post(url + paths.chat, chat);
    const [prefill] = prefills[0]!.requests.filter(({ phase }) => phase === "prefill");
    const [decode] = decodes[0]!.requests.filter(({ phase }) => phase === "decode");

    const id = prefill!.headers["x-request-id"] as string;
    const uid = id.slice(-32);
    expect(id).toBe(
      `___prefill_addr_${prefills[0]!.kvAddress}___decode_addr_${decodes[0]!.kvAddress}_${uid}`,
    );
    expect(decode!.headers["x-request-id"]).toBe(id);
    expect((prefill!.body as typeof decode & { kv_transfer_params: unknown }).kv_transfer_params).toEqual({
      do_remote_decode: true,
      do_remote_prefill: false,
      remote_engine_id: null,
      remote_block_ids: null,
      transfer_id: `tx-${uid}`,
      remote_dp_rank: 0,
      remote_dp_size: 1,
      tp_size: 1,
    });
  });

  it("a Mooncake bootstrap server is asked once, and again when its engine was restarted", async () => {
    const { url, prefills } = await start(named("Mooncake"), { prefills: 1, decodes: 1 });
    const engineId = async (): Promise<unknown> => {
      const answer = await post(url + paths.chat, chat);
      expect(JSON.parse(answer.text).choices[0].message.content).toBe(mockAnswer(chat, 6));
      const sent = cluster!.decodes[0]!.requests.findLast(({ phase }) => phase === "decode")!.body;
      return (sent as { kv_transfer_params: { remote_engine_id: unknown } }).kv_transfer_params
        .remote_engine_id;
    };
    expect(await engineId()).toBe(prefills[0]!.engineId);
    expect(await engineId()).toBe(prefills[0]!.engineId);
    expect(prefills[0]!.bootstrapQueries.proxy).toBe(1);
    const before = prefills[0]!.engineId;
    await prefills[0]!.restart();
    expect(prefills[0]!.engineId).not.toBe(before);
    expect(await engineId()).toBe(prefills[0]!.engineId);
    expect(prefills[0]!.bootstrapQueries.proxy).toBe(2);
  });

  it("an unreachable bootstrap server is a prefill that failed", async () => {
    const { url, app } = await start(named("Mooncake"), {
      endpoint: () => ({ kvMetadata: { bootstrap_addr: "http://127.0.0.1:1" } }),
    });
    const answer = await post(url + paths.chat, chat);

    expect(answer.status).toBe(200);
    expect(app.pdHealth()[0]).toMatchObject({ decodeOnly: { prefill_failed: 1 }, disaggregated: 0 });
  });

  it("an unknown connector gets the default protocol and one warning", async () => {
    const warnings: string[] = [];
    const { url } = await start(named("FlexKVConnectorV1"), {
      environment: { warn: (message) => warnings.push(message) },
    });
    await post(url + paths.chat, chat);
    await post(url + paths.chat, chat);

    expect(warnings.filter((text) => text.includes("FlexKVConnectorV1"))).toEqual([
      "Unsupported connector backend: FlexKVConnectorV1. Using default: DefaultConnectorBackend.",
    ]);
  });
});

describe("P2pNccl, whose decode engines can't answer alone", () => {
  it.each([{ n: 2 }, { prompt_logprobs: 1 }])("refuses %j", async (extra) => {
    const { url, engines } = await start(named("P2pNccl"));
    const answer = await post(url + paths.chat, { ...chat, ...extra });

    expect(answer.status).toBe(400);
    expect(JSON.parse(answer.text).error).toMatchObject({ code: "not_disaggregable" });
    expect(engines.flatMap(({ requests }) => requests.filter(({ phase }) => phase !== undefined))).toEqual(
      [],
    );
  });

  it("disaggregates an answer of one token as well", async () => {
    const { url, app } = await start(named("P2pNccl"));
    const answer = await post(url + paths.chat, { ...chat, max_tokens: 1 });

    expect(answer.status).toBe(200);
    expect(app.pdHealth()[0]).toMatchObject({ disaggregated: 1 });
  });

  it("fails when no prefill engine is there", async () => {
    const { url, prefills, decodes } = await start(named("P2pNccl"));
    await Promise.all(prefills.map((engine) => engine.crash()));
    const answer = await post(url + paths.chat, chat);

    expect(answer.status).toBe(502);
    expect(decodes.every(({ listening }) => listening)).toBe(true);
  });
});

it("engines with a store share KV by prompt", async () => {
  const kvStore = new MockKvStore();
  const { url } = await start(named("LMCacheConnectorV1"), { engine: { kvStore } });
  const answer = await post(url + paths.chat, chat);

  expect([kvStore.size, kvStore.hits, kvStore.misses]).toEqual([1, 1, 1]);
  expect(answer.status).toBe(200);
});
