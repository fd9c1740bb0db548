interface RecordedMessage {
  readonly role: string;
  readonly parts: readonly { readonly type: string; readonly content?: string }[];
}

/** Roles are a small set; a client may write a book into the field. */
const longestRole = 32;
const mostMessages = 256;

/**
 * The text of a prompt as `gen_ai.input.messages` of OpenTelemetry's GenAI conventions, JSON. Only text: of images,
 * audio and files only their kind is told. What comes last counts most, so a long prompt loses its beginning.
 *
 * @param bodyField reads a top-level field of the client's body
 * @param characters UTF-16 units of text at most, above 0
 * @returns undefined when there is no text in it, as in a prompt of token ids
 */
export function recordedPrompt(bodyField: (name: string) => unknown, characters: number): string | undefined {
  const chat = bodyField("messages");
  const sources = Array.isArray(chat) ? chat : promptsOf(bodyField("prompt"));
  let left = characters;
  const latest = (text: string): string => {
    const kept = left <= 0 ? "" : text.slice(-left);
    left -= kept.length;
    // The cut may go through a character of two units.
    return kept.length < text.length ? kept.replace(/^[\uDC00-\uDFFF]/, "") : kept;
  };
  const recorded: RecordedMessage[] = [];
  for (let index = sources.length - 1; index >= 0 && left > 0 && recorded.length < mostMessages; index -= 1) {
    const message = recordedMessage(sources[index], latest);
    if (message !== undefined) recorded.unshift(message);
  }
  return left === characters ? undefined : JSON.stringify(recorded);
}

/** The prompts of a completion, as messages. */
function promptsOf(prompt: unknown): readonly unknown[] {
  const prompts: readonly unknown[] = Array.isArray(prompt) ? prompt : [prompt];
  return prompts.flatMap((content) => (typeof content === "string" ? [{ role: "user", content }] : []));
}

function recordedMessage(message: unknown, latest: (text: string) => string): RecordedMessage | undefined {
  const { role, content } = fieldsOf(message) ?? {};
  const contents: readonly unknown[] = Array.isArray(content) ? content : [content];
  const parts: { readonly type: string; readonly content?: string }[] = [];
  for (let index = contents.length - 1; index >= 0 && parts.length < mostMessages; index -= 1) {
    const part = contents[index];
    const { type, text } = fieldsOf(part) ?? {};
    const words = typeof part === "string" ? part : text;
    if (typeof words === "string") {
      const kept = latest(words);
      if (kept !== "") parts.unshift({ type: "text", content: kept });
    } else if (typeof type === "string") parts.unshift({ type: type.slice(0, longestRole) });
  }
  if (parts.length === 0) return undefined;
  return { role: typeof role === "string" ? role.slice(0, longestRole) : "user", parts };
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
}
