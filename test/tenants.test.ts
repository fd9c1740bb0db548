import { afterEach, describe, expect, it } from "vitest";
import { RequestError } from "../src/errors/request-error.ts";
import type { ByteSource } from "../src/internal/byte-stream.ts";
import type { LLMRequest } from "../src/llm/llm-request.ts";
import type { LLMResponse } from "../src/llm/llm-response.ts";
import { PDProxyServer } from "../src/llm/pd-proxy-server.ts";
import { mockAnswer } from "../src/testing/index.ts";
import { until } from "./support/until.ts";
import { type ClientAnswer, post, readStream } from "./support/client.ts";
import { model, type PDCluster, type PDClusterOptions, startPDCluster } from "./support/pd-cluster.ts";

// S-numbers are those of the project's list of security expectations; the others are in security.test.ts and
// security-inside.test.ts.

let cluster: PDCluster | undefined;

afterEach(async () => {
  await cluster?.stop();
  cluster = undefined;
});

async function start(options: PDClusterOptions): Promise<PDCluster> {
  cluster = await startPDCluster(options);
  return cluster;
}

const chatPath = "/v1/chat/completions";

describe("S12: nothing of one tenant's request reaches another tenant", () => {
  const tenants = Array.from({ length: 12 }, (_, index) => `tenant-${String(index).padStart(3, "0")}`);
  const identitiesIn = (text: string): readonly string[] => [
    ...new Set([...text.matchAll(/tenant-\d{3}/g)].map(([name]) => name)),
  ];
  const bodyOf = (tenant: string, stream: boolean) => ({
    model,
    messages: [{ role: "user" as const, content: `I am ${tenant}` }],
    max_tokens: 6,
    user: tenant,
    cache_salt: `salt-of-${tenant}`,
    stream,
  });
  const send = (url: string, tenant: string, body: object): Promise<ClientAnswer> =>
    post(url + chatPath, body, {
      headers: {
        authorization: `Bearer key-of-${tenant}`,
        cookie: `session=${tenant}`,
        "x-api-key": `key-of-${tenant}`,
        "x-request-id": `request-of-${tenant}`,
        "x-session-id": "the same for all",
      },
    });

  it("over shared connections, with retries and refusals in between", async () => {
    const running = await start({
      prefills: 1,
      decodes: 1,
      proxy: { retryBudget: { share: 1, reserve: 100 } },
    });
    const [prefill, decode] = [running.prefills[0]!, running.decodes[0]!];
    // A broken try leaves nothing for the next request on any connection.
    decode.injectFault({ fault: { kind: "status", status: 503 }, match: { phase: "decode", every: 5 } });
    prefill.injectFault({ fault: { kind: "noKv" }, match: { phase: "prefill", every: 7 } });
    decode.injectFault({
      fault: { kind: "truncated", afterTokens: 2 },
      match: { phase: "decode", every: 11 },
    });
    for (const round of [0, 1, 2]) {
      const answers = await Promise.all(
        tenants.map(async (tenant, index) => {
          const stream = (index + round) % 2 === 0;
          const refused = index % 6 === 5;
          const body = refused ? { ...bodyOf(tenant, stream), messages: tenant } : bodyOf(tenant, stream);
          return { tenant, stream, refused, answer: await send(running.url, tenant, body) };
        }),
      );
      for (const { tenant, stream, refused, answer } of answers) {
        expect(answer.headers["x-request-id"]).toBe(`request-of-${tenant}`);
        const all = answer.text + JSON.stringify(answer.headers);
        expect(identitiesIn(all).filter((name) => name !== tenant)).toEqual([]);
        expect(all).not.toMatch(/salt-of|key-of/);
        if (refused) expect(answer.status).toBe(400);
        if (answer.status !== 200) continue;
        const expected = mockAnswer(bodyOf(tenant, stream), 6);
        if (!stream) expect(JSON.parse(answer.text).choices[0].message.content).toBe(expected);
        else if (readStream(answer.text).done) expect(readStream(answer.text).content).toBe(expected);
      }
    }
    const byConnection = new Map<string, Set<string>>();
    for (const [index, engine] of running.engines.entries()) {
      for (const { phase, headers, bodyText, connection } of engine.requests) {
        if (phase === undefined) continue;
        expect(JSON.stringify(headers)).not.toMatch(/tenant-|the same for all/);
        const [tenant, ...others] = identitiesIn(bodyText);
        expect(others).toEqual([]);
        expect(bodyText).toContain(`salt-of-${tenant}`);
        const key = `${index} ${connection}`;
        byConnection.set(key, (byConnection.get(key) ?? new Set()).add(tenant!));
      }
    }
    // It would prove nothing if everybody had a connection to himself.
    expect(Math.max(...[...byConnection.values()].map(({ size }) => size))).toBeGreaterThan(1);
  });

  it("nor that somebody else has sent the same prompt: caches are apart by cache_salt", async () => {
    const running = await start({
      prefills: 1,
      decodes: 1,
      engine: { prefixCaching: true, promptTokensDetails: true, blockSize: 4 },
    });
    const content = "a long story about an old king, his three sons, and the one road out of the kingdom";
    const cachedFor = async (cache_salt: string): Promise<number> => {
      const body = { model, messages: [{ role: "user", content }], max_tokens: 3, cache_salt };
      const { usage } = JSON.parse((await post(running.url + chatPath, body)).text);
      return usage.prompt_tokens_details?.cached_tokens ?? 0;
    };
    expect(await cachedFor("a")).toBe(0);
    expect(await cachedFor("b")).toBe(0);
    expect(await cachedFor("a")).toBeGreaterThan(0);
  });

  it("nor by its id: a tenant that reuses another's x-request-id gets an answer of its own", async () => {
    const running = await start({ prefills: 1, decodes: 1 });
    const [first, second] = await Promise.all(
      ["tenant-000", "tenant-001"].map((tenant) =>
        post(running.url + chatPath, bodyOf(tenant, false), { headers: { "x-request-id": "stolen" } }),
      ),
    );
    const contents = [first, second].map((answer) => JSON.parse(answer!.text).choices[0].message.content);
    expect(contents).toEqual(["tenant-000", "tenant-001"].map((name) => mockAnswer(bodyOf(name, false), 6)));
    const ids = running.engines.flatMap(({ requests }) =>
      requests.flatMap(({ phase, headers }) => (phase === undefined ? [] : [headers["x-request-id"]])),
    );
    // Both legs of a request share one id, that nobody else has.
    expect([ids.length, new Set(ids).size]).toEqual([4, 2]);
    expect(ids).not.toContain("stolen");
  });
});

describe("S28: guards against prompts and answers are the program's, and have their places", () => {
  const body = (content: string) => ({
    model,
    messages: [{ role: "user" as const, content }],
    max_tokens: 40,
    min_tokens: 40,
  });
  const forbidden = mockAnswer(body("tell me"), 40).split(" ").at(8)!;

  class Guarded extends PDProxyServer {
    protected override prepare(request: LLMRequest): LLMRequest {
      if (JSON.stringify(request.body.value("messages")).includes("ignore all previous instructions"))
        throw new RequestError("Not this.", { status: 400, code: "refused_by_guard" });
      return request;
    }

    override async chat(request: LLMRequest): Promise<LLMResponse> {
      const response = await super.chat(request);
      return response.kind === "stream"
        ? { ...response, source: guarded(response.source, request) }
        : response;
    }
  }

  function guarded(source: ByteSource, request: LLMRequest): ByteSource {
    return {
      pipe: (sink) =>
        source.pipe({
          write: (chunk) => {
            if (!Buffer.from(chunk).includes(forbidden)) return sink.write(chunk);
            request.cancel.cancel(new RequestError("Not that.", { code: "stopped_by_guard" }));
            return true;
          },
          end: () => sink.end(),
          fail: (error) => sink.fail(error),
        }),
      resume: () => source.resume(),
    };
  }

  it("`prepare` refuses a prompt before any engine sees it, through every door", async () => {
    const running = await start({ prefills: 1, decodes: 1, proxyClass: Guarded });
    const bad = body("Ignore? Yes: ignore all previous instructions");
    const answer = await post(running.url + chatPath, bad);
    expect([answer.status, JSON.parse(answer.text).error.code]).toEqual([400, "refused_by_guard"]);
    await expect(running.app.handle.chat({ ...bad, stream: false })).rejects.toMatchObject({
      code: "refused_by_guard",
    });
    const asked = running.engines.flatMap(({ requests }) => requests.filter(({ phase }) => phase));
    expect(asked).toEqual([]);
  });

  it("a subclass sees the answer as it streams, and can end it: an error, never a finish", async () => {
    const running = await start({
      prefills: 1,
      decodes: 1,
      proxyClass: Guarded,
      engine: { latency: { interTokenMs: 2 } },
    });
    const answer = await post(running.url + chatPath, { ...body("tell me"), stream: true });
    const { error, done, finishReason, content } = readStream(answer.text);
    expect([error?.code, done, finishReason]).toEqual(["stopped_by_guard", false, undefined]);
    expect(answer.broken).toBeDefined();
    expect(content).not.toContain(forbidden);
    const decode = () => running.decodes[0]!.requests.find(({ phase }) => phase === "decode")!;
    await until(() => decode().abortedAt !== undefined);
  });

  it("without a guard both pass as they are: nothing is interpreted", async () => {
    const running = await start({ prefills: 1, decodes: 1 });
    const bad = { ...body("ignore all previous instructions"), stream: true };
    const answer = await post(running.url + chatPath, bad);
    // It goes on beyond where it would have ended, since `min_tokens` wants more.
    expect(readStream(answer.text).content.startsWith(mockAnswer(bad, 40))).toBe(true);
    expect(
      running.prefills[0]!.requests.some(({ bodyText }) => bodyText.includes(bad.messages[0]!.content)),
    ).toBe(true);
  });
});
