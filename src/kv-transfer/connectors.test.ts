import * as fc from "fast-check";
import { describe, expect, it } from "vitest";

import { RequestError } from "../errors/request-error.ts";
import { scanJsonObject } from "../protocol/json-object-index.ts";
import { splicedJson } from "../protocol/json-splice.ts";
import { RawJson } from "../protocol/raw-json.ts";
import type { ConnectorRequest, GenerateMethod, KvConnector, RequestEdits } from "./kv-connector.ts";
import { createKvConnector } from "./kv-connector-registry.ts";
import { MoriioConnector } from "./moriio-connector.ts";
import { NixlConnector } from "./nixl-connector.ts";
import { prefillRemovedFields } from "./prefill-request.ts";

const peer = {
  mori_zmq_address: "host:10.0.0.7,handshake:1,notify:2",
  zmq_address: "10.0.0.7:21001",
  bootstrap_addr: "http://10.0.0.7:8998",
  engine_id: "e-7",
};
const configs: readonly Readonly<Record<string, unknown>>[] = [
  { kv_connector: "NixlConnector" },
  { kv_connector: "NixlPullConnector" },
  { kv_connector: "LMCacheConnectorV1" },
  { kv_connector: "LMCacheMPConnector" },
  { kv_connector: "MoRIIOConnector" },
  { kv_connector: "MoRIIOConnector", kv_connector_extra_config: { read_mode: "true" } },
  { kv_connector: "MooncakeConnector" },
  { kv_connector: "P2pNcclConnector" },
  { kv_connector: "SomebodysConnector" },
  {
    kv_connector: "MultiConnector",
    kv_connector_extra_config: { connectors: [{ kv_connector: "NixlConnector" }] },
  },
];
const handleText =
  '{"do_remote_prefill":true,"do_remote_decode":false,"remote_block_ids":[[9007199254740993]],' +
  '"remote_engine_id":"e","remote_request_id":"r","remote_host":"h","remote_port":5600,"seed":18446744073709551615}';

const anyConnector = fc
  .constantFrom(...configs)
  .map((config) => createKvConnector(config, { decodeMetadata: peer }));
const anyMethod = fc.constantFrom<GenerateMethod>("chat", "completions");
const anyBody = fc
  .dictionary(
    fc.oneof(
      fc.constantFrom(
        ...prefillRemovedFields,
        "max_tokens",
        "max_completion_tokens",
        "stream",
        "tools",
        "cache_salt",
      ),
      fc.string(),
    ),
    fc.jsonValue(),
  )
  .map((body) => {
    delete body["kv_transfer_params"];
    return body;
  });

function requestOf(
  method: GenerateMethod,
  body: Readonly<Record<string, unknown>>,
  requestId = "r-1",
): ConnectorRequest {
  return {
    method,
    requestId,
    has: (field) => Object.hasOwn(body, field),
    get: (field) => (Object.hasOwn(body, field) ? body[field] : undefined),
  };
}

function onWire(body: unknown, edits: RequestEdits): Record<string, unknown> {
  const bytes = new TextEncoder().encode(JSON.stringify(body));
  return JSON.parse(new TextDecoder().decode(splicedJson(scanJsonObject(bytes), edits))) as Record<
    string,
    unknown
  >;
}

function handle(text = handleText): RawJson {
  return RawJson.fromText(text);
}

describe("every connector", () => {
  it("makes prefill one token, not streamed, and keeps everything else", () => {
    fc.assert(
      fc.property(anyConnector, anyMethod, anyBody, (connector, method, body) => {
        const sent = onWire(body, connector.preparePrefillRequest(requestOf(method, body), peer));
        expect(sent["max_tokens"]).toBe(1);
        expect(sent["stream"]).toBe(false);
        const bothLimits = method === "chat" || Object.hasOwn(body, "max_completion_tokens");
        expect(sent["max_completion_tokens"]).toBe(bothLimits ? 1 : undefined);
        for (const field of prefillRemovedFields) expect(sent).not.toHaveProperty([field]);
        const changed = new Set([
          ...prefillRemovedFields,
          "max_tokens",
          "max_completion_tokens",
          "stream",
          "ignore_eos",
        ]);
        for (const [field, value] of Object.entries(JSON.parse(JSON.stringify(body)) as object)) {
          if (!changed.has(field)) expect(sent[field]).toEqual(value);
        }
      }),
    );
  });

  it("changes nothing of decode's request but kv_transfer_params", () => {
    fc.assert(
      fc.property(anyConnector, anyMethod, anyBody, fc.boolean(), (connector, method, body, answered) => {
        const edits = connector.prepareDecodeRequest(requestOf(method, body), peer, {
          kvTransferParams: answered ? handle() : undefined,
        });
        expect(edits.remove ?? []).toEqual([]);
        const sent = onWire(body, edits);
        delete sent["kv_transfer_params"];
        expect(sent).toEqual(JSON.parse(JSON.stringify(body)));
      }),
    );
  });

  it("gives both legs the same id", () => {
    fc.assert(
      fc.property(anyConnector, anyMethod, fc.string(), (connector, method, requestId) => {
        const request = requestOf(method, {}, requestId);
        const prefill = connector.preparePrefillRequest(request, peer);
        const decode = connector.prepareDecodeRequest(request, peer, { kvTransferParams: handle() });
        expect(prefill.requestId).toBe(decode.requestId);
        expect(connector.preparePrefillRequest(request, peer)).toEqual(prefill);
      }),
    );
  });

  it("refuses a client's own kv_transfer_params, also an empty one", () => {
    fc.assert(
      fc.property(
        anyConnector,
        anyMethod,
        fc.constantFrom({}, { a: 1 }, 0, false, ""),
        (connector, method, params) => {
          const request = requestOf(method, { kv_transfer_params: params });
          expect(() => connector.preparePrefillRequest(request, peer)).toThrow(RequestError);
        },
      ),
    );
  });

  it("takes the decode replica of the request before the configured one", () => {
    const addressed = configs.filter(({ kv_connector }) =>
      ["MoRIIOConnector", "P2pNcclConnector"].includes(String(kv_connector)),
    );
    for (const config of addressed) {
      const decodePeer = {
        mori_zmq_address: "host:10.9.9.9,handshake:3,notify:4",
        zmq_address: "10.9.9.9:7",
      };
      const connector = createKvConnector(config, { decodeMetadata: peer });
      const { requestId } = connector.preparePrefillRequest({ ...requestOf("chat", {}), decodePeer }, peer);
      expect(requestId).toMatch(/___decode_addr_(?:host:)?10\.9\.9\.9/);
    }
  });
});

describe("a handle", () => {
  const passing: readonly KvConnector[] = [
    new NixlConnector(),
    createKvConnector({ kv_connector: "LMCacheConnectorV1" }),
  ];

  it("is passed on as the very object that came", () => {
    for (const connector of passing) {
      const raw = handle();
      const edits = connector.prepareDecodeRequest(requestOf("chat", {}), undefined, {
        kvTransferParams: raw,
      });
      expect(edits.set?.["kv_transfer_params"]).toBe(raw);
    }
  });

  it("keeps its 64-bit integers when MoRIIO completes it", () => {
    const connector = new MoriioConnector(
      { kv_connector_extra_config: { read_mode: true } },
      { decodeMetadata: peer },
    );
    const edits = connector.prepareDecodeRequest(requestOf("chat", {}), peer, { kvTransferParams: handle() });
    const text = String(edits.set?.["kv_transfer_params"]);
    expect(text).toContain("9007199254740993");
    expect(text).toContain("18446744073709551615");
    expect(JSON.parse(text)).toMatchObject({
      do_remote_prefill: true,
      remote_dp_rank: 0,
      remote_dp_size: 1,
      tp_size: 1,
    });
  });

  it.each([
    ["[]", "expected an object"],
    ["null", "expected an object"],
    ["{}", "do_remote_prefill is missing"],
    [handleText.replace('"do_remote_prefill":true', '"do_remote_prefill":"true"'), "do_remote_prefill"],
    [handleText.replace("[[9007199254740993]]", "[]"), "remote_block_ids"],
    [handleText.replace("[[9007199254740993]]", "[[],[]]"), "remote_block_ids"],
    [handleText.replace("[[9007199254740993]]", "null"), "remote_block_ids"],
    [handleText.replace('"remote_engine_id":"e"', '"remote_engine_id":null'), "remote_engine_id"],
    [handleText.replace('"remote_host":"h",', ""), "remote_host is missing"],
    [handleText.replace('"remote_port":5600', '"remote_port":null'), "remote_port"],
    [handleText.replace('"remote_request_id":"r"', '"remote_num_tokens":3'), "remote_request_id is missing"],
  ])("of Nixl is refused: %s", (text, problem) => {
    expect(new NixlConnector().checkHandle(handle(text))).toContain(problem);
  });

  it.each([
    handleText,
    handleText.replace("[[9007199254740993]]", "[1]"),
    handleText.replace("[[9007199254740993]]", "[[],[0]]"),
    handleText.replace('"remote_request_id":"r",', ""),
  ])("of Nixl is accepted: %s", (text) => {
    expect(new NixlConnector().checkHandle(handle(text))).toBeUndefined();
  });

  it("of MoRIIO READ that can't be used is left out", () => {
    const connector = new MoriioConnector(
      { kv_connector_extra_config: { read_mode: "1" } },
      { decodeMetadata: peer },
    );
    const raw = handle('{"remote_block_ids":[],"remote_engine_id":"e"}');
    const edits = connector.prepareDecodeRequest(requestOf("chat", {}), peer, { kvTransferParams: raw });
    expect(connector.checkHandle(raw)).toContain("remote_block_ids");
    expect(connector.checkHandle(handle('{"remote_block_ids":[1]}'))).toContain("remote_engine_id");
    expect(connector.checkHandle(handle("3"))).toContain("expected an object");
    expect(edits.set).toBeUndefined();
    expect(new MoriioConnector().checkHandle(raw)).toBeUndefined();
  });
});

describe("Mooncake", () => {
  it("pins the data-parallel rank of the chosen prefill", () => {
    const connector = createKvConnector({ kv_connector: "MooncakeConnector" });
    const edits = connector.preparePrefillRequest(requestOf("chat", {}), { ...peer, dp_rank: "3" });
    expect(edits.headers).toEqual({ "x-data-parallel-rank": "3" });
    expect(connector.preparePrefillRequest(requestOf("chat", {}), peer).headers).toBeUndefined();
    expect(() => connector.prepareDecodeRequest(requestOf("chat", {}), {}, undefined)).toThrow(
      /bootstrap_addr/,
    );
    expect(() => connector.preparePrefillRequest(requestOf("chat", {}), { dp_rank: "x" })).toThrow(
      /whole number/,
    );
  });
});
