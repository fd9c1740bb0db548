import type { KvClaim, PinnedKv } from "./kv-ledger.ts";

/** What `kv_transfer_params` of a request ask for. */
export interface KvParams {
  readonly doRemoteDecode: boolean;
  readonly doRemotePrefill: boolean;
  /** All block ids, groups flattened; empty when there are none. */
  readonly blockIds: readonly number[];
  /** `remote_block_ids` is there, whatever it holds. */
  readonly hasBlockIds: boolean;
  readonly engineId: string | undefined;
  readonly requestId: string | undefined;
  readonly host: string | undefined;
  readonly port: number | undefined;
  readonly tensorParallelSize: number;
  readonly promptTokens: number | undefined;
  readonly leaseToken: string | undefined;
  /** Mooncake: what both legs share. */
  readonly transferId: string | undefined;
  /** Mooncake: base URL of prefill's bootstrap server. */
  readonly bootstrapAddress: string | undefined;
  /** Prompt tokens sent along, which replace those of the messages. */
  readonly promptTokenIds: readonly number[] | undefined;
}

/** Older ways an engine may write its handles. */
export interface HandleFormat {
  /** Block ids in one list instead of one list for each group (vLLM before March 2026). @default false */
  readonly flatBlockIds?: boolean | undefined;
  /** No `remote_request_id` (vLLM before 0.13). @default false */
  readonly omitRequestId?: boolean | undefined;
  /** Keys of newer versions: `dcp_size` and `pp_size`. @default false */
  readonly newerKeys?: boolean | undefined;
}

/**
 * Reads `kv_transfer_params`.
 *
 * @param bodyText the body as it came; the one integer beyond 2^53 is taken from here, digit for digit
 */
export function readKvParams(value: unknown, bodyText: string): KvParams | undefined {
  if (typeof value !== "object" || value === null || Object.keys(value).length === 0) return undefined;
  const params = value as Readonly<Record<string, unknown>>;
  const blockIds = params["remote_block_ids"];
  const promptTokenIds = params["prompt_token_ids"];
  return {
    doRemoteDecode: params["do_remote_decode"] === true,
    doRemotePrefill: params["do_remote_prefill"] === true,
    blockIds: Array.isArray(blockIds) ? blockIds.flat().map(Number) : [],
    hasBlockIds: blockIds !== undefined && blockIds !== null,
    engineId: textOf(params["remote_engine_id"]),
    requestId: textOf(params["remote_request_id"]),
    host: textOf(params["remote_host"]),
    port: typeof params["remote_port"] === "number" ? params["remote_port"] : undefined,
    tensorParallelSize: typeof params["tp_size"] === "number" ? params["tp_size"] : 1,
    promptTokens: typeof params["remote_num_tokens"] === "number" ? params["remote_num_tokens"] : undefined,
    leaseToken: /"remote_lease_token"\s*:\s*(-?[0-9.eE+]+)/.exec(bodyText)?.[1],
    transferId: textOf(params["transfer_id"]),
    bootstrapAddress: textOf(params["remote_bootstrap_addr"]),
    promptTokenIds: Array.isArray(promptTokenIds) ? promptTokenIds.map(Number) : undefined,
  };
}

/** MoRIIO's handle in READ mode, keys in vLLM's order. */
export function moriioHandleText(
  kv: PinnedKv,
  issuer: HandleIssuer,
  ranks: { readonly rank: number; readonly size: number },
  edits: HandleEdits = {},
): string {
  const fields: Record<string, unknown> = {
    do_remote_prefill: true,
    remote_block_ids: kv.blockIds,
    remote_engine_id: issuer.engineId,
    remote_host: issuer.host,
    remote_handshake_port: issuer.port,
    remote_notify_port: issuer.port,
    remote_dp_rank: ranks.rank,
    remote_dp_size: ranks.size,
    tp_size: kv.tensorParallelSize,
    transfer_id: kv.requestId,
    ...edits.replace,
  };
  for (const key of edits.remove ?? []) delete fields[key];
  return JSON.stringify(fields);
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

/** What decode shows to the engine that issued the handle. */
export function claimOf(params: KvParams, fingerprint: string): KvClaim {
  return {
    engineId: params.engineId,
    requestId: params.requestId,
    blockIds: params.hasBlockIds ? params.blockIds : undefined,
    fingerprint,
    tensorParallelSize: params.tensorParallelSize,
    promptTokens: params.promptTokens,
    leaseToken: params.leaseToken,
  };
}

/** Where an engine's side channel is, and who it is. */
export interface HandleIssuer {
  readonly engineId: string;
  readonly host: string;
  readonly port: number;
  readonly format: HandleFormat;
}

/** Largest integer of 64 bits; the lease tokens count down from it. */
export const largestLeaseToken = 9_223_372_036_854_775_807n;

/** Changes to a handle before it goes out; how faults spoil it. */
export interface HandleEdits {
  readonly remove?: readonly string[] | undefined;
  readonly replace?: Readonly<Record<string, unknown>> | undefined;
}

/**
 * `kv_transfer_params` of prefill's answer as JSON text, keys in vLLM's order. Text, because a lease token does
 * not survive as a JavaScript number.
 */
export function handleText(kv: PinnedKv, issuer: HandleIssuer, edits: HandleEdits = {}): string {
  const { flatBlockIds, omitRequestId, newerKeys } = issuer.format;
  const fields = new Map<string, string>([
    ["do_remote_prefill", "true"],
    ["do_remote_decode", "false"],
    ["remote_block_ids", JSON.stringify(flatBlockIds === true ? kv.blockIds : [kv.blockIds])],
    ["remote_engine_id", JSON.stringify(issuer.engineId)],
    ["remote_request_id", JSON.stringify(kv.requestId)],
    ["remote_host", JSON.stringify(issuer.host)],
    ["remote_port", String(issuer.port)],
    ["tp_size", String(kv.tensorParallelSize)],
    ["remote_num_tokens", String(kv.promptTokens)],
    ["remote_blocks_expiry_time", "null"],
    ["transfer_mode", '"pull"'],
  ]);
  if (omitRequestId === true) fields.delete("remote_request_id");
  if (newerKeys === true) fields.set("dcp_size", "1").set("pp_size", "1");
  if (kv.leaseToken !== undefined) fields.set("remote_lease_token", kv.leaseToken);
  for (const key of edits.remove ?? []) fields.delete(key);
  for (const [key, value] of Object.entries(edits.replace ?? {}))
    fields.set(key, JSON.stringify(value) ?? "null");
  return `{${Array.from(fields, ([key, text]) => `${JSON.stringify(key)}:${text}`).join(",")}}`;
}
