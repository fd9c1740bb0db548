import { readServedModels } from "../replicas/served-model.ts";
import { CliError, reasonOf } from "./cli-error.ts";

const askMs = 5_000;

/** Engines of one side, for asking them what they serve. */
export interface AskedSide {
  /** The option that named them, for messages. */
  readonly option: "--prefill" | "--decode" | "--url";
  readonly urls: readonly string[];
}

interface Answer {
  readonly url: string;
  readonly ids: readonly string[];
}

/**
 * Finds the model that every engine serves, by asking each for `/v1/models`. Adapters (cards with a parent) do not
 * count.
 *
 * @param onUnreachable told about engines that did not answer, as long as one of their side did
 * @throws CliError when a side does not answer, or when the engines do not agree on exactly one model
 */
export async function servedModel(
  sides: readonly AskedSide[],
  apiKey: string | undefined,
  onUnreachable: (message: string) => void,
): Promise<string> {
  const asked = await Promise.all(sides.map((side) => askSide(side, apiKey, onUnreachable)));
  const answers = asked.flat();
  const [first, ...others] = answers;
  const common = (first?.ids ?? []).filter((id) => others.every((answer) => answer.ids.includes(id)));
  const [model] = common;
  if (model !== undefined && common.length === 1) return model;
  const seen = answers.map(
    ({ url, ids }) => `  ${url} serves ${ids.length === 0 ? "no model" : ids.join(", ")}`,
  );
  const problem =
    model === undefined
      ? answers.length === 1
        ? "No model is served:"
        : "Prefill and decode engines do not serve the same model:"
      : "The engines serve several models; say which with --model:";
  throw new CliError([problem, ...seen].join("\n"));
}

async function askSide(
  side: AskedSide,
  apiKey: string | undefined,
  onUnreachable: (message: string) => void,
): Promise<readonly Answer[]> {
  const results = await Promise.allSettled(side.urls.map((url) => ask(url, apiKey)));
  const answers = results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
  const problems = results.flatMap((result) =>
    result.status === "rejected" ? [(result.reason as CliError).message] : [],
  );
  if (answers.length === 0) {
    throw new CliError(
      [
        `No ${side.option} engine said which model it serves:`,
        ...problems.map((problem) => `  ${problem}`),
        "Check the URLs, or name the model with --model.",
      ].join("\n"),
    );
  }
  for (const problem of problems) onUnreachable(problem);
  return answers;
}

async function ask(url: string, apiKey: string | undefined): Promise<Answer> {
  const headers: Record<string, string> = apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` };
  const request = async (): Promise<{ readonly status: number; readonly text: string }> => {
    const response = await fetch(`${url}/v1/models`, { headers, signal: AbortSignal.timeout(askMs) });
    return { status: response.status, text: await response.text() };
  };
  const { status, text } = await request().catch((error: unknown) => {
    throw new CliError(`${url} can't be reached: ${reasonOf(error)}`, { cause: error });
  });
  if (status === 401)
    throw new CliError(`${url}/v1/models wants another API key; name it with --api-key-env`);
  if (status !== 200) throw new CliError(`${url}/v1/models answered ${status}`);
  const ids = readServedModels(text)?.flatMap(({ id, parent }) => (parent === undefined ? [id] : []));
  if (ids === undefined) throw new CliError(`${url}/v1/models did not answer with a list of models`);
  return { url, ids };
}
