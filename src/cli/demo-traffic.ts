import { mockAnswer } from "../testing/mock-answer.ts";
import { CliError, reasonOf } from "./cli-error.ts";

/**
 * Sends chat requests to a served application, every other one streaming, and checks each answer.
 *
 * @param url base URL
 * @param count how many, all at the same time
 * @throws CliError naming the first answer that is not right
 */
export async function demoTraffic(url: string, model: string, count: number): Promise<void> {
  await Promise.all(
    Array.from({ length: count }, async (_, index) => {
      const messages = [{ role: "user", content: `Request number ${index + 1} of the demo` }];
      const answer = await chat(url, { model, messages, stream: index % 2 === 1 });
      const expected = mockAnswer({ messages });
      if (answer !== expected) {
        throw new CliError(`Request ${index + 1} was answered "${answer}", expected "${expected}".`);
      }
    }),
  );
}

/**
 * Sends chat requests at a steady rate until it is stopped: prompts and answers of different lengths, most of them
 * streaming, some that can only be served by decode alone.
 *
 * @param perSecond how many, on average
 * @param onFailure gets the reason of each that fails
 * @returns stops it; resolves when the last answer is there
 */
export function steadyTraffic(
  url: string,
  model: string,
  perSecond: number,
  onFailure: (reason: string) => void,
): () => Promise<void> {
  const running = new Set<Promise<unknown>>();
  let index = 0;
  const send = (): void => {
    index += 1;
    const content = "Tell me more. ".repeat(1 + ((index * 37) % 40));
    const body = {
      model,
      messages: [{ role: "user", content: `${index}: ${content}` }],
      max_tokens: 10 + ((index * 53) % 90),
      stream: index % 5 !== 0,
      ...(index % 17 === 0 ? { n: 2 } : {}),
    };
    const answered: Promise<unknown> = chat(url, body)
      .catch((error: unknown) => onFailure(reasonOf(error)))
      .finally(() => running.delete(answered));
    running.add(answered);
  };
  const timer = setInterval(send, 1000 / perSecond);
  return async () => {
    clearInterval(timer);
    await Promise.all(running);
  };
}

async function chat(
  url: string,
  body: { readonly stream: boolean } & Record<string, unknown>,
): Promise<string> {
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  }).catch((error: unknown) => {
    throw new CliError(`The demo's own request failed: ${reasonOf(error)}`, { cause: error });
  });
  const text = await response.text();
  if (response.status !== 200)
    throw new CliError(`The demo's own request was answered ${response.status}: ${text}`);
  if (!body.stream) {
    const complete = JSON.parse(text) as { choices: { message: { content: string } }[] };
    return complete.choices[0]?.message.content ?? "";
  }
  const events = text.split("\n\n").flatMap((event) => (event.startsWith("data: ") ? [event.slice(6)] : []));
  if (events.at(-1) !== "[DONE]")
    throw new CliError(`A stream of the demo did not end with [DONE]: ${events.at(-1)}`);
  return events
    .slice(0, -1)
    .map(
      (event) =>
        (JSON.parse(event) as { choices: { delta: { content?: string } }[] }).choices[0]?.delta.content ?? "",
    )
    .join("");
}
