import { walkJsonElements, walkJsonMembers } from "../protocol/json-elements.ts";
import type { RawJson } from "../protocol/raw-json.ts";

const decoder = new TextDecoder();

/** True when messages have no images, sounds or other parts beside text. */
export function isTextOnly(messages: RawJson | undefined): boolean {
  let textOnly = messages !== undefined;
  walkJsonElements(messages?.bytes ?? new Uint8Array(), ({ bytes: message }) => {
    walkJsonMembers(message, (key, content) => {
      if (key !== "content" || content.kind !== "array") return;
      walkJsonElements(content.bytes, (part) => {
        textOnly &&= part.kind === "string" || isTextPart(part.bytes);
      });
    });
    return textOnly;
  });
  return textOnly;
}

/** vLLM takes some parts without a type, among them images. */
function isTextPart(part: Uint8Array): boolean {
  let types = 0;
  let others = 0;
  walkJsonMembers(part, (name, { bytes }) => {
    if (name !== "type") return;
    types += 1;
    if (decoder.decode(bytes) !== '"text"') others += 1;
  });
  return types > 0 && others === 0;
}
