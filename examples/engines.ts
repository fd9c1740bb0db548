import { MockVLLMEngine } from "serve-llm/testing";

/** Where the engines of an example are. */
export interface ExampleEngines {
  readonly prefill: readonly string[];
  readonly decode: readonly string[];
  /** Stops the mock engines; yours are left alone. */
  stop(): Promise<void>;
}

/**
 * Your engines when the variables PREFILL and DECODE name them (URLs separated by commas), else two mock ones that
 * serve `model`.
 *
 * @param ranks data-parallel ranks behind each mock one's URL
 */
export async function exampleEngines(
  model: string,
  ranks: { readonly prefill: number; readonly decode: number } = { prefill: 1, decode: 1 },
): Promise<ExampleEngines> {
  const { PREFILL, DECODE } = process.env;
  if (PREFILL !== undefined && DECODE !== undefined) {
    return { prefill: PREFILL.split(","), decode: DECODE.split(","), stop: () => Promise.resolve() };
  }
  const prefill = new MockVLLMEngine({ role: "prefill", model, dataParallelSize: ranks.prefill });
  const decode = new MockVLLMEngine({ role: "decode", model, dataParallelSize: ranks.decode });
  await Promise.all([prefill.start(), decode.start()]);
  return {
    prefill: [prefill.url],
    decode: [decode.url],
    async stop() {
      await Promise.all([prefill.stop(), decode.stop()]);
    },
  };
}

/** True when the example should make one request and end. */
export const once = process.argv.includes("--once");

/** Sends one chat request to a server and prints the answer. */
export async function askOnce(
  url: string,
  model: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<void> {
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify({ model, messages: [{ role: "user", content: "Say something." }] }),
  });
  if (!response.ok) throw new Error(`${response.status}: ${await response.text()}`);
  const body = (await response.json()) as { choices: { message: { content: string } }[] };
  console.log(`${url} answered: ${body.choices[0]?.message.content}`);
}
