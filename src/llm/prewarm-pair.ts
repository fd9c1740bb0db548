import type { LLMConfig } from "../config/llm-config.ts";
import { KvTransferError } from "../errors/kv-transfer-error.ts";
import type { CancelToken } from "../internal/cancel-token.ts";
import type { Clock } from "../internal/clock.ts";
import type { Random } from "../internal/random.ts";
import type { KvConnector } from "../kv-transfer/kv-connector.ts";
import { scanJsonObject } from "../protocol/json-object-index.ts";
import { callBuffered } from "../replicas/buffered-call.ts";
import type { Replica } from "../replicas/replica.ts";
import { engineErrorResponse } from "./engine-error-response.ts";
import { checkKvHandle } from "./kv-handle-check.ts";
import { ConnectorRequestView, legRequest } from "./leg-request.ts";
import type { LLMRequest } from "./llm-request.ts";
import { bindPeers, type PeerDirectory } from "./peer-directory.ts";
import { callPrefill } from "./prefill-call.ts";

/** Milliseconds one leg may take; a first handshake takes some seconds. */
const legTimeoutMs = 30_000;
const maxAnswerBytes = 1024 * 1024;

/** What {@link warmPair} works with. */
export interface PairWarmUp {
  readonly config: LLMConfig;
  readonly connector: KvConnector;
  readonly peers: PeerDirectory | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly cancel: CancelToken;
}

/**
 * One token of a one-word prompt, prefilled on one engine and decoded on the other. Ray's dummy request.
 *
 * @throws EngineError or KvTransferError when a leg failed, or the token's error
 */
export async function warmPair(prefill: Replica, decode: Replica, context: PairWarmUp): Promise<void> {
  const { connector, clock, cancel, random, peers } = context;
  const requestId = `prewarm-${random.id()}`;
  const request = dummyRequest(requestId, context);
  const bound = bindPeers(peers, prefill, decode, cancel);
  const binding = bound instanceof Promise ? await bound : bound;
  const view = new ConnectorRequestView(request, requestId, binding.decode);
  const prefillEdits = connector.preparePrefillRequest(view, binding.prefill);
  // Whoever drains the engine has to wait until its blocks were picked up.
  prefill.addHold();
  try {
    const answer = await callPrefill(prefill, legRequest(request, requestId, prefillEdits, "prefill"), {
      clock,
      cancel,
      prefillTimeoutMs: legTimeoutMs,
    });
    const handle = checkKvHandle(answer.kvTransferParams, connector, prefill, undefined);
    if (handle === undefined && connector.requiresHandle) {
      throw new KvTransferError("missing", "prefill's first token ended its answer", {
        replica: prefill.fullName,
      });
    }
    if (handle?.engineId !== undefined) prefill.engineId = handle.engineId;
    const edits = connector.prepareDecodeRequest(view, binding.prefill, answer);
    const { status, headers, body } = await callBuffered(
      decode.http,
      legRequest(request, requestId, edits, "decode"),
      {
        clock,
        cancel,
        replica: decode.fullName,
        timeoutMs: legTimeoutMs,
        timeoutOption: "pre-warming",
        maxBytes: maxAnswerBytes,
      },
    );
    if (status !== 200) {
      throw engineErrorResponse({ phase: "decode", replica: decode.fullName }, status, headers, body);
    }
  } finally {
    prefill.removeHold();
  }
}

function dummyRequest(requestId: string, { config, cancel }: PairWarmUp): LLMRequest {
  const body = JSON.stringify({ model: config.modelId, prompt: " x", max_tokens: 1, stream: false });
  return {
    method: "completions",
    body: scanJsonObject(new TextEncoder().encode(body)),
    modelId: config.modelId,
    stream: false,
    requestId,
    priority: 0,
    expectedChoices: 1,
    forwardHeaders: [],
    cancel,
  };
}
