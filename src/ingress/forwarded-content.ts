import type { FormRules, JsonRules } from "./body-rules.ts";
import { parseFormBody } from "./form-body.ts";
import { type JsonBodyScan, parseJsonBody } from "./json-body.ts";
import type { MediaPolicy } from "./media-policy.ts";

/** What the ingress knows of a body that goes to an engine as it came. */
export interface ForwardedContent {
  /** Undefined when the client named none. */
  readonly model: string | undefined;
  readonly stream: boolean;
  readonly priority: number;
  /** Undefined without a body. */
  readonly contentType: string | undefined;
  readonly bytes: Uint8Array | undefined;
}

/** Of a request without a body. */
export const noContent: ForwardedContent = {
  model: undefined,
  stream: false,
  priority: 0,
  contentType: undefined,
  bytes: undefined,
};

/**
 * Reads a body as far as serving it needs.
 *
 * @param contentType of a form, with its boundary
 * @param scan that has seen a JSON body arrive
 * @param media says which URLs it may have; all when left out
 * @throws RequestError 400 naming every field at fault, or a URL that is not allowed
 */
export async function readForwardedContent(
  bytes: Uint8Array,
  contentType: string,
  rules: JsonRules | FormRules,
  scan?: JsonBodyScan,
  media?: MediaPolicy,
): Promise<ForwardedContent> {
  if (rules.kind === "form") {
    return { ...(await parseFormBody(bytes, contentType, rules)), priority: 0, contentType, bytes };
  }
  const { body, model, stream, priority } = parseJsonBody(bytes, rules, scan);
  media?.check(body);
  return { model, stream, priority, contentType: "application/json", bytes: body.bytes };
}

/** An object of the caller's as a body of this kind. */
export async function encodeBody(
  body: object,
  kind: "json" | "form",
): Promise<{ readonly bytes: Uint8Array; readonly contentType: string }> {
  if (kind === "json") return { bytes: Buffer.from(JSON.stringify(body)), contentType: "application/json" };
  // Writes the boundaries and the type that names them.
  const encoded = new Response(formOf(body));
  return {
    bytes: new Uint8Array(await encoded.arrayBuffer()),
    contentType: encoded.headers.get("content-type") ?? "",
  };
}

function formOf(body: object): FormData {
  const form = new FormData();
  for (const [name, value] of Object.entries(body) as readonly (readonly [string, unknown])[]) {
    for (const item of Array.isArray(value) ? (value as readonly unknown[]) : [value]) {
      if (item === undefined || item === null) continue;
      if (item instanceof Blob) form.append(name, item);
      else form.append(name, typeof item === "string" ? item : JSON.stringify(item));
    }
  }
  return form;
}
