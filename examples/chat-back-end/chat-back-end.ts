import { type Application, type ChatMessage, type OpenAiIngress, ServeLLMError } from "serve-llm";

/** A back end to be tested: keeps a conversation, and says sorry when the model can't be had. */
export class ChatBackEnd {
  readonly #app: Application<OpenAiIngress>;
  readonly #messages: ChatMessage[] = [];

  constructor(app: Application<OpenAiIngress>) {
    this.#app = app;
  }

  async say(content: string): Promise<string> {
    this.#messages.push({ role: "user", content });
    try {
      const answer = await this.#app.handle.chat({ model: "llama-8b", messages: this.#messages });
      const reply = answer.choices[0]?.message.content ?? "";
      this.#messages.push({ role: "assistant", content: reply });
      return reply;
    } catch (error) {
      this.#messages.pop();
      return ServeLLMError.isInstance(error) ? `Sorry (${error.code}).` : "Sorry.";
    }
  }
}
