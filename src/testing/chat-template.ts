/** Fields beside `messages` that change how a chat prompt is rendered, in the order they are rendered. */
const templateFields = [
  "tools",
  "tool_choice",
  "documents",
  "chat_template",
  "chat_template_kwargs",
  "mm_processor_kwargs",
  "media_io_kwargs",
  "reasoning_effort",
  "response_format",
  "structured_outputs",
] as const;

/** A chat request as far as its prompt goes; wire names. */
export type ChatPromptFields = Readonly<Record<string, unknown>>;

/**
 * The prompt of a chat request as text. Everything that may change what a real template renders changes it, so
 * that two requests have the same mock prompt only where they would have the same real one.
 */
export function renderChatPrompt(request: ChatPromptFields): string {
  let prompt = "";
  for (const field of templateFields) {
    const value = request[field];
    if (value !== undefined && value !== null) prompt += `<|${field}|>${JSON.stringify(value)}\n`;
  }
  const messages = request["messages"];
  if (Array.isArray(messages)) for (const message of messages) prompt += renderMessage(message);
  if (request["continue_final_message"] === true) return prompt.slice(0, -"<|end|>\n".length);
  return request["add_generation_prompt"] === false ? prompt : `${prompt}<|assistant|>`;
}

function renderMessage(message: unknown): string {
  if (typeof message !== "object" || message === null) return "";
  const fields = message as Readonly<Record<string, unknown>>;
  let text = `<|${String(fields["role"])}|>`;
  for (const [name, value] of Object.entries(fields)) {
    if (name === "role" || value === undefined || value === null) continue;
    if (name === "content") text += renderContent(value);
    else text += `<|${name === "reasoning_content" ? "reasoning" : name}|>${JSON.stringify(value)}`;
  }
  return `${text}<|end|>\n`;
}

function renderContent(content: unknown): string {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return JSON.stringify(content);
  return content
    .map((part: unknown) => {
      if (typeof part === "object" && part !== null && "text" in part && typeof part.text === "string") {
        return part.text;
      }
      return typeof part === "string" ? part : `<|part|>${JSON.stringify(part)}`;
    })
    .join("\n");
}
