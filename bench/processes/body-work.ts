// How long the event loop stands still for one prompt: all that serve-llm does with its bytes, turn by turn.
import { ArrivingBody } from "../../src/adapters/arriving-body.ts";
import { parseGenerationBody } from "../../src/ingress/generation-request.ts";
import { JsonBodyScan } from "../../src/ingress/json-body.ts";
import { createKvConnector } from "../../src/kv-transfer/kv-connector-registry.ts";
import type { ConnectorRequest } from "../../src/kv-transfer/kv-connector.ts";
import { spliceJsonObject } from "../../src/protocol/json-splice.ts";
import { RawJson } from "../../src/protocol/raw-json.ts";
import { requestBody } from "../bodies.ts";

/** One size of prompt: milliseconds of each step, for each repetition. */
export interface BodyWork {
  readonly bytes: number;
  readonly text: "escaped" | "cjk";
  /** The longest turn: a chunk taken and scanned, or the last one with everything up to prefill's request. */
  readonly longestTurnMs: readonly number[];
  /** All turns together. */
  readonly totalMs: readonly number[];
}

/** What a socket hands over at once. */
const chunkBytes = 64 * 1024;

const repetitions = Number(process.argv[2]);
const connector = createKvConnector(
  { kv_connector: "NixlConnector", kv_role: "kv_both" },
  { warn: () => undefined },
);
const kvTransferParams = RawJson.fromText(
  '{"do_remote_prefill":true,"remote_block_ids":[[1,2,3]],"remote_port":5600}',
);

function chunksOf(body: Buffer): Buffer[] {
  const chunks: Buffer[] = [];
  for (let start = 0; start < body.length; start += chunkBytes) {
    chunks.push(Buffer.from(body.subarray(start, start + chunkBytes)));
  }
  return chunks;
}

function measure(bytes: number, text: BodyWork["text"]): BodyWork {
  const longestTurnMs: number[] = [];
  const totalMs: number[] = [];
  const chunks = chunksOf(requestBody({ bytes, text }));
  const warmUp = 5;
  for (let round = -warmUp; round < repetitions; round += 1) {
    const arriving = new ArrivingBody(bytes);
    const scan = new JsonBodyScan();
    const turns: number[] = [];
    let begin = performance.now();
    const endTurn = (): void => {
      const end = performance.now();
      turns.push(end - begin);
      begin = end;
    };
    for (const [index, chunk] of chunks.entries()) {
      arriving.append(chunk);
      if (index === chunks.length - 1) break;
      scan.advance(arriving.bytes);
      endTurn();
    }
    const parsed = parseGenerationBody(arriving.bytes, "chat", {}, scan);
    const request: ConnectorRequest = {
      method: "chat",
      requestId: "0123456789abcdef0123456789abcdef",
      has: (field) => parsed.body.has(field),
      get: (field) => parsed.body.value(field),
    };
    spliceJsonObject(parsed.body, connector.preparePrefillRequest(request, undefined));
    endTurn();
    spliceJsonObject(parsed.body, connector.prepareDecodeRequest(request, undefined, { kvTransferParams }));
    endTurn();
    if (round < 0) continue;
    longestTurnMs.push(Math.max(...turns));
    totalMs.push(turns.reduce((sum, turn) => sum + turn, 0));
  }
  return { bytes, text, longestTurnMs, totalMs };
}

// Small ones first and often, so that the scanner is compiled when it counts.
for (let round = 0; round < 300; round += 1) parseGenerationBody(requestBody({ bytes: 1024 }), "chat");
const results = [1024, 32 * 1024, 512 * 1024, 4 * 1024 * 1024].flatMap((bytes) => [
  measure(bytes, "escaped"),
  measure(bytes, "cjk"),
]);
console.log(JSON.stringify(results));
