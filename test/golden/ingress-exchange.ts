import { LLMConfig } from "../../src/config/llm-config.ts";
import { makeIngress } from "../../src/ingress/make-ingress.ts";
import { OpenAiIngress } from "../../src/ingress/openai-ingress.ts";
import { loraAdaptersIn, type RemoteFolder } from "../../src/llm/lora-listing.ts";
import { deployment } from "../../src/serve/deployment.ts";
import { same } from "./compare.ts";
import { type ScriptItem, ScriptedServer } from "./scripted-server.ts";

/** A recorded request. */
export interface RecordedRequest {
  readonly method: string;
  readonly path: string;
  readonly json?: unknown;
  readonly raw?: string;
  readonly multipart?: readonly (readonly [string, string])[];
  readonly headers?: Readonly<Record<string, string | null>>;
}

interface Model {
  readonly model_id: string;
  readonly max_model_len?: number;
  readonly lora_path?: string;
}

/** Input of a case, with the request that stands for it when none is recorded. */
export interface IngressInput {
  readonly request: RecordedRequest;
  readonly script: readonly ScriptItem[];
  readonly models?: readonly Model[];
  readonly cloud?: Readonly<Record<string, string>>;
  readonly router_timeout_s?: number;
}

/** What Ray answered. */
export interface RecordedAnswer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly json?: unknown;
  readonly body?: string;
  readonly body_chunks?: readonly string[];
  readonly media_type?: string;
  readonly message_contains?: readonly string[];
  readonly calls?: readonly RecordedCall[];
}

interface RecordedCall {
  readonly handle: string;
  readonly options: readonly { readonly multiplexed_model_id?: string; readonly session_id?: string }[];
}

/** What this library answered. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The connection was cut before the end of the body. */
  readonly broken: boolean;
  /** The deployments behind the ingress, with what reached them. */
  readonly servers: readonly ScriptedServer[];
  readonly input: IngressInput;
  readonly recorded: RecordedAnswer;
}

const ingressClass = makeIngress(OpenAiIngress);

/** Sends the request of a case to the real ingress. */
export async function ask(input: IngressInput, recorded: RecordedAnswer): Promise<Answer> {
  const servers = (input.models ?? [{ model_id: "m0" }]).map(
    (model) => new ScriptedServer(configOf(model), input.script, input.router_timeout_s ?? 600),
  );
  const listLoraAdapters = loraAdaptersIn(bucket(input.cloud ?? {}), () => undefined);
  const app = deployment(ingressClass).bind({ llmDeployments: servers, listLoraAdapters });
  try {
    const response = await app.fetch(toRequest(input.request));
    const { text, broken } = await readText(response);
    return { status: response.status, headers: response.headers, text, broken, servers, input, recorded };
  } finally {
    await app.shutdown();
  }
}

/** The OpenAI error object of an answer. */
export function errorOf(text: string): Readonly<Record<"message" | "type" | "param" | "code", unknown>> {
  const body = JSON.parse(text) as { readonly error?: Readonly<Record<string, unknown>> };
  same(Object.keys(body), ["error"], "error body");
  same(Object.keys(body.error!).toSorted(), ["code", "message", "param", "type"], "error object");
  if (typeof body.error!["message"] !== "string") throw new Error("the error has no message");
  return body.error as Readonly<Record<"message" | "type" | "param" | "code", unknown>>;
}

/** Every one of Ray's words is in the message. */
export function checkWords({ text }: Answer, words: readonly string[]): void {
  const message = String(errorOf(text).message);
  for (const each of words) if (!message.includes(each)) throw new Error(`expected "${each}" in: ${message}`);
}

/** Without what only one side writes: nulls, and the fields our model cards have beyond Ray's. */
export function comparable(value: unknown, answer: Answer): unknown {
  const isCards = answer.input.request.path.startsWith("/v1/models");
  const strip = (each: unknown): unknown => {
    if (Array.isArray(each)) return each.map(strip);
    if (typeof each !== "object" || each === null) return each;
    const entries = Object.entries(each).filter(
      ([key, inner]) => inner !== null && !(isCards && ["created", "max_model_len", "parent"].includes(key)),
    );
    return Object.fromEntries(entries.map(([key, inner]) => [key, strip(inner)]));
  };
  return strip(value);
}

/** Events one by one: JSON by value, everything else to the letter. */
export function sameEvents(actual: string, expected: string): void {
  same(eventsOf(actual), eventsOf(expected), "events");
}

function eventsOf(text: string): readonly unknown[] {
  const events = text.split(/(?<=\n\n)/);
  return events.map((event) =>
    event.startsWith("data: {") ? withoutNulls(JSON.parse(event.slice(6))) : event,
  );
}

function withoutNulls(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value), (_key, inner: unknown) => (inner === null ? undefined : inner));
}

function configOf({ model_id: modelId, max_model_len: length, lora_path: path }: Model): LLMConfig {
  return new LLMConfig({
    modelLoadingConfig: { modelId },
    ...(length === undefined ? {} : { engineKwargs: { max_model_len: length } }),
    ...(path === undefined ? {} : { loraConfig: { dynamicLoraLoadingPath: path } }),
  });
}

function bucket(files: Readonly<Record<string, string>>): RemoteFolder {
  return {
    subfolders: async (path) => {
      const below = Object.keys(files).filter((file) => file.startsWith(`${path}/`));
      const names = below
        .map((file) => file.slice(path.length + 1).split("/"))
        .filter((parts) => parts.length > 1);
      return [...new Set(names.map((parts) => parts[0]!))];
    },
    readText: async (path) => files[path],
  };
}

function toRequest({ method, path, json, raw, multipart, headers = {} }: RecordedRequest): Request {
  const sent = new Headers();
  const init: RequestInit = { method, headers: sent };
  if (json !== undefined || raw !== undefined) init.body = Buffer.from(raw ?? JSON.stringify(json));
  if (json !== undefined) sent.set("content-type", "application/json");
  if (multipart !== undefined) init.body = formOf(multipart);
  for (const [name, value] of Object.entries({ "x-request-id": "RID", ...headers })) {
    if (value !== null) sent.set(name, value);
  }
  return new Request(`http://h${path}`, init);
}

function formOf(fields: readonly (readonly [string, string])[]): FormData {
  const form = new FormData();
  for (const [name, value] of fields) {
    form.append(name, name === "file" ? new File([value], "audio.wav", { type: "audio/wav" }) : value);
  }
  return form;
}

async function readText(response: Response): Promise<{ readonly text: string; readonly broken: boolean }> {
  let text = "";
  if (response.body === null) return { text, broken: false };
  const decoder = new TextDecoder();
  try {
    for await (const chunk of response.body) text += decoder.decode(chunk, { stream: true });
    return { text, broken: false };
  } catch {
    return { text, broken: true };
  }
}
