/**
 * The text of a request that prefix affinity compares: the messages' texts one after the other, or the prompt.
 * Images, tool definitions and token ids count for nothing. Mirrors Ray's
 * `PrefixCacheAffinityRouter._extract_text_from_request`.
 *
 * @param body a chat or completion request
 * @returns undefined when there is no text at all (where Ray fails with a ZeroDivisionError)
 */
export function promptText(body: {
  readonly messages?: unknown;
  readonly prompt?: unknown;
}): string | undefined {
  const text = flatten(body.messages ?? body.prompt);
  return text === "" ? undefined : text;
}

function flatten(value: unknown): string {
  if (typeof value === "string") return value;
  // Added, not joined: the engine then copies a long text once, when it is first looked into.
  if (Array.isArray(value)) return value.reduce((text: string, part) => text + flatten(part), "");
  if (typeof value !== "object" || value === null) return "";
  if ("content" in value) return flatten(value.content);
  return "text" in value && typeof value.text === "string" ? value.text : "";
}
