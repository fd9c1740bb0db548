import { keysOfMedia } from "./media-policy.ts";
import { RequestError } from "../errors/request-error.ts";
import { KeyWatch } from "../protocol/json-key-watch.ts";
import { type JsonObjectIndex, JsonObjectScan, scanJsonObject } from "../protocol/json-object-index.ts";
import { JsonScanError } from "../protocol/json-scan-error.ts";
import type { JsonScanOptions } from "../protocol/json-scanner.ts";
import type { JsonRules } from "./body-rules.ts";
import { refusedFields, refuseInternalFields } from "./client-field-policy.ts";
import { checkFields } from "./field-rules.ts";
import { Utf8Check } from "./utf8-check.ts";

/** What the ingress knows of any JSON body. */
export interface JsonBody {
  readonly body: JsonObjectIndex;
  /** Undefined when the client named none. */
  readonly model: string | undefined;
  readonly stream: boolean;
  /** vLLM's `priority`. */
  readonly priority: number;
}

/**
 * Reads a body as far as serving it needs, and refuses what no engine should see.
 *
 * @param scan that has seen the body arrive
 * @throws RequestError 400 naming every field at fault, what was expected and what kind of thing came
 */
export function parseJsonBody(bytes: Uint8Array, rules: JsonRules, scan = new JsonBodyScan()): JsonBody {
  const body = scan.finish(bytes);
  refuseInternalFields(body);
  checkFields(body, rules.fields, rules.required);
  const model = body.value("model");
  const priority = body.value("priority");
  return {
    body,
    model: typeof model === "string" ? model : undefined,
    stream: body.value("stream") === true,
    priority: typeof priority === "number" ? priority : 0,
  };
}

/** The fields of a body that must be a JSON object. @throws RequestError 400 */
export function scanJson(received: Uint8Array): JsonObjectIndex {
  return new JsonBodyScan().finish(received);
}

/** Checks the text of a body while it arrives. */
export class JsonBodyScan {
  readonly #utf8 = new Utf8Check();
  #scan: JsonObjectScan | undefined;

  /** @param bytes what has arrived so far, from the start */
  advance(bytes: Uint8Array): void {
    // Too short to tell whether it starts with a mark.
    if (bytes.byteLength < 3) return;
    const text = withoutByteOrderMark(bytes);
    this.#utf8.advance(text);
    (this.#scan ??= new JsonObjectScan(scanOptions)).advance(text);
  }

  /** @param bytes the whole body @throws RequestError 400 when it is no JSON object in UTF-8 */
  finish(bytes: Uint8Array): JsonObjectIndex {
    const text = withoutByteOrderMark(bytes);
    if (text.byteLength === 0) throw invalidJson("the body is empty, expected a JSON object");
    if (!this.#utf8.finish(text)) throw invalidJson("the body is not UTF-8");
    try {
      return this.#scan === undefined ? scanJsonObject(text, scanOptions) : this.#scan.finish(text);
    } catch (error) {
      if (error instanceof JsonScanError)
        throw invalidJson(`the body is not a JSON object (${error.message})`);
      throw error;
    }
  }
}

const scanOptions: JsonScanOptions = {
  watch: new KeyWatch({ forbidden: refusedFields, noted: keysOfMedia }),
};

/** Python's reader skips it, and so do the engines. */
function withoutByteOrderMark(bytes: Uint8Array): Uint8Array {
  return bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? bytes.subarray(3) : bytes;
}

function invalidJson(reason: string): RequestError {
  return new RequestError(`Invalid request format: ${reason}.`, { code: "invalid_json" });
}
