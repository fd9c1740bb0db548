import type { JsonElement } from "../protocol/json-element.ts";

/** True when messages have no images, sounds or other parts beside text. */
export function isTextOnly(messages: JsonElement | undefined): boolean {
  let textOnly = messages !== undefined;
  messages?.eachElement((message) => {
    message.eachMember((key, content) => {
      if (key !== "content" || content.kind !== "array") return;
      content.eachElement((part) => {
        textOnly &&= part.kind === "string" || isTextPart(part);
      });
    });
    return textOnly;
  });
  return textOnly;
}

/** vLLM takes some parts without a type, among them images. */
function isTextPart(part: JsonElement): boolean {
  let types = 0;
  let others = 0;
  part.eachMember((name, member) => {
    if (name !== "type") return;
    types += 1;
    if (member.value() !== "text") others += 1;
  });
  return types > 0 && others === 0;
}
