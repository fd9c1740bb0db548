import { afterEach, describe, expect, it } from "vitest";
import { encodeText, mockAnswer, type MockVLLMEngineOptions } from "../src/testing/index.ts";
import { post } from "./support/client.ts";
import { model, type PDCluster, type PDClusterOptions, startPDCluster } from "./support/pd-cluster.ts";

let cluster: PDCluster | undefined;
let warnings: string[] = [];

afterEach(async () => {
  await cluster?.stop();
  cluster = undefined;
  warnings = [];
});

async function start(options: PDClusterOptions = {}): Promise<PDCluster> {
  cluster = await startPDCluster({
    prefills: 1,
    decodes: 1,
    config: { experimentalConfigs: { pd_tokenize_once: true } },
    environment: { warn: (message) => warnings.push(message) },
    ...options,
  });
  return cluster;
}

const chat = (extra: Readonly<Record<string, unknown>> = {}) => ({
  model,
  messages: [{ role: "user", content: "hello there" }],
  max_tokens: 6,
  ...extra,
});
const completion = { model, prompt: "once upon a time", max_tokens: 6 };

interface EngineBody {
  readonly prompt?: unknown;
  readonly return_token_ids?: boolean;
  readonly kv_transfer_params?: { readonly prompt_token_ids?: readonly number[] };
}

function bodies(engines: PDCluster["engines"]): readonly EngineBody[] {
  return engines.flatMap(({ requests }) =>
    requests
      .filter(({ path, method }) => method === "POST" && path.startsWith("/v1/"))
      .map(({ bodyText }) => JSON.parse(bodyText) as EngineBody),
  );
}

function expectBalanced({ engines }: PDCluster): void {
  for (const { ledger } of engines) ledger.assertBalanced();
}

const textOf = (text: string): string => JSON.parse(text).choices[0].message.content as string;

describe("tokenising once", () => {
  it("hands a chat's token ids to decode in the handle, and the messages stay", async () => {
    const { url, prefills, decodes } = await start({ engine: { bigIntHandles: true } });
    const answer = await post(`${url}/v1/chat/completions`, chat({ return_token_ids: true, stop: ["zzz"] }));

    expect(answer.status).toBe(200);
    expect(textOf(answer.text)).toBe(mockAnswer(chat(), 6));
    expect(bodies(prefills)[0]!.return_token_ids).toBe(true);
    const ids = bodies(decodes)[0]!.kv_transfer_params!.prompt_token_ids!;
    expect(JSON.parse(answer.text).prompt_token_ids).toEqual(ids);
    expect(decodes[0]!.requests.at(-1)!.bodyText).toContain('"messages":[');
    expectBalanced(cluster!);
  });

  it("replaces a completion's prompt by its token ids", async () => {
    const { url, decodes } = await start();
    const answer = await post(`${url}/v1/completions`, completion);

    expect(JSON.parse(answer.text).choices[0].text).toBe(mockAnswer(completion, 6));
    expect(bodies(decodes)[0]!.prompt).toEqual(encodeText(completion.prompt));
    expectBalanced(cluster!);
  });

  it("is off unless configured", async () => {
    const { url, prefills } = await start({ config: {} });
    await post(`${url}/v1/chat/completions`, chat());
    expect(bodies(prefills)[0]).not.toHaveProperty("return_token_ids");
  });

  it.each([
    ["an image", [{ type: "image_url", image_url: { url: "data:image/png;base64,AA" } }]],
    ["an image without a type", [{ image_url: "data:image/png;base64,AA" }]],
  ])("leaves a chat with %s alone", async (_name, content) => {
    const { url, prefills } = await start();
    await post(`${url}/v1/chat/completions`, chat({ messages: [{ role: "user", content }] }));
    expect(bodies(prefills)[0]).not.toHaveProperty("return_token_ids");
  });

  it("leaves a chat alone whose decode engine is too old to read ids", async () => {
    const { url, prefills, app } = await start({ engine: { version: "0.19.2" } });
    await app.start();
    await expect.poll(() => versions(app)).toEqual(["0.19.2", "0.19.2"]);
    await post(`${url}/v1/chat/completions`, chat());
    await post(`${url}/v1/completions`, completion);
    expect(bodies(prefills).map((body) => body.return_token_ids)).toEqual([undefined, true]);
  });

  it.each<[string, MockVLLMEngineOptions["tokenIds"], MockVLLMEngineOptions["tokenIds"], RegExp]>([
    ["prefill returns no ids", "ignored", "reused", /does not return token ids/],
    ["prefill refuses the question", "refused", "reused", /refuses return_token_ids/],
    ["decode refuses ids", "reused", "refused", /refuses (chat|completions) requests with token ids/],
    ["decode ignores ids", "reused", "ignored", /^$/],
  ])("goes on without when %s, and asks no more", async (_name, prefill, decode, warning) => {
    const { url, prefills } = await start({
      engine: { tokenIds: prefill },
      decodeEngine: { tokenIds: decode },
    });
    for (const [path, body] of [
      ["/v1/chat/completions", chat()],
      ["/v1/completions", completion],
    ] as const) {
      for (let round = 0; round < 2; round += 1) {
        const answer = await post(url + path, body);
        const { message, text } = JSON.parse(answer.text).choices[0];
        expect(message?.content ?? text).toBe(mockAnswer(body, 6));
      }
    }
    expectBalanced(cluster!);
    const told = warnings.filter((message) => message.includes("pd_tokenize_once"));
    if (decode === "ignored") expect(told).toEqual([]);
    else for (const message of told) expect(message).toMatch(warning);
    if (decode !== "ignored") expect(told.length).toBeGreaterThan(0);
    if (decode !== "ignored") expect(bodies(prefills).at(-1)).not.toHaveProperty("return_token_ids");
  });

  it("does not take a client's mistake for a refusal of ids", async () => {
    const { url, decodes } = await start();
    // Prefill leaves min_tokens out, so that decode is the one who refuses.
    const wrong = await post(`${url}/v1/chat/completions`, chat({ min_tokens: 99 }));
    expect(wrong.status).toBe(400);
    await post(`${url}/v1/chat/completions`, chat());
    expect(bodies(decodes).at(-1)!.kv_transfer_params).toHaveProperty("prompt_token_ids");
    expect(warnings.filter((message) => message.includes("pd_tokenize_once"))).toEqual([]);
    expectBalanced(cluster!);
  });
});

function versions(app: PDCluster["app"]): readonly unknown[] {
  return Object.values(app.status().deployments).flatMap(({ replicas }) =>
    (replicas ?? []).map((replica) => (replica as { readonly version?: string }).version),
  );
}
