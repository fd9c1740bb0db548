import { connect } from "node:net";

import * as fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { buildOpenaiApp } from "../src/builders/build-openai-app.ts";
import { refusedFields } from "../src/ingress/client-field-policy.ts";
import { FakeClock, type MockVLLMEngine } from "../src/testing/index.ts";
import {
  chat,
  errorIn,
  modelRequests,
  type OpenDoor,
  pdFixture,
  type PDFixture,
  post,
  readStream,
  serveListener,
} from "./door-fixtures.ts";
import { until } from "./support/until.ts";

// S- and F-numbers are those of the project's list of security expectations and failure modes.

const chatPath = "/v1/chat/completions";

let fixture: PDFixture;
let open: OpenDoor;

beforeEach(async () => {
  fixture = await pdFixture();
  open = await serveListener(fixture.app.handler);
});

afterEach(async () => {
  await open[Symbol.asyncDispose]();
  await fixture[Symbol.asyncDispose]();
});

/** What a server answers to these very bytes, until it closes the connection. */
function sendRaw(port: number, text: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    let answer = "";
    socket.on("data", (chunk) => (answer += chunk.toString("latin1")));
    socket.on("error", () => undefined);
    socket.on("close", () => resolve(answer));
    socket.write(Buffer.from(text, "latin1"));
  });
}

function statusOf(answer: string): number {
  return Number(/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1] ?? 0);
}

function rawRequest(line: string, headers: readonly string[] = [], body = "{}"): string {
  const head = [
    `${line} HTTP/1.1`,
    "Host: h",
    "Connection: close",
    "Content-Type: application/json",
    ...headers,
  ];
  return `${[...head, `Content-Length: ${body.length}`].join("\r\n")}\r\n\r\n${body}`;
}

const engines = (): readonly MockVLLMEngine[] => [fixture.prefill, fixture.decode];
const enginePosts = (): number => engines().flatMap(modelRequests).length;

describe("S1: only what is in the route table reaches an engine", () => {
  const internalRoutes = [
    "/invocations",
    "/pause",
    "/resume",
    "/sleep",
    "/wake_up",
    "/is_sleeping",
    "/reset_prefix_cache",
    "/collective_rpc",
    "/abort_requests",
    "/metrics",
    "/load",
    "/version",
    "/server_info",
    "/start_profile",
    "/stop_profile",
    "/scale_elastic_ep",
    "/v1/load_lora_adapter",
    "/v1/unload_lora_adapter",
    "/inference/v1/generate",
    "/docs",
    "/openapi.json",
  ];
  const disguises = [
    "/v1/../pause",
    "/v1/%2e%2e/pause",
    "/v1/chat/completions/../../../pause",
    "//pause",
    "//v1/chat/completions",
    "/V1/chat/completions",
    "/v1/chat/completions/",
    "/v1/chat/completions%00",
    "/v1/chat/completions;pause",
    "/v1/chat%2fcompletions",
    "/v1/chat/completions#pause",
    "\\v1\\chat\\completions",
  ];

  it.each([...internalRoutes, ...disguises])("%s", async (path) => {
    for (const method of ["GET", "POST"]) {
      const answer = await sendRaw(open.port!, rawRequest(`${method} ${path}?canary`));
      expect([404, 400]).toContain(statusOf(answer));
    }
    expect(
      engines().flatMap(({ requests }) => requests.filter(({ query }) => query.includes("canary"))),
    ).toEqual([]);
    expect(enginePosts()).toBe(0);
  });

  it("targets come from the configuration, whatever the request line and Host say (F82)", async () => {
    const body = '{"messages":[{"role":"user","content":"hi"}],"max_tokens":2}';
    expect(
      statusOf(await sendRaw(open.port!, rawRequest(`POST http://evil.test${chatPath}`, [], body))),
    ).toBe(404);
    const answer = await sendRaw(
      open.port!,
      rawRequest(`POST ${chatPath}`, ["X-Forwarded-Host: evil.test", "X-Target: http://evil.test"], body),
    );
    expect(statusOf(answer)).toBe(200);
    expect(enginePosts()).toBe(2);
  });

  it("TRACE and OPTIONS are not accepted, CONNECT gets no tunnel", async () => {
    expect(statusOf(await sendRaw(open.port!, rawRequest(`TRACE ${chatPath}`)))).toBe(405);
    const options = await sendRaw(open.port!, rawRequest(`OPTIONS ${chatPath}`));
    expect([statusOf(options), options.toLowerCase().includes("access-control")]).toEqual([405, false]);
    const { port } = fixture.decode;
    expect(statusOf(await sendRaw(open.port!, `CONNECT 127.0.0.1:${port} HTTP/1.1\r\nHost: h\r\n\r\n`))).toBe(
      0,
    );
    expect(enginePosts()).toBe(0);
  });
});

describe("S2: clients can't steer KV transfer", () => {
  const fields = [...refusedFields];

  it.each(fields)("%s is refused at any depth, however it is escaped", async (field) => {
    const escaped = Array.from(field)
      .map((letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`)
      .join("");
    for (const key of [field, escaped]) {
      for (const inner of [
        `"${key}":{}`,
        `"a":{"${key}":1}`,
        `"a":[[{"${key}":null}]]`,
        `"a":1,"${key}":1,"${key}":2`,
      ]) {
        const response = await open.ask(chatPath, post(`{"messages":[],${inner}}`));
        expect([response.status, (await errorIn(response))["param"]]).toEqual([400, field]);
      }
    }
    expect(enginePosts()).toBe(0);
  });

  it("nor with any document that has such a key somewhere", async () => {
    const { fetch: ask } = fixture.app;
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...fields),
        fc.array(fc.oneof(fc.string(), fc.nat(3)), { maxLength: 6 }),
        fc.jsonValue(),
        async (field, path, value) => {
          // JSON text: an object literal would lose __proto__.
          let text = `{${JSON.stringify(field)}:${JSON.stringify(value)}}`;
          for (const step of path)
            text =
              typeof step === "string"
                ? `{${JSON.stringify(step)}:${text}}`
                : `[${"0,".repeat(step)}${text}]`;
          const response = await ask(new Request(`http://h${chatPath}`, post(`{"messages":[],"x":${text}}`)));
          return response.status === 400 && (await errorIn(response))["code"] === "field_not_allowed";
        },
      ),
      { numRuns: 300 },
    );
    expect(enginePosts()).toBe(0);
  });

  it.each([
    "X-Data-Parallel-Rank",
    "X-KV-Target",
    "X-Prefiller-Host-Port",
    "X-Decode-Url",
    "X-Bootstrap-Host",
  ])("header %s is refused", async (name) => {
    const response = await open.ask(chatPath, {
      ...chat(),
      headers: { "content-type": "application/json", [name]: "1" },
    });
    expect([response.status, (await errorIn(response))["code"]]).toEqual([400, "field_not_allowed"]);
    expect(enginePosts()).toBe(0);
  });

  it("a form is refused like a body", async () => {
    const form = new FormData();
    form.append("file", new File(["RIFF"], "a.wav"));
    form.append("kv_transfer_params", "{}");
    const response = await open.ask("/v1/audio/transcriptions", { method: "POST", body: form });
    expect([response.status, (await errorIn(response))["code"]]).toEqual([400, "field_not_allowed"]);
  });
});

describe("S4: what is between engines never reaches clients", () => {
  it.each([true, false])("stream: %s", async (stream) => {
    const text = await (await open.ask(chatPath, chat({ stream, max_tokens: 4 }))).text();
    for (const secret of [
      "kv_transfer_params",
      fixture.prefill.engineId,
      fixture.decode.engineId,
      "remote_host",
    ]) {
      expect(text).not.toContain(secret);
    }
  });
});

describe("S5: request headers go through an allow-list", () => {
  it("no credential of a client reaches an engine", async () => {
    const canary = "canary-4711";
    const names = [
      "authorization",
      "cookie",
      "x-api-key",
      "proxy-authorization",
      "x-forwarded-for",
      "x-user",
    ];
    for (let index = 0; index < 100; index += 1) names.push(`x-custom-${index}`);
    const headers = Object.fromEntries(names.map((name) => [name, canary]));
    await (
      await open.ask(chatPath, {
        ...chat({ max_tokens: 2 }),
        headers: { ...headers, "content-type": "application/json", traceparent: "00-a-b-01" },
      })
    ).text();
    await (await open.ask("/tokenize", post({ prompt: "a" }, headers))).text();
    const allowed = [
      "accept-encoding",
      "connection",
      "content-length",
      "content-type",
      "host",
      "traceparent",
      "x-request-id",
    ];
    for (const entry of engines().flatMap(modelRequests)) {
      expect(allowed).toEqual(expect.arrayContaining(Object.keys(entry.headers)));
      expect(JSON.stringify(entry.headers)).not.toContain(canary);
    }
    expect(enginePosts()).toBe(3);
    expect(modelRequests(fixture.decode)[0]!.headers["traceparent"]).toBe("00-a-b-01");
  });
});

const answerJson =
  '{"id":"x","choices":[{"index":0,"finish_reason":"stop","message":{"content":"<script>\\u001b[31m</script>"}}]}';

describe("S6, S20: of an engine's answer only status, content type and bytes get through", () => {
  it.each([chatPath, "/v1/embeddings"])("%s", async (path) => {
    await using engine = await serveListener((request, response) => {
      request.resume();
      response.setHeader("connection", "x-internal, close");
      response.setHeader("x-internal", "canary");
      response.setHeader("set-cookie", "canary=1");
      response.setHeader("server", "canary");
      response.setHeader("content-type", "application/json").end(answerJson);
    });
    const app = buildOpenaiApp({
      llmConfigs: [{ modelLoadingConfig: { modelId: "m" }, endpoints: [`http://127.0.0.1:${engine.port}`] }],
    });
    const response = await app.fetch(new Request(`http://h${path}`, post({ messages: [], input: "x" })));
    expect(await response.text()).toBe(answerJson);
    expect([...response.headers.keys()].toSorted()).toEqual([
      "content-length",
      "content-type",
      "x-content-type-options",
      "x-request-id",
    ]);
    expect(JSON.stringify([...response.headers])).not.toContain("canary");
    await app.shutdown({ graceMs: 0 });
  });
});

describe("S7: redirects are not followed", () => {
  it.each([301, 302, 307, 308])("%i", async (status) => {
    let hits = 0;
    await using attacker = await serveListener((_request, response) => {
      hits += 1;
      response.end("{}");
    });
    const location = `http://127.0.0.1:${attacker.port}/`;
    for (const engine of engines()) engine.injectFault({ fault: { kind: "redirect", location, status } });
    const response = await open.ask(chatPath, chat());
    expect(response.status).toBe(502);
    expect(await response.text()).not.toContain(String(attacker.port));
    expect(hits).toBe(0);
  });
});

describe("S9: what one request may ask for is limited", () => {
  const limits = { maxChoices: 2, maxMessages: 3, maxOutputTokens: 10 };
  const message = { role: "user", content: "hi" };
  const depth = (levels: number): string => `${"[".repeat(levels)}${"]".repeat(levels)}`;
  const sized = (bytes: number): string => {
    const frame = '{"messages":[{"role":"user","content":""}],"max_tokens":2}';
    return frame.replace('""', `"${"x".repeat(bytes - frame.length)}"`);
  };

  it.each([
    ["bytes", sized(5000), sized(5001), 413],
    // The object and its member's arrays.
    [
      "depth",
      `{"messages":[{"role":"user"}],"x":${depth(127)}}`,
      `{"messages":[{"role":"user"}],"x":${depth(128)}}`,
      400,
    ],
    [
      "messages",
      { messages: [message, message, message] },
      { messages: [message, message, message, message] },
      400,
    ],
    ["choices", { messages: [message], n: 2 }, { messages: [message], n: 3 }, 400],
    ["output tokens", { messages: [message], max_tokens: 10 }, { messages: [message], max_tokens: 11 }, 400],
    [
      "completion tokens",
      { messages: [message], max_completion_tokens: 10 },
      { messages: [message], max_completion_tokens: 11 },
      400,
    ],
  ])("%s", async (_what, most, more, status) => {
    await using limited = await pdFixture({ ingress: { limits, maxBodyBytes: 5000 } });
    await using door = await serveListener(limited.app.handler);
    const refused = await door.ask(chatPath, post(more));
    expect(refused.status).toBe(status);
    await refused.text();
    expect([...modelRequests(limited.prefill), ...modelRequests(limited.decode)]).toEqual([]);
    const accepted = await door.ask(chatPath, post(most));
    expect([accepted.status, await accepted.text()]).toEqual([200, expect.any(String)]);
  });

  it("a body of brackets alone is refused in no time, also when it never closes", async () => {
    const response = await open.ask(chatPath, post("[".repeat(1_000_000)));
    expect([response.status, (await errorIn(response))["code"]]).toEqual([400, "invalid_json"]);
  });
});

describe("S10: a client has only so much time", () => {
  it("to send its body: 408, and the connection is closed", async () => {
    const clock = new FakeClock();
    await using slow = await pdFixture({ ingress: { bodyTimeoutMs: 1000 } });
    slow.app.withEnvironment({ clock });
    await using door = await serveListener(slow.app.handler);
    const answer = sendRaw(
      door.port!,
      `POST ${chatPath} HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"messages"`,
    );
    await until(() => slow.app.status().inFlight === 1 && clock.pendingTimers > 0);
    await until(() => {
      clock.advance(1000);
      return slow.app.status().inFlight === 0;
    });
    expect(statusOf(await answer)).toBe(408);
  });

  it("to read its stream: the engine is let go", async () => {
    await using slow = await pdFixture({ client: { slowClientTimeoutMs: 50 } });
    slow.decode.injectFault({
      match: { phase: "decode" },
      fault: { kind: "hugeAnswer", bytes: 64 * 1024 * 1024 },
    });
    await using door = await serveListener(slow.app.handler);
    const response = await door.ask(chatPath, chat({ stream: true }));
    await until(() => modelRequests(slow.decode)[0]?.abortedAt !== undefined);
    expect((await readStream(response)).broken).toBe(true);
  });
});

describe("S13: no prototype is polluted", () => {
  it.each([
    '{"messages":[],"__proto__":{"polluted":1}}',
    '{"messages":[{"role":"user","content":"hi","constructor":{"prototype":{"polluted":1}}}],"max_tokens":1}',
    '{"messages":[{"role":"user","content":"hi"}],"constructor":{"prototype":{"polluted":1}},"hasOwnProperty":1,"max_tokens":1}',
    '{"model":"__proto__","messages":[]}',
    '{"model":"constructor","messages":[]}',
  ])("by %s", async (body) => {
    const response = await open.ask(`${chatPath}?__proto__[polluted]=1`, post(body));
    await response.text();
    expect([200, 400, 404]).toContain(response.status);
    expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
  });
});

describe("S16: errors do not tell where engines are", () => {
  it.each([true, false])("when none is left (stream: %s)", async (stream) => {
    await Promise.all(engines().map((engine) => engine.crash()));
    const response = await open.ask(chatPath, chat({ stream }));
    const text = await response.text();
    expect(response.status).toBeGreaterThanOrEqual(502);
    for (const secret of ["127.0.0.1", String(fixture.decode.port), "ECONN", "node:", ".ts", "    at "]) {
      expect(text).not.toContain(secret);
    }
  });
});

describe("S17, S18: nothing to watch or administer is mounted", () => {
  it.each(["/debug", "/stats", "/explain", "/status", "/admin", "/pools", "/v1/models/load"])(
    "%s",
    async (path) => {
      expect((await open.ask(path, post({}))).status).toBeGreaterThanOrEqual(404);
      expect((await open.ask(path)).status).toBe(404);
    },
  );
});

describe("S21: control characters get into no header and no event", () => {
  it("ids are made safe", async () => {
    const answer = await sendRaw(open.port!, rawRequest("GET /v1/models", ["X-Request-Id: a\tb\xe9;c"]));
    expect(answer).toContain("x-request-id: a_b_;c\r\n");
    expect(statusOf(await sendRaw(open.port!, rawRequest("GET /v1/models", ["X-Request-Id: a\rb"])))).toBe(
      400,
    );
    const long = await sendRaw(
      open.port!,
      rawRequest("GET /v1/models", [`X-Request-Id: ${"x".repeat(1000)}`]),
    );
    expect(/x-request-id: (x+)\r\n/.exec(long)?.[1]).toHaveLength(128);
  });

  it("a model's name can't forge anything", async () => {
    const response = await open.ask(chatPath, chat({ model: "x\r\nset-cookie: a=b\n\ndata: [DONE]\n\n" }));
    expect(response.status).toBe(404);
    expect(await response.text()).not.toMatch(/[\r\n]/);
    expect(response.headers.has("set-cookie")).toBe(false);
  });

  it("an engine's error text can't forge an event", async () => {
    const message = 'x"}}\n\ndata: [DONE]\n\ndata: {"forged":1}';
    fixture.decode.injectFault({
      match: { phase: "decode" },
      fault: { kind: "sseError", afterTokens: 2, message },
    });
    const { text, broken } = await readStream(await open.ask(chatPath, chat({ stream: true })));
    expect(broken).toBe(true);
    const events = text.split("\n\n").filter((event) => event !== "");
    expect(events.filter((event) => event.startsWith("data: [DONE]"))).toEqual([]);
    expect(JSON.parse(events.at(-1)!.slice("data: ".length))).toMatchObject({ error: { message } });
  });
});

describe("S24: ids are ours and can't be guessed", () => {
  it("engines never see a client's id", async () => {
    await (
      await open.ask(chatPath, {
        ...chat({ max_tokens: 2 }),
        headers: { "content-type": "application/json", "x-request-id": "mine" },
      })
    ).text();
    const ids = engines().flatMap((engine) =>
      modelRequests(engine).map(({ headers }) => headers["x-request-id"]),
    );
    expect(ids).toHaveLength(2);
    for (const id of ids) expect(id).toMatch(/[0-9a-f]{32}/);
  });
});

describe("F88 and encodings: a body means the same to every reader", () => {
  it.each(["model", "messages", "stream", "max_tokens", "n"])("`%s` twice is refused", async (field) => {
    const values = { model: '"mock-model"', messages: "[]", stream: "false", max_tokens: "1", n: "1" };
    const value = values[field as keyof typeof values];
    const escaped = `\\u${field.charCodeAt(0).toString(16).padStart(4, "0")}${field.slice(1)}`;
    const body = `{"messages":[],"${field}":${value},"${escaped}":${value}}`;
    const response = await open.ask(chatPath, post(body));
    expect([response.status, (await errorIn(response))["message"]]).toEqual([
      400,
      expect.stringContaining("more than once"),
    ]);
  });

  it.each(["gzip", "br", "deflate", "identity, gzip"])("content-encoding %s is refused", async (encoding) => {
    const response = await open.ask(chatPath, {
      ...chat(),
      headers: { "content-type": "application/json", "content-encoding": encoding },
    });
    expect([response.status, (await errorIn(response))["code"]]).toEqual([415, "unsupported_media_type"]);
  });

  it.each([
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/jsonp",
  ])("content-type %s is refused: pages of other origins may send it", async (type) => {
    const response = await open.ask(chatPath, { ...chat(), headers: { "content-type": type } });
    expect(response.status).toBe(415);
    await response.text();
  });

  it("bytes that are no UTF-8 are refused", async () => {
    const body = Buffer.concat([
      Buffer.from('{"messages":[],"user":"'),
      Buffer.from([0xff, 0xfe]),
      Buffer.from('"}'),
    ]);
    const response = await open.ask(chatPath, {
      method: "POST",
      body,
      headers: { "content-type": "application/json" },
    });
    expect([response.status, (await errorIn(response))["code"]]).toEqual([400, "invalid_json"]);
  });

  it("a request that announces two lengths is refused", async () => {
    const answer = await sendRaw(open.port!, rawRequest(`POST ${chatPath}`, ["Transfer-Encoding: chunked"]));
    expect(statusOf(answer)).toBe(400);
    expect(enginePosts()).toBe(0);
  });
});
