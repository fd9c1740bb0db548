import { same } from "../compare.ts";
import { deviationFor } from "../deviations.ts";
import type { GoldenCase } from "../golden-case.ts";
import {
  type Answer,
  ask,
  checkWords,
  comparable,
  errorOf,
  type IngressInput,
  type RecordedAnswer,
  sameEvents,
} from "../ingress-exchange.ts";
import type { ScriptItem } from "../scripted-server.ts";
import { deviations } from "./ingress-deviations.ts";

/** Checks one case of `ingress-http.jsonl`, through `app.fetch`. */
export async function check(kase: GoldenCase): Promise<void> {
  const recorded = kase.expect as RecordedAnswer;
  const answer = await ask(inputOf(kase.input), recorded);
  checkEveryAnswer(answer);
  const deviation = deviationFor(deviations, kase);
  if (deviation !== undefined) {
    await deviation.expect(answer, kase);
    return;
  }
  same(answer.status, recorded.status, "status");
  const contentType = recorded.headers?.["content-type"] ?? recorded.media_type;
  if (contentType !== undefined) sameContentType(answer.headers.get("content-type"), contentType);
  checkCalls(answer);
  if (recorded.status >= 400) checkWords(answer, recorded.message_contains ?? []);
  else if ("json" in recorded)
    same(comparable(JSON.parse(answer.text), answer), comparable(recorded.json, answer));
  else sameEvents(answer.text, recorded.body ?? recorded.body_chunks?.join("") ?? "");
}

/** What holds for every answer, deviation or not. */
function checkEveryAnswer({ status, headers, text, input }: Answer): void {
  for (const name of headers.keys()) {
    // Off by default: the server this library is mounted in may have a policy of its own.
    if (name.startsWith("access-control-")) throw new Error(`no CORS was asked for, but ${name} was sent`);
  }
  const requestId = input.request.headers?.["x-request-id"] === undefined ? "RID" : undefined;
  if (requestId !== undefined) same(headers.get("x-request-id"), requestId, "x-request-id");
  if (status >= 400 && input.request.method !== "HEAD") errorOf(text);
}

function checkCalls({ servers, recorded }: Answer): void {
  if (recorded.calls === undefined) return;
  const actual = servers.flatMap(({ llmConfig, calls }) =>
    calls.map(({ modelId, sessionId }) => ({
      handle: llmConfig.modelId,
      modelId,
      sessionId: sessionId ?? null,
    })),
  );
  const expected = recorded.calls.map(({ handle, options }) => ({
    handle,
    modelId: options.find((each) => each.multiplexed_model_id !== undefined)?.multiplexed_model_id ?? handle,
    sessionId: options.find((each) => each.session_id !== undefined)?.session_id ?? null,
  }));
  same(actual, expected, "calls");
}

function sameContentType(actual: string | null, expected: string): void {
  const type = (text: string): string => text.split(";", 1)[0]!.trim();
  same(type(actual ?? ""), type(expected), "content-type");
}

function inputOf(input: unknown): IngressInput {
  if (!(typeof input === "object" && input !== null && "pd_http_response" in input))
    return input as IngressInput;
  const script = input.pd_http_response as readonly ScriptItem[];
  const json = {
    model: "m0",
    messages: [{ role: "user", content: "hi" }],
    stream: script.some((each) => "str" in each),
  };
  return { request: { method: "POST", path: "/v1/chat/completions", json }, script };
}
