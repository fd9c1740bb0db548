import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { inspect } from "node:util";
import { afterEach, describe, expect, it } from "vitest";
import { buildOpenaiApp } from "../src/builders/build-openai-app.ts";
import { LLMConfig } from "../src/config/llm-config.ts";
import { RequestError } from "../src/errors/request-error.ts";
import { refusedFields } from "../src/ingress/client-field-policy.ts";
import { parseGenerationBody } from "../src/ingress/generation-request.ts";
import { readIngressOptions } from "../src/ingress/ingress-options.ts";
import { OpenAiIngress } from "../src/ingress/openai-ingress.ts";
import { resolvePDProxyOptions } from "../src/llm/pd-proxy-options.ts";
import { EventAligner } from "../src/protocol/event-aligner.ts";
import { EventStreamMonitor } from "../src/protocol/event-stream-monitor.ts";
import { KeyWatch } from "../src/protocol/json-key-watch.ts";
import { scanJsonObject } from "../src/protocol/json-object-index.ts";
import { seededRandom } from "../src/testing/index.ts";
import { chat, errorIn, modelRequests, pdFixture, type PDFixture, post } from "./door-fixtures.ts";
import { model, startPDCluster } from "./support/pd-cluster.ts";
import { post as postTo } from "./support/client.ts";
import { testTitles } from "./support/test-titles.ts";
import { selfSigned } from "./support/self-signed.ts";

// S- and F-numbers are those of the project's list of security expectations; the others are in security.test.ts.

const chatPath = "/v1/chat/completions";
const root = join(import.meta.dirname, "..");

let fixture: PDFixture | undefined;

afterEach(async () => {
  await fixture?.[Symbol.asyncDispose]();
  fixture = undefined;
});

const ask = (path: string, init: RequestInit): Promise<Response> =>
  fixture!.app.fetch(new Request(`http://h${path}`, init));
const engineBodies = (): string =>
  [fixture!.prefill, fixture!.decode]
    .flatMap(modelRequests)
    .map(({ bodyText }) => bodyText)
    .join("\n");

describe("S3: a handle is validated before decode sees it", () => {
  it.each<[string, object]>([
    ["the metadata service", { remote_host: "169.254.169.254" }],
    ["localhost", { remote_host: "localhost" }],
    ["userinfo", { remote_host: "127.0.0.1@evil.test" }],
    ["IPv6-mapped", { remote_host: "::ffff:127.0.0.1" }],
    ["another port's host", { remote_host: "127.0.0.1:22" }],
    ["no text", { remote_host: ["127.0.0.1"] }],
    ["10 MB of blocks", { remote_block_ids: Array.from({ length: 1_500_000 }, (_, index) => index) }],
  ])("%s", async (_name, replace) => {
    const cluster = await startPDCluster({
      prefills: 1,
      proxy: { kvHostAllowlist: ["127.0.0.1"], onMissingKv: "fail", onPrefillFailure: "fail" },
    });
    cluster.prefills[0]!.injectFault({ fault: { kind: "wrongKv", replace: { ...replace } } });
    const answer = await postTo(cluster.url + chatPath, {
      model,
      messages: [{ role: "user", content: "hi" }],
    });
    const asked = cluster.decodes.flatMap(({ requests }) =>
      requests.filter(({ phase }) => phase !== undefined),
    );
    await cluster.stop();
    expect([answer.status, asked]).toEqual([502, []]);
  });
});

describe("S8: engines are sent to fetch media only where that is allowed", () => {
  const part = (url: unknown, kind = "image_url"): object => ({
    messages: [{ role: "user", content: [{ type: kind, [kind]: { url } }] }],
    max_tokens: 2,
  });

  it.each([
    "http://169.254.169.254/latest/meta-data",
    "http://127.0.0.1/",
    "http://2130706433/",
    "http://0x7f.1/",
    "http://0177.0.0.1/",
    "http://[::1]/",
    "http://[::ffff:10.0.0.1]/",
    "http://[fd00::1]/",
    "http://10.1.2.3/a.png",
    "http://192.168.1.1/",
    "http://172.31.0.1/",
    "http://0.0.0.0/",
    "http://localhost/",
    "http://LOCALHOST./",
    "http://prefill-0:8000/",
    "http://db.internal/",
    "http://x.local/",
    "http://public.test\\@127.0.0.1/",
    "http://user:pass@public.test/",
    " http://127.0.0.1/",
    "http://public.test/\n",
    "file:///etc/passwd",
    "ftp://public.test/a",
    "gopher://public.test/",
    "http:///",
  ])("%j is refused", async (url) => {
    fixture ??= await pdFixture();
    for (const kind of ["image_url", "audio_url", "video_url"]) {
      const response = await ask(chatPath, post(part(url, kind)));
      expect([response.status, (await errorIn(response))["code"]]).toEqual([400, "media_not_allowed"]);
    }
    const bare = { messages: [{ role: "user", content: [{ type: "image_url", image_url: url }] }] };
    expect((await ask(chatPath, post(bare))).status).toBe(400);
    expect(engineBodies()).toBe("");
  });

  it("also on other routes, and however the key is escaped", async () => {
    fixture = await pdFixture();
    const url = "http://10.0.0.1/";
    const escaped = `{"messages":[{"role":"user","content":[{"type":"image_url","image\\u005furl":{"url":"${url}"}}]}]}`;
    for (const [path, body] of [
      [chatPath, escaped],
      ["/v1/responses", { input: [{ role: "user", content: [{ type: "input_image", image_url: url }] }] }],
      [
        "/v1/messages",
        { messages: [{ role: "user", content: [{ type: "image", source: { type: "url", url } }] }] },
      ],
      [
        "/v1/embeddings",
        { messages: [{ role: "user", content: [{ type: "image_url", image_url: { url } }] }] },
      ],
    ] as const) {
      const response = await ask(path, post(body));
      expect([path, response.status, (await errorIn(response))["code"]]).toEqual([
        path,
        400,
        "media_not_allowed",
      ]);
    }
    expect(engineBodies()).toBe("");
  });

  it("also in process, where a program hands on what its clients sent", async () => {
    fixture = await pdFixture({ ingress: { mediaHosts: ["images.test"] } });
    const { handle } = fixture.app;
    const content = (url: string) => [{ type: "image_url" as const, image_url: { url } }];
    const calls = (url: string): readonly (() => Promise<unknown>)[] => [
      () => handle.chat({ messages: [{ role: "user", content: content(url) }], max_tokens: 2 }),
      async () => {
        const messages = [{ role: "user" as const, content: content(url) }];
        for await (const chunk of handle.chat({ messages, max_tokens: 2, stream: true })) void chunk;
      },
      () => handle.embeddings({ input: "a", messages: [{ role: "user", content: content(url) }] }),
      () =>
        handle.responses({ input: [{ role: "user", content: [{ type: "input_image", image_url: url }] }] }),
    ];
    for (const call of calls("http://10.0.0.1/"))
      await expect(call()).rejects.toMatchObject({ status: 400, code: "media_not_allowed" });
    expect(engineBodies()).toBe("");
    await calls("http://images.test/a")[0]!();
    expect(engineBodies()).toContain("http://images.test/a");
  });

  it("data: URLs and names that look public pass, as they are; so do schemas with such a property", async () => {
    fixture = await pdFixture();
    const tools = [
      {
        type: "function",
        function: { name: "f", parameters: { properties: { image_url: { type: "string" } } } },
      },
    ];
    for (const url of [
      "data:image/png;base64,AA==",
      "https://example.com/a.png",
      "https://1.1.1.1/a.png",
      "u",
    ]) {
      const response = await ask(chatPath, post({ ...part(url), tools }));
      await response.text();
      expect([url, response.status]).toEqual([url, 200]);
      expect(engineBodies()).toContain(JSON.stringify(url));
    }
  });

  it("mediaHosts is the whole list, `any` is no check, and what is no host is refused", async () => {
    fixture = await pdFixture({ ingress: { mediaHosts: ["10.0.0.1", "images.test"] } });
    const status = async (url: string): Promise<number> => {
      const response = await ask(chatPath, post(part(url)));
      await response.text();
      return response.status;
    };
    expect(await Promise.all(["http://10.0.0.1/a", "http://IMAGES.test:81/a"].map(status))).toEqual([
      200, 200,
    ]);
    expect(await Promise.all(["http://example.com/a", "http://x.images.test/"].map(status))).toEqual([
      400, 400,
    ]);
    await fixture[Symbol.asyncDispose]();
    fixture = await pdFixture({ ingress: { mediaHosts: "any" } });
    expect(await status("http://localhost/a")).toBe(200);
    for (const host of ["http://a.test", "a.test/x", "a.test:80", ""]) {
      await expect(pdFixture({ ingress: { mediaHosts: [host] } })).rejects.toThrow(/mediaHosts/);
    }
  });
});

it("S11: `admit` lets in or refuses before anything is read or sent", async () => {
  class Guarded extends OpenAiIngress {
    protected override admit(request: { header(name: string): string | undefined }): void {
      if (request.header("x-tenant") === "spent") {
        throw new RequestError("Too many.", { status: 429, code: "limit_exceeded" });
      }
    }
  }
  fixture = await pdFixture({ ingressCls: Guarded });
  const as = (tenant: string): RequestInit => ({
    ...chat({ max_tokens: 2 }),
    headers: { "content-type": "application/json", "x-tenant": tenant },
  });
  expect((await ask(chatPath, as("spent"))).status).toBe(429);
  expect(engineBodies()).toBe("");
  expect((await ask(chatPath, as("other"))).status).toBe(200);
});

it("S14, S15: no key, header or prompt is in an error, its causes, or what describes the application", async () => {
  const canaries = ["sk-canary-1", "canary-header-2", "canary-prompt-3", "canary-answer-4"];
  const cluster = await startPDCluster({
    client: { apiKey: canaries[0], headers: { "x-secret": canaries[1]! } },
    proxy: { maxRetries: 0 },
  });
  for (const engine of cluster.decodes) {
    engine.injectFault({
      fault: { kind: "errorIn200", body: { error: { message: "no", code: 500 } } },
      times: 1,
    });
  }
  const errors: unknown[] = [];
  const warned: string[] = [];
  process.on("warning", (warning) => warned.push(String(warning)));
  const body = {
    model,
    messages: [{ role: "user" as const, content: canaries[2]! }],
    stream: false as const,
  };
  for (let index = 0; index < 3; index += 1)
    await cluster.app.handle.chat(body).catch((error) => errors.push(error));
  await Promise.all(cluster.engines.map((engine) => engine.crash()));
  await cluster.app.handle.chat(body).catch((error: unknown) => errors.push(error));
  const config = new LLMConfig({ modelLoadingConfig: { modelId: "m" }, client: { apiKey: canaries[0] } });
  const sinks = inspect([errors, warned, cluster.app.status(), cluster.app.pdHealth(), config], {
    depth: 20,
  });
  await cluster.stop();
  expect(errors.length).toBeGreaterThan(0);
  for (const canary of canaries) expect(sinks).not.toContain(canary);
});

describe("S19: TLS to engines is verified", () => {
  const body = {
    choices: [{ index: 0, finish_reason: "stop", message: { role: "assistant", content: "a" } }],
  };

  it.each([
    ["by default", {}, 502],
    ["with its authority", { ca: selfSigned.cert }, 200],
    ["unless told not to", { rejectUnauthorized: false }, 200],
    ["against another name", { ca: selfSigned.cert, servername: "other.test" }, 502],
  ])("%s", async (_name, tls, status) => {
    const server = createServer(selfSigned, (request, response) => {
      request.resume();
      response.setHeader("content-type", "application/json").end(JSON.stringify(body));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const app = buildOpenaiApp({
      llmConfigs: [{ modelLoadingConfig: { modelId: "m" }, endpoints: [url], client: { tls } }],
    }).withEnvironment({ warn: () => undefined });
    const response = await app.fetch(new Request(`http://h${chatPath}`, post({ messages: [] })));
    await response.text();
    await app.shutdown({ graceMs: 0 });
    server.closeAllConnections();
    server.close();
    expect(response.status).toBe(status);
  });
});

/** What Python's reader, which vLLM uses, makes of documents: keys at the top, and every key anywhere; null when it refuses. */
const pythonReader = `
import json, sys
def keys(value, found):
    if isinstance(value, dict):
        found.update(value)
        for each in value.values(): keys(each, found)
    elif isinstance(value, list):
        for each in value: keys(each, found)
    return found
out = []
for text in json.load(sys.stdin):
    try:
        value = json.loads(text)
        out.append([sorted(value), sorted(keys(value, set()))] if isinstance(value, dict) else None)
    except (ValueError, RecursionError):
        out.append(None)
json.dump(out, sys.stdout)
`;

function hasPython(): boolean {
  try {
    execFileSync("python3", ["-c", "import json"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

describe.skipIf(!hasPython())("S22: a body has the same keys for us as for an engine", () => {
  it("over 25,000 documents with duplicates, escapes and damage", { timeout: 180_000 }, () => {
    const random = seededRandom(7);
    const pick = <T>(list: readonly T[]): T => list[Math.floor(random.next() * list.length)]!;
    const escape = (text: string): string =>
      Array.from(text, (letter) =>
        random.next() < 0.15 ? `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}` : letter,
      ).join("");
    const names = [
      "a",
      "model",
      "n",
      "kv_transfer_params",
      "__proto__",
      "é",
      "",
      "Model",
      "data_parallel_rank",
    ];
    const value = (depth: number): string => {
      const kind = random.next();
      if (depth === 0 || kind < 0.4)
        return pick(["1", "-0.5e3", "true", "null", '"x"', '"\\"}"', "NaN", '"\\u005c"']);
      if (kind < 0.6) return `[${[value(depth - 1), value(depth - 1)].join(pick([",", " , "]))}]`;
      return object(depth - 1);
    };
    const object = (depth: number): string => {
      const members = Array.from(
        { length: Math.floor(random.next() * 4) },
        () => `"${escape(pick(names))}"${pick([":", " : ", "\n:\t"])}${value(depth)}`,
      );
      return `{${members.join(",")}}`;
    };
    const damaged = (text: string): string => {
      const at = Math.floor(random.next() * text.length);
      return (
        text.slice(0, at) +
        pick(["", '"', "\\", "{", "}", ",", ":", "\u0000", "'", "/*", "\u00a0", "1"]) +
        text.slice(at + 1)
      );
    };
    const documents = Array.from({ length: 25_000 }, () => {
      const text = object(3);
      return random.next() < 0.4 ? damaged(text) : text;
    });
    const theirs = JSON.parse(
      execFileSync("python3", ["-c", pythonReader], {
        input: JSON.stringify(documents),
        maxBuffer: 1 << 28,
      }).toString(),
    ) as ([string[], string[]] | null)[];
    const watch = new KeyWatch({ forbidden: refusedFields });
    const differing: unknown[] = [];
    let accepted = 0;
    let forbidden = 0;
    for (const [index, text] of documents.entries()) {
      let ours;
      try {
        ours = scanJsonObject(Buffer.from(text), { watch });
      } catch {
        continue;
      }
      accepted += 1;
      const python = theirs[index];
      const hidden = python?.[1].some((key) => refusedFields.has(key)) === true;
      if (hidden) forbidden += 1;
      const same = python !== null && python !== undefined && python[0].every((key) => ours.has(key));
      // Python keeps the last of several values; a key hidden in an earlier one is refused here, too.
      if (!same || (hidden && ours.forbiddenKey === undefined)) differing.push([text, python]);
    }
    expect(differing.slice(0, 5)).toEqual([]);
    expect(accepted).toBeGreaterThan(10_000);
    expect(forbidden).toBeGreaterThan(2_500);
  });
});

describe("S23: twice the input takes twice the time", () => {
  const frame = (inner: string): Buffer => Buffer.from(`{"messages":[],"x":${inner}}`);
  const tolerate = (work: () => unknown): void => {
    try {
      work();
    } catch {
      // Refused: how long that took is what counts.
    }
  };
  const inPieces = (size: number, take: (piece: Uint8Array) => unknown) => (bytes: Buffer) => {
    for (let at = 0; at < bytes.length; at += size) take(bytes.subarray(at, at + size));
  };
  const body = (bytes: Buffer): void => tolerate(() => parseGenerationBody(bytes, "chat"));

  it.each<[string, (size: number) => Buffer, (bytes: Buffer) => void]>([
    ["a string of backslashes", (size) => frame(`"${"\\\\".repeat(size / 2)}"`), body],
    ["an open string", (size) => Buffer.from(`{"a":"${"x".repeat(size)}`), body],
    ["a string of escapes", (size) => frame(`"${"\\u0041".repeat(size / 6)}"`), body],
    [
      "many keys",
      (size) =>
        Buffer.from(`{"messages":[]${Array.from({ length: size / 12 }, (_, i) => `,"k${i}":0`).join("")}}`),
      body,
    ],
    ["one key many times", (size) => Buffer.from(`{"messages":[]${',"kkkkk":0'.repeat(size / 10)}}`), body],
    ["brackets", (size) => frame("[".repeat(size)), body],
    ["pairs of brackets", (size) => frame(`[${"[],".repeat(size / 3)}0]`), body],
    ["a number without end", (size) => frame("1".repeat(size)), body],
    ["blanks", (size) => frame(" ".repeat(size) + "0"), body],
    [
      "a line of a stream without end, in pieces",
      (size) => Buffer.from(`data: {"a":"${"x".repeat(size)}`),
      (bytes) => {
        const monitor = new EventStreamMonitor({ expectedChoices: 1 });
        inPieces(512, (piece) => monitor.push(piece))(bytes);
      },
    ],
    [
      "an event without end, in pieces",
      (size) => Buffer.from(`data: ${"x".repeat(size)}`),
      (bytes) => {
        const aligner = new EventAligner(Number.POSITIVE_INFINITY);
        inPieces(512, (piece) => aligner.take(piece))(bytes);
      },
    ],
    [
      "comments, in pieces",
      (size) => Buffer.from(":\n".repeat(size / 2)),
      (bytes) => {
        const aligner = new EventAligner();
        const monitor = new EventStreamMonitor({ expectedChoices: 1 });
        inPieces(512, (piece) => monitor.push(aligner.take(piece)))(bytes);
      },
    ],
  ])("%s", (_name, make, work) => {
    // Processor time, the best of several: other work on the machine must not count.
    const time = (size: number): number => {
      const bytes = make(size);
      const times = Array.from({ length: 3 }, () => {
        const before = process.cpuUsage();
        work(bytes);
        const { user, system } = process.cpuUsage(before);
        return user + system;
      });
      return Math.min(...times);
    };
    const small = 192 * 1024;
    time(small);
    // Eight times the input; 64 times the time if it were quadratic. A floor, because the small one may take no time.
    const [one, eight] = [Math.max(time(small), 1_500), time(8 * small)];
    expect(eight / one).toBeLessThan(24);
  });
});

describe("S24: ids come from the operating system's randomness", () => {
  it("nothing but `internal/random.ts` has any", () => {
    const files = execFileSync("git", ["ls-files", "src"], { cwd: root }).toString().split("\n");
    const users = files.filter(
      (file) =>
        file.endsWith(".ts") &&
        /Math\.random|randomUUID|randomBytes/.test(readFileSync(join(root, file), "utf8")),
    );
    expect(users).toEqual(["src/internal/random.ts"]);
    expect(readFileSync(join(root, "src/internal/random.ts"), "utf8")).toMatch(/random(UUID|Bytes)/);
  });
});

describe("S25: what is installed", () => {
  const packageJson = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
    readonly scripts: Readonly<Record<string, string>>;
    readonly dependencies: Readonly<Record<string, string>>;
    readonly publishConfig: { readonly provenance: boolean };
  };

  it("runs nothing while it is installed, is locked, and comes with provenance", () => {
    const hooks = ["preinstall", "install", "postinstall", "prepare", "prepublish"];
    expect(hooks.filter((name) => packageJson.scripts[name] !== undefined)).toEqual([]);
    expect(existsSync(join(root, "package-lock.json"))).toBe(true);
    expect(packageJson.publishConfig.provenance).toBe(true);
  });

  it("has a reason for every dependency", () => {
    const reasons = readFileSync(join(root, "docs/dependencies.md"), "utf8");
    for (const name of Object.keys(packageJson.dependencies)) expect(reasons).toContain(name);
  });
});

it("S27: what is risky is off", () => {
  expect(resolvePDProxyOptions()).toMatchObject({
    kvLeaseMs: 30_000,
    kvLeaseSafety: 0.6,
    onMissingKv: "retry",
    onStranded: "wait",
    onPrefillFailure: "decode-only",
    kvHostAllowlist: undefined,
    maxRetries: 2,
    retryBudget: { share: 0.1, reserve: 10 },
  });
  const { client } = new LLMConfig({ modelLoadingConfig: { modelId: "m" } });
  expect(client).toMatchObject({
    connectTimeoutMs: 5_000,
    prefillTimeoutMs: 300_000,
    firstByteTimeoutMs: 300_000,
    interTokenTimeoutMs: 180_000,
    totalTimeoutMs: 3_600_000,
    queueTimeoutMs: 60_000,
    unavailableTimeoutMs: 10_000,
    slowClientTimeoutMs: 60_000,
  });
  expect([client.tls, client.apiKey, client.headers, client.probeGeneration]).toEqual([
    undefined,
    undefined,
    undefined,
    undefined,
  ]);
});

describe("S30: the threat model is published, and true", () => {
  const text = readFileSync(join(root, "SECURITY.md"), "utf8");
  /** Each promise, and the tests that hold it. */
  const promises: Readonly<Record<string, readonly (readonly [file: string, title: string])[]>> = {
    "Clients can't steer engines.": [
      ["test/security.test.ts", "S2: clients can't steer KV transfer"],
      ["test/security.test.ts", "S5: request headers go through an allow-list"],
    ],
    "Credentials stay put.": [
      ["test/security.test.ts", "no credential of a client reaches an engine"],
      ["test/security.test.ts", "S7: redirects are not followed"],
      [
        "test/security-inside.test.ts",
        "S14, S15: no key, header or prompt is in an error, its causes, or what describes the application",
      ],
    ],
    "Errors are quiet.": [["test/security.test.ts", "S16: errors do not tell where engines are"]],
    "Bodies are bounded.": [
      ["test/doors.test.ts", "refuses a body beyond the limit, announced or not"],
      ["test/security.test.ts", "to send its body: 408, and the connection is closed"],
    ],
    "Importing does nothing.": [
      ["test/architecture.test.ts", "process-level handlers are the command's alone"],
      [
        "test/security-inside.test.ts",
        "importing leaves nothing that keeps a process alive or listens to it",
      ],
    ],
    "Engines are not sent places.": [
      ["test/security-inside.test.ts", "S8: engines are sent to fetch media only where that is allowed"],
    ],
    "Handles are checked.": [
      ["test/security-inside.test.ts", "S3: a handle is validated before decode sees it"],
    ],
    "Nothing is recorded.": [
      ["test/security-inside.test.ts", "S29: nothing is recorded"],
      [
        "test/opentelemetry.test.ts",
        "records prompts only when asked, as much as asked, in spans that are sampled",
      ],
    ],
  };

  it("every promise has tests, and no test is for a promise that is gone", () => {
    const promised = [...text.matchAll(/^- \*\*(.+?)\*\*/gm)].map(([, promise]) => promise!);
    expect(promised.toSorted()).toEqual(Object.keys(promises).toSorted());
    const missing = Object.values(promises)
      .flat()
      .filter(([file, title]) => !testTitles(file).has(title));
    expect(missing).toEqual([]);
  });

  it("its numbers are the defaults", () => {
    const { maxBodyBytes, bodyTimeoutMs } = readIngressOptions({ llmDeployments: [] }, () => undefined);
    expect(text).toContain(
      `${maxBodyBytes / 1024 ** 2} MiB and ${bodyTimeoutMs / 1000} seconds by default, then 413 and 408`,
    );
    for (const name of ["kvHostAllowlist", "onStranded"])
      expect(Object.keys(resolvePDProxyOptions())).toContain(name);
  });

  it("importing leaves nothing that keeps a process alive or listens to it", () => {
    const script = `
      const before = process.eventNames().map((name) => [name, process.listenerCount(name)]);
      await import(${JSON.stringify(new URL("../src/index.ts", import.meta.url).href)});
      const after = process.eventNames().map((name) => [name, process.listenerCount(name)]);
      console.log(JSON.stringify({ before, after, left: process.getActiveResourcesInfo().filter((kind) => /Timeout|TCP|Server/.test(kind)) }));`;
    const output = execFileSync(process.execPath, ["--import", "tsx", "--input-type=module", "-e", script], {
      cwd: root,
    }).toString();
    const { before, after, left } = JSON.parse(output) as Readonly<Record<string, unknown>>;
    expect([after, left]).toEqual([before, []]);
  });

  it("says what is out of scope, and pages lead to it", () => {
    expect(text).toMatch(/What it does not do:[^]*Prompt injection/);
    for (const page of ["README.md", "docs/security.md"])
      expect(readFileSync(join(root, page), "utf8")).toMatch(/\]\([^)]*SECURITY\.md\)/);
    for (const [, target] of text.matchAll(/\]\(([^)#:]+)\)/g))
      expect(existsSync(join(root, target!))).toBe(true);
  });
});

it("S29: nothing is recorded", () => {
  const files = execFileSync("git", ["ls-files", "src"], { cwd: root }).toString().split("\n");
  const writers = files.filter(
    (file) =>
      file.endsWith(".ts") &&
      !file.endsWith(".test.ts") &&
      !/^src\/(cli|testing)\//.test(file) &&
      /\b(writeFile|appendFile|createWriteStream)/.test(readFileSync(join(root, file), "utf8")),
  );
  expect(writers).toEqual([]);
});
