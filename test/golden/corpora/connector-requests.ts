import { deepStrictEqual, ok, throws } from "node:assert/strict";

import { RequestError } from "../../../src/errors/request-error.ts";
import { defaultRoutes, type RouteMap } from "../../../src/ingress/routes.ts";
import { DefaultConnector } from "../../../src/kv-transfer/default-connector.ts";
import type {
  ConnectorRequest,
  GenerateMethod,
  KvConnector,
  PeerMetadata,
  RequestEdits,
} from "../../../src/kv-transfer/kv-connector.ts";
import {
  createKvConnector,
  registerKvConnector,
  unregisterKvConnector,
} from "../../../src/kv-transfer/kv-connector-registry.ts";
import { prefillRemovedFields } from "../../../src/kv-transfer/prefill-request.ts";
import { setupKvTransfer } from "../../../src/kv-transfer/setup-kv-transfer.ts";
import { askForTokenIds } from "../../../src/kv-transfer/tokenize-once.ts";
import { scanJsonObject } from "../../../src/protocol/json-object-index.ts";
import { spliceJsonObject } from "../../../src/protocol/json-splice.ts";
import { RawJson } from "../../../src/protocol/raw-json.ts";
import type { GoldenCase } from "../golden-case.ts";
import { isConfigurationError, setupInput } from "./kv-setup.ts";

/**
 * Checks one case of `connector-requests.jsonl`: set-up, the connector's flags, both requests as they go over the
 * wire, and the order in which they can be made. Throws when the library does something else than was recorded.
 * Who is called when, and what a client reads, is the PDProxyServer's and tested there; session ids are, too.
 *
 * Ours by rule:
 * - prefill loses {@link prefillRemovedFields}, which Ray sends on; `stream_options` is removed where Ray sends null;
 * - a leg's id goes out as `X-Request-Id`, so that `request_id` in the body stays the client's;
 * - a client's `kv_transfer_params` is a RequestError (400), also where Ray answers 500 or replaces them;
 * - a null handle is left out rather than sent; a connector that needs one says so (`requiresHandle`), and
 *   `checkHandle` refuses what would crash or hang the engine;
 * - Mooncake and P2pNccl follow vLLM's protocol for them, where Ray sends its default one that moves nothing;
 * - a connector needs no set-up of this process: Ray's "No KV-connector backend" can't happen, and an empty
 *   configuration is refused before any request;
 * - in a MultiConnector the first connector's metadata is published;
 * - what is neither chat nor completions never meets a connector: it is served by decode alone, where Ray refuses it;
 * - group `proxy` (Ray's deprecated PDProxyServer): as for NixlConnector today, `max_completion_tokens` included.
 */
export function check(kase: GoldenCase): void {
  const input = kase.input as Input;
  const expected = kase.expect as Expectation;
  if (input.method !== "chat" && input.method !== "completions") {
    checkGoesToDecode(input.method);
    return;
  }
  registerKvConnector(
    "ConcurrentTestConnector",
    (config) => new ConcurrentTestConnector(String(config["kv_connector"])),
  );
  try {
    new CaseCheck(input, input.method, expected).run();
  } finally {
    unregisterKvConnector("ConcurrentTestConnector");
  }
}

type Body = Readonly<Record<string, unknown>>;

/** @param method Ray's name of it, which is the route's here */
function checkGoesToDecode(method: string): void {
  const route = (defaultRoutes as RouteMap)[method];
  ok(route !== undefined, `there is no route ${method}`);
  deepStrictEqual(route.goesTo, "decode");
}

interface Input {
  readonly server?: string;
  readonly kv_transfer_config?: Body;
  readonly method: string;
  readonly request: Body;
  readonly prefill_script: readonly Body[];
  readonly peer?: PeerMetadata | null;
  readonly engine_kwargs?: Body;
  readonly experimental_configs?: Body;
  readonly replica_rank?: number | null;
  readonly pd_tokenize_once?: boolean;
  readonly setup?: boolean;
  readonly serve_request_id?: string;
}

interface Expectation {
  readonly ok: boolean;
  readonly stage?: "setup" | "request";
  readonly message_contains?: readonly string[];
  readonly requires_peer_binding?: boolean;
  readonly concurrent_handoff?: boolean;
  readonly replica_metadata?: unknown;
  readonly prefill_body?: Body;
  readonly decode_body?: Body;
}

/** What the corpus registers with Ray: the default requests, both legs at once. */
class ConcurrentTestConnector implements KvConnector {
  readonly name: string;
  readonly requiresPeerBinding = false;
  readonly concurrentHandoff = true;
  readonly requiresHandle = false;
  readonly #requests = new DefaultConnector();

  constructor(name: string) {
    this.name = name;
  }

  preparePrefillRequest(request: ConnectorRequest): RequestEdits {
    return this.#requests.preparePrefillRequest(request);
  }

  prepareDecodeRequest(request: ConnectorRequest, peer: PeerMetadata | undefined): RequestEdits {
    return this.#requests.prepareDecodeRequest(request, peer, undefined);
  }
}

/** Metadata the corpus can't have. */
const ownPeers: Readonly<Record<string, PeerMetadata>> = {
  MooncakeConnector: { bootstrap_addr: "http://10.0.0.7:8998", engine_id: "engine-7" },
  P2pNcclConnector: { zmq_address: "10.0.0.7:21001" },
};

class CaseCheck {
  readonly #input: Input;
  readonly #expected: Expectation;
  readonly #request: ConnectorRequest;
  readonly #requestId: string;
  readonly #config: Body;

  constructor(input: Input, method: GenerateMethod, expected: Expectation) {
    this.#input = input;
    this.#expected = expected;
    this.#config = input.kv_transfer_config ?? { kv_connector: "NixlConnector" };
    this.#requestId = input.serve_request_id ?? textOf(input.request["request_id"], "made-here");
    const { request } = input;
    this.#request = {
      method,
      requestId: this.#requestId,
      has: (field) => Object.hasOwn(request, field),
      get: (field) => request[field],
    };
  }

  run(): void {
    const expected = this.#expected;
    const read = this.#readMode();
    if (expected.stage === "setup" || Object.keys(this.#config).length === 0 || read === undefined) {
      throws(
        () => createKvConnector(this.#config),
        (error) =>
          isConfigurationError(error, expected.stage === "setup" ? (expected.message_contains ?? []) : []),
      );
      return;
    }
    const setup = setupKvTransfer(
      setupInput({
        ...this.#input,
        kv_transfer_config: this.#config,
        replica_rank: this.#input.replica_rank ?? 0,
      }),
    );
    const own = ownPeers[String(this.#config["kv_connector"])];
    const connector = createKvConnector(setup.kvTransferConfig, {
      decodeMetadata: own ?? setup.replicaMetadata,
    });
    const clientParams = this.#input.request["kv_transfer_params"];
    if (clientParams !== undefined && clientParams !== null) {
      throws(
        () => connector.preparePrefillRequest(this.#request, this.#peer(setup.replicaMetadata)),
        (error) =>
          error instanceof RequestError && error.status === 400 && error.param === "kv_transfer_params",
      );
      return;
    }
    if (own !== undefined) {
      this.#checkOwnProtocol(connector, own);
      return;
    }
    if (expected.requires_peer_binding !== undefined) {
      deepStrictEqual(connector.requiresPeerBinding, expected.requires_peer_binding);
      deepStrictEqual(connector.concurrentHandoff, expected.concurrent_handoff);
      deepStrictEqual(
        setup.replicaMetadata,
        this.#isMoriFirst() ? setup.replicaMetadata : expected.replica_metadata,
      );
    }
    this.#checkRequests(connector, this.#peer(setup.replicaMetadata));
  }

  #checkRequests(connector: KvConnector, peer: PeerMetadata | undefined): void {
    const expected = this.#expected;
    const isPeerMissing =
      expected.message_contains?.some((text) => text.includes("mori_zmq_address")) === true;
    if (isPeerMissing && !this.#isMoriFirst()) {
      const isSame = (error: unknown): boolean =>
        isConfigurationError(error, expected.message_contains ?? []);
      throws(() => connector.preparePrefillRequest(this.#request, peer), isSame);
      throws(() => connector.prepareDecodeRequest(this.#request, peer, undefined), isSame);
      return;
    }
    const before = structuredClone(this.#input.request);
    let prefill = connector.preparePrefillRequest(this.#request, peer);
    if (this.#input.pd_tokenize_once === true) prefill = askForTokenIds(connector, prefill);
    const answer = this.#input.prefill_script[0];
    const handle = answer?.["kv_transfer_params"];
    const raw =
      handle === null || handle === undefined ? undefined : RawJson.fromText(JSON.stringify(handle));
    const decode = connector.prepareDecodeRequest(
      this.#request,
      peer,
      connector.concurrentHandoff ? undefined : { kvTransferParams: raw },
    );
    deepStrictEqual(this.#input.request, before, "the client's request was changed");
    this.#checkIds(prefill, decode);
    if (expected.prefill_body !== undefined) this.#checkPrefill(prefill, expected.prefill_body);
    if (expected.decode_body !== undefined) {
      deepStrictEqual(this.#onWire(decode), withoutNulls(expected.decode_body, ["kv_transfer_params"]));
      this.#checkHandle(connector, raw);
    } else if (expected.ok) {
      // Ray called no decode: its prefill had answered with an error, which a waiting connector must see first.
      ok(!connector.concurrentHandoff && answer?.["$error"] !== undefined);
    }
  }

  #checkPrefill(edits: RequestEdits, recorded: Body): void {
    const body = Object.fromEntries(Object.entries(recorded).filter(([field]) => !this.#isRemoved(field)));
    // The deprecated server forgot this one.
    if (
      this.#input.server === "PDProxyServer" &&
      (this.#request.method === "chat" || "max_completion_tokens" in body)
    ) {
      body["max_completion_tokens"] = 1;
    }
    deepStrictEqual(this.#onWire(edits), body);
    for (const field of prefillRemovedFields) {
      ok(!(field in this.#onWire(edits)) || field === "return_token_ids", `${field} went to prefill`);
    }
  }

  #isRemoved(field: string): boolean {
    if (field === "return_token_ids") return this.#input.pd_tokenize_once !== true;
    return prefillRemovedFields.includes(field);
  }

  #checkHandle(connector: KvConnector, raw: RawJson | undefined): void {
    const name = connector.name === "MultiConnector" ? this.#firstSub() : connector.name;
    const needsHandle =
      name === "NixlConnector" || (name === "MoRIIOConnector" && !connector.concurrentHandoff);
    deepStrictEqual(connector.requiresHandle, needsHandle);
    if (raw === undefined || !needsHandle) return;
    const handle = raw.value as Body;
    const blocks = handle["remote_block_ids"];
    const hasBlocks = Array.isArray(blocks) && blocks.flat().length > 0;
    const addresses =
      name === "NixlConnector" ? ["remote_engine_id", "remote_host", "remote_port"] : ["remote_engine_id"];
    const isUsable =
      hasBlocks &&
      addresses.every((field) => handle[field] !== undefined && handle[field] !== null) &&
      (name !== "NixlConnector" || handle["do_remote_prefill"] === true);
    deepStrictEqual(connector.checkHandle?.(raw) === undefined, isUsable);
  }

  #checkOwnProtocol(connector: KvConnector, own: PeerMetadata): void {
    const isMooncake = connector.name === "MooncakeConnector";
    deepStrictEqual([connector.requiresPeerBinding, connector.concurrentHandoff], [true, isMooncake]);
    const prefill = connector.preparePrefillRequest(this.#request, own);
    const decode = connector.prepareDecodeRequest(this.#request, own, undefined);
    const recorded = this.#expected.prefill_body;
    const [prefillBody, decodeBody] = [this.#onWire(prefill), this.#onWire(decode)];
    if (recorded !== undefined) {
      const clamped = Object.fromEntries(
        Object.entries(recorded).filter(([field]) => !this.#isRemoved(field)),
      );
      delete clamped["kv_transfer_params"];
      if (isMooncake) clamped["ignore_eos"] = true;
      deepStrictEqual(
        without(prefillBody, ["kv_transfer_params", "request_id"]),
        without(clamped, ["request_id"]),
      );
    }
    const client = without(this.#input.request, ["kv_transfer_params", "request_id"]);
    deepStrictEqual(without(decodeBody, ["kv_transfer_params", "request_id"]), client);
    const ids = [prefill.requestId, decode.requestId];
    if (isMooncake) {
      const transfer_id = `xfer-${this.#requestId}`;
      deepStrictEqual(ids, [undefined, undefined]);
      deepStrictEqual(prefillBody["kv_transfer_params"], {
        do_remote_decode: true,
        do_remote_prefill: false,
        transfer_id,
      });
      deepStrictEqual(decodeBody["kv_transfer_params"], {
        do_remote_decode: false,
        do_remote_prefill: true,
        remote_bootstrap_addr: own["bootstrap_addr"],
        remote_engine_id: own["engine_id"],
        transfer_id,
      });
    } else {
      deepStrictEqual(ids[0], ids[1]);
      ok(
        /^___prefill_addr_10\.0\.0\.7:21001___decode_addr_10\.0\.0\.7:21001_[0-9a-f]{32}$/.test(ids[0] ?? ""),
      );
      ok(!("kv_transfer_params" in prefillBody) && !("kv_transfer_params" in decodeBody));
    }
  }

  /** The client's body with the edits, through the splice that requests go through. */
  #onWire(edits: RequestEdits): Body {
    const bytes = new TextEncoder().encode(JSON.stringify(this.#input.request));
    const parts = spliceJsonObject(scanJsonObject(bytes), edits);
    const body = JSON.parse(Buffer.concat(parts).toString()) as Record<string, unknown>;
    if (edits.requestId !== undefined) body["request_id"] = edits.requestId;
    else if (this.#input.serve_request_id !== undefined) body["request_id"] = this.#input.serve_request_id;
    return body["kv_transfer_params"] === null ? without(body, ["kv_transfer_params"]) : body;
  }

  #checkIds(prefill: RequestEdits, decode: RequestEdits): void {
    deepStrictEqual(prefill.requestId, decode.requestId);
    deepStrictEqual(prefill.requestId !== undefined, this.#firstSub() === "MoRIIOConnector");
  }

  #peer(ownMetadata: PeerMetadata): PeerMetadata | undefined {
    // With Ray's defect gone, a prefill replica publishes what this one does.
    return this.#isMoriFirst() ? ownMetadata : (this.#input.peer ?? undefined);
  }

  #isMoriFirst(): boolean {
    return this.#config["kv_connector"] === "MultiConnector" && this.#firstSub() === "MoRIIOConnector";
  }

  #firstSub(): string {
    const extra = this.#config["kv_connector_extra_config"] as { connectors?: Body[] } | undefined;
    return String((extra?.connectors?.[0] ?? this.#config)["kv_connector"]);
  }

  /** True for READ, false for WRITE, undefined for what is neither and refused here. */
  #readMode(): boolean | undefined {
    if (this.#config["kv_connector"] !== "MoRIIOConnector") return false;
    const extra = this.#config["kv_connector_extra_config"] as Body | undefined;
    const mode = textOf(extra?.["read_mode"], "false").trim().toLowerCase();
    return ["true", "1"].includes(mode) ? true : ["false", "0", ""].includes(mode) ? false : undefined;
  }
}

function without(body: Body, fields: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(Object.entries(body).filter(([field]) => !fields.includes(field)));
}

function withoutNulls(body: Body, fields: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(body).filter(([field, value]) => value !== null || !fields.includes(field)),
  );
}

function textOf(value: unknown, fallback: string): string {
  return typeof value === "string" ? value : JSON.stringify(value ?? fallback).replaceAll('"', "");
}
