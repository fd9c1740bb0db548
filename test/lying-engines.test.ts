import { createServer, type Server, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { buildOpenaiApp } from "../src/builders/build-openai-app.ts";
import type { OpenAiIngress } from "../src/ingress/openai-ingress.ts";
import { run, type RunningApplication } from "../src/serve/run.ts";
import { post, readStream } from "./support/client.ts";

/** An engine that answers every request with these very bytes, whatever they are. */
class RawEngine {
  readonly #sockets = new Set<Socket>();
  readonly #server: Server;
  /** Bytes of the answers, in turn; the last one again and again. */
  readonly answers: (string | Buffer)[];
  requests = 0;

  constructor(...answers: (string | Buffer)[]) {
    this.answers = answers;
    this.#server = createServer((socket) => {
      this.#sockets.add(socket);
      socket.on("error", () => undefined);
      socket.on("close", () => this.#sockets.delete(socket));
      let received = "";
      socket.on("data", (chunk) => {
        received += chunk.toString("latin1");
        for (;;) {
          const length = /content-length: (\d+)/i.exec(received);
          const head = received.indexOf("\r\n\r\n");
          if (head < 0) return;
          const size = head + 4 + Number(length?.[1] ?? 0);
          if (received.length < size) return;
          const isPost = received.startsWith("POST");
          received = received.slice(size);
          if (!isPost) {
            socket.write("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
            continue;
          }
          socket.write(this.answers[Math.min(this.requests, this.answers.length - 1)]!);
          this.requests += 1;
        }
      });
    });
  }

  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${(this.#server.address() as { port: number }).port}`;
  }

  stop(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}

let engine: RawEngine | undefined;
let server: RunningApplication<OpenAiIngress> | undefined;

afterEach(async () => {
  await server?.shutdown({ graceMs: 0 });
  engine?.stop();
  server = engine = undefined;
});

let nextName = 0;

async function start(...answers: (string | Buffer)[]): Promise<string> {
  engine = new RawEngine(...answers);
  const url = await engine.start();
  const app = buildOpenaiApp({ llmConfigs: [{ modelLoadingConfig: { modelId: "m" }, endpoints: [url] }] });
  app.withEnvironment({ warn: () => undefined });
  server = await run(app, { port: 0, name: `lying-${(nextName += 1)}` });
  return `${server.url}/v1/chat/completions`;
}

const chat = (extra: Readonly<Record<string, unknown>> = {}) => ({
  model: "m",
  messages: [{ role: "user", content: "hi" }],
  ...extra,
});

/** HTTP answers with a length, so that the connection may be used again. */
function http(body: string, contentType = "application/json", status = "200 OK", extra = ""): string {
  return `HTTP/1.1 ${status}\r\ncontent-type: ${contentType}\r\ncontent-length: ${Buffer.byteLength(body)}\r\n${extra}\r\n${body}`;
}

const event = (data: unknown): string =>
  `data: ${typeof data === "string" ? data : JSON.stringify(data)}\n\n`;
const delta = (content: string, more: Readonly<Record<string, unknown>> = {}) => ({
  choices: [{ index: 0, delta: { content }, finish_reason: null, ...more }],
});
const finish = (reason: string, index = 0) => ({ choices: [{ index, delta: {}, finish_reason: reason }] });
const role = { choices: [{ index: 0, delta: { role: "assistant", content: "" }, finish_reason: null }] };

function events(...data: unknown[]): string {
  return http(data.map(event).join(""), "text/event-stream; charset=utf-8");
}

const complete = (choices: readonly unknown[], more: Readonly<Record<string, unknown>> = {}): string =>
  http(JSON.stringify({ id: "x", choices, ...more }));
const message = (content: string, finishReason: string | null, index = 0) => ({
  index,
  message: { role: "assistant", content },
  finish_reason: finishReason,
});

describe("a stream that lies", () => {
  it.each<[string, readonly unknown[], string]>([
    ["gives the answer up", [delta("a"), finish("abort"), "[DONE]"], "stream_truncated"],
    ["ends with its own error as a reason", [delta("a"), finish("error"), "[DONE]"], "stream_truncated"],
    ["says done without a finish", [delta("a"), "[DONE]"], "stream_truncated"],
    ["is no JSON in the middle", [delta("a"), "{nope", finish("stop"), "[DONE]"], "stream_malformed"],
    [
      "reports an error whose text looks like events",
      [delta("a"), { error: { message: 'data: [DONE] data: {"error"', type: "error", code: 500 } }, "[DONE]"],
      "",
    ],
  ])("%s: the good part, one error event, a cut connection", async (_name, data, code) => {
    const url = await start(events(role, ...data));
    const answer = await post(url, chat({ stream: true }));
    const reading = readStream(answer.text);

    expect(answer.status).toBe(200);
    expect(reading).toMatchObject({ content: "a", done: false, finishReason: undefined });
    expect(reading.error).toBeDefined();
    if (code !== "") expect(reading.error!.code).toBe(code);
    expect(answer.broken).toBeDefined();
    // The role, the token, the error.
    expect(answer.text.split("\n\n").filter((part) => part !== "")).toHaveLength(3);
  });

  it("an event that was cut short never reaches the client", async () => {
    const body = event(role) + event(delta("a")) + event(delta("b")).slice(0, 25);
    const url = await start(
      `HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    );
    const answer = await post(url, chat({ stream: true }));

    expect(readStream(answer.text)).toMatchObject({
      content: "a",
      done: false,
      error: { code: "stream_truncated" },
    });
  });

  it.each<[string, readonly unknown[]]>([
    ["more text of a choice that was finished", [delta("b"), "[DONE]"]],
    ["another finish reason for it", [finish("length"), "[DONE]"]],
    ["the same finish reason twice, then text", [finish("stop"), delta("b"), "[DONE]"]],
    ["an error", [{ error: { message: "late", code: 500 } }, "[DONE]"]],
    ["something after [DONE]", ["[DONE]", delta("b"), "[DONE]"]],
    ["nothing", []],
  ])(
    "is whole for the client once every choice is finished, and what follows is dropped: %s",
    async (_name, rest) => {
      const url = await start(events(role, delta("a"), finish("stop"), ...rest));
      const answer = await post(url, chat({ stream: true }));
      const reading = readStream(answer.text);

      expect(reading).toMatchObject({ content: "a", done: true, finishReason: "stop", error: undefined });
      expect(answer.text.split("[DONE]")).toHaveLength(2);
      expect(answer.text.endsWith("data: [DONE]\n\n")).toBe(true);
      expect(answer.broken).toBeUndefined();
    },
  );

  it("keeps choices that nobody asked for, usage that can't be, and NUL bytes as they are", async () => {
    const odd = [
      role,
      delta("\u0000a"),
      { choices: [{ index: 5, delta: { content: "?" } }] },
      finish("stop"),
      { choices: [], usage: { prompt_tokens: -1, completion_tokens: "many", total_tokens: 1e308 } },
    ];
    const url = await start(events(...odd, "[DONE]"));
    const answer = await post(url, chat({ stream: true }));

    expect(answer.text).toBe([...odd, "[DONE]"].map(event).join(""));
  });

  it.each([
    [1, finish("stop", 7)],
    [2, finish("stop", 0)],
  ])("waits for the finish of every choice that was asked for (n: %i)", async (n, end) => {
    const url = await start(events(delta("a"), end, end, "[DONE]"));
    const answer = await post(url, chat({ stream: true, n }));

    expect(readStream(answer.text)).toMatchObject({ done: false, error: { code: "stream_truncated" } });
  });

  it("before its first token with endless comments: 502, and no memory for them", async () => {
    const pings = `: ${"x".repeat(62)}\n\n`.repeat(20_000);
    const url = await start(http(pings + event(role), "text/event-stream"));
    const answer = await post(url, chat({ stream: true }));

    expect(answer.status).toBe(502);
    expect(JSON.parse(answer.text).error.code).toBe("stream_malformed");
  });

  it("keeps bytes that are no UTF-8", async () => {
    const [before = "", after = ""] = event(delta("?")).split("?");
    const body = Buffer.concat([
      Buffer.from(before),
      Buffer.from([0xff, 0xfe, 0xed, 0xa0, 0x80]),
      Buffer.from(after + event(finish("stop")) + event("[DONE]")),
    ]);
    const head = `HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: ${body.length}\r\n\r\n`;
    const url = await start(Buffer.concat([Buffer.from(head), body]));
    const answer = await fetch(url, {
      method: "POST",
      body: JSON.stringify(chat({ stream: true })),
      headers: { "content-type": "application/json" },
    });

    expect(Buffer.from(await answer.arrayBuffer())).toEqual(body);
  });

  it("takes what is between engines out of its events", async () => {
    const secret = { remote_host: "10.0.0.1", remote_block_ids: [1, 2] };
    const url = await start(
      events(
        role,
        { ...delta("日本"), kv_transfer_params: secret },
        { ...finish("stop"), kv_transfer_params: null },
        "[DONE]",
      ),
    );
    const answer = await post(url, chat({ stream: true }));

    expect(answer.text).toBe([role, delta("日本"), finish("stop"), "[DONE]"].map(event).join(""));
  });

  it("but not the same word in the answer's text", async () => {
    const text = 'set "kv_transfer_params" in the body';
    const url = await start(events(role, delta(text), finish("stop"), "[DONE]"));
    expect(readStream((await post(url, chat({ stream: true }))).text).content).toBe(text);
  });
});

describe("a complete answer that lies", () => {
  it.each<[string, string, Readonly<Record<string, unknown>>, string]>([
    ["no finish reason", complete([message("a", null)]), {}, "stream_truncated"],
    ["given up", complete([message("a", "abort")]), {}, "stream_truncated"],
    ["one choice of two", complete([message("a", "stop")]), { n: 2 }, "stream_truncated"],
    [
      "one of two unfinished",
      complete([message("a", "stop"), message("b", null, 1)]),
      { n: 2 },
      "stream_truncated",
    ],
    ["no choices", complete([]), {}, "stream_swallowed"],
    ["choices that are null", http('{"choices":[null]}'), {}, "stream_truncated"],
    ["an error under 200", http('{"error":{"message":"x","code":500}}'), {}, "engine_response_error"],
    ["an error as text under 200", http('{"error":"x"}'), {}, "engine_response_error"],
    [
      "vLLM's old error under 200",
      http('{"object":"error","message":"x","code":400}'),
      {},
      "stream_malformed",
    ],
    ["no JSON", http("<html>"), {}, "stream_malformed"],
    ["half a JSON", http('{"choices":[{"finish_reason":"stop"'), {}, "stream_malformed"],
    ["a list", http("[]"), {}, "stream_malformed"],
    ["nothing", http(""), {}, "stream_malformed"],
    ["no content", "HTTP/1.1 204 No Content\r\n\r\n", {}, "engine_response_error"],
    ["events", events(delta("a"), finish("stop"), "[DONE]"), {}, "stream_malformed"],
    ["HTML", http("<html>", "text/html"), {}, "stream_malformed"],
  ])("%s: 502, never 200", async (_name, raw, extra, code) => {
    const url = await start(raw);
    const answer = await post(url, chat(extra));

    expect(answer.status).toBe(502);
    expect(JSON.parse(answer.text).error).toMatchObject({ code: expect.anything() });
    if (code !== "engine_response_error") expect(JSON.parse(answer.text).error.code).toBe(code);
  });
});

describe("HTTP that lies", () => {
  it("a second answer to one request is nobody's: the connection is given up", async () => {
    const good = (text: string): string => complete([message(text, "stop")]);
    const url = await start(good("first") + good("forged"), good("second"), good("third"));
    const texts: string[] = [];
    for (let index = 0; index < 3; index += 1) {
      texts.push(JSON.parse((await post(url, chat())).text).choices[0].message.content);
    }
    expect(texts).toEqual(["first", "second", "third"]);
  });

  it.each<[string, string]>([
    [
      "headers without end",
      `HTTP/1.1 200 OK\r\n${"x-filler: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n".repeat(2000)}\r\n`,
    ],
    ["no HTTP", "SSH-2.0-OpenSSH_9.6\r\n"],
    ["two lengths", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}"],
    ["a NUL in a header", "HTTP/1.1 200 OK\r\nx-a: \u0000\r\ncontent-length: 2\r\n\r\n{}"],
    ["status 101", "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"],
    ["status 99", "HTTP/1.1 99 Nope\r\ncontent-length: 0\r\n\r\n"],
  ])("%s: 502 in OpenAI's shape", async (_name, raw) => {
    const url = await start(raw);
    for (const stream of [true, false]) {
      const answer = await post(url, chat({ stream }));
      expect(answer.status).toBe(502);
      expect(JSON.parse(answer.text).error.message).toBeTypeOf("string");
    }
  });
});
