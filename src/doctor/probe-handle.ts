import type { Random } from "../internal/random.ts";
import type { KvConnector } from "../kv-transfer/kv-connector.ts";
import { asJsonObject, parseEngineJson } from "../protocol/engine-json.ts";
import { RawJson } from "../protocol/raw-json.ts";
import type { EngineQuestions } from "./engine-questions.ts";
import type { FindingList, FindingSubject } from "./finding.ts";
import { connectorRequest, editedBody, probeBody, shortText } from "./probe-prompt.ts";

/** What a prefill engine's handle says of where its KV is. */
export interface HandleFacts {
  readonly engine: EngineQuestions;
  /** Without the rank that vLLM appends under data parallelism. */
  readonly engineId: string | undefined;
  readonly host: string | undefined;
  readonly port: number | undefined;
}

/** How a handle is asked for. */
export interface HandleProbeOptions {
  readonly modelId: string;
  readonly connector: KvConnector;
  readonly random: Random;
  /** Milliseconds for one prefill. */
  readonly timeoutMs: number;
}

/**
 * True for connectors whose prefill can be tried alone. With others prefill waits for a decode, and some hold KV for
 * minutes when none comes.
 */
export function canProbeHandle(connector: KvConnector): boolean {
  return connector.requiresHandle && !connector.concurrentHandoff && !connector.requiresPeerBinding;
}

/**
 * Has an engine prefill a short prompt and looks at the handle it answers with. The few blocks of the prompt stay
 * pinned there until its lease ends (vLLM: 30 s).
 */
export async function probeHandle(
  engine: EngineQuestions,
  options: HandleProbeOptions,
  findings: FindingList,
): Promise<HandleFacts | undefined> {
  const { modelId, connector, random, timeoutMs } = options;
  const about: FindingSubject = { side: engine.side, engines: [engine.url] };
  const body = probeBody(modelId, random);
  const requestId = `doctor-${random.id()}`;
  const edits = connector.preparePrefillRequest(connectorRequest(body, requestId), undefined);
  const headers = Object.entries({ "x-request-id": edits.requestId ?? requestId, ...edits.headers }).flat();
  const answer = await engine.post("/v1/completions", editedBody(body, edits), headers, timeoutMs);
  if ("failure" in answer) {
    findings.problem(
      "prefill-request",
      about,
      `A prefill failed: ${answer.failure.seen}`,
      answer.failure.advice,
    );
    return undefined;
  }
  if (answer.status !== 200) {
    findings.problem(
      "prefill-request",
      about,
      `A prefill of a short prompt was answered ${answer.status}: ${shortText(answer.text)}`,
      "Read the engine's log; the same request by hand is a POST to /v1/completions with max_tokens 1.",
    );
    return undefined;
  }
  const handle = readHandle(answer.text);
  if (handle === undefined) {
    findings.problem(
      "connector",
      about,
      `Prefilled, but answered without kv_transfer_params: ${connector.name} is not active.`,
      `Start it with --kv-transfer-config '{"kv_connector":"${connector.name}","kv_role":"kv_both"}'.`,
    );
    return undefined;
  }
  const wrong = connector.checkHandle?.(RawJson.fromText(JSON.stringify(handle)));
  if (wrong !== undefined) {
    findings.problem(
      "handle",
      about,
      `Answers a prefill with a handle that decode can't use: ${wrong}.`,
      `Check kv_transfer_config: the engine must run ${connector.name} as kv_both or kv_producer, in a version that fits.`,
    );
    return undefined;
  }
  findings.ok(
    "connector",
    about,
    `Hands over KV through ${connector.name} (${Math.round(answer.tookMs)} ms).`,
  );
  return factsOf(engine, handle);
}

function readHandle(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    return asJsonObject(asJsonObject(parseEngineJson(text))?.["kv_transfer_params"]);
  } catch {
    return undefined;
  }
}

function factsOf(engine: EngineQuestions, handle: Readonly<Record<string, unknown>>): HandleFacts {
  const {
    remote_engine_id: engineId,
    remote_host: host,
    remote_port: nixlPort,
    remote_handshake_port: moriioPort,
  } = handle;
  const port = nixlPort ?? moriioPort;
  return {
    engine,
    engineId: typeof engineId === "string" ? engineId.replace(/_dp\d+$/, "") : undefined,
    host: typeof host === "string" ? host : undefined,
    port: typeof port === "number" ? port : undefined,
  };
}
