import type { Random } from "../internal/random.ts";
import { RawJson } from "../protocol/raw-json.ts";
import type { ConnectorRequest, RequestEdits } from "../kv-transfer/kv-connector.ts";

/** Tokens the doctor asks for: enough to compare two answers by. */
const answerTokens = 16;
const sentence =
  "The harbour master writes down every ship that passes the lighthouse before noon, its flag and its cargo. ";
/** A few hundred tokens: more than one KV block whatever its size. */
const sentences = 12;

/** The completions request the doctor makes. */
export type ProbeBody = Readonly<Record<string, unknown>>;

/**
 * A completions request whose prompt no engine has seen, so that no cache can stand in for a transfer. Its answer has
 * always 16 tokens, and at temperature 0 two right engines give the same.
 */
export function probeBody(modelId: string, random: Random): ProbeBody {
  return {
    model: modelId,
    prompt: `Log ${random.id()}. ${sentence.repeat(sentences)}In the evening`,
    max_tokens: answerTokens,
    temperature: 0,
    ignore_eos: true,
    // Requests with different salts share no cached blocks.
    cache_salt: random.id(),
  };
}

/** The same request, which shares no cached block with the first: its engine must compute the prompt itself. */
export function withOtherSalt(body: ProbeBody, random: Random): ProbeBody {
  return { ...body, cache_salt: random.id() };
}

/** A probe as a connector sees it. */
export function connectorRequest(body: ProbeBody, requestId: string): ConnectorRequest {
  return {
    method: "completions",
    requestId,
    has: (field) => Object.hasOwn(body, field),
    get: (field) => body[field],
  };
}

/** The request of one leg, as JSON text. */
export function editedBody(body: ProbeBody, { set = {}, remove = [] }: RequestEdits): Uint8Array {
  const fields = { ...body, ...set };
  const members = Object.entries(fields).flatMap(([name, value]) =>
    remove.includes(name) && !Object.hasOwn(set, name)
      ? []
      : [
          `${JSON.stringify(name)}:${value instanceof RawJson ? value.toString() : JSON.stringify(value ?? null)}`,
        ],
  );
  return Buffer.from(`{${members.join(",")}}`);
}

/** What a person should read of an engine's answer to a refused request: one line, not long. */
export function shortText(text: string): string {
  const line = text.replaceAll(/\s+/g, " ").trim();
  return line.length > 200 ? `${line.slice(0, 197)}...` : line;
}
