import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, it } from "vitest";
import { mockAnswer } from "../src/testing/index.ts";
import { CliProcess } from "./cli-process.ts";

const messages = [{ role: "user", content: "Which way to the harbour?" }];

async function chat(url: unknown, model: string, headers: Record<string, string> = {}): Promise<string> {
  const response = await fetch(`${String(url)}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", connection: "close", ...headers },
    body: JSON.stringify({ model, messages }),
  });
  expect(response.status).toBe(200);
  const body = (await response.json()) as { choices: { message: { content: string } }[] };
  return body.choices[0]?.message.content ?? "";
}

describe("serve-llm mock and run", () => {
  it("work together, each in a process of its own, and end when told to", async () => {
    const mock = ["mock", "--port", "0", "--model", "llama-8b", "--api-key", "secret-key", "--json"];
    await using prefill = new CliProcess([...mock, "--role", "prefill"]);
    await using decode = new CliProcess([...mock, "--role", "decode"]);
    const engines = await Promise.all([prefill.event("listening"), decode.event("listening")]);
    const [prefillUrl, decodeUrl] = engines.map((line) => String(line["url"]));
    const run = ["run", "--prefill", `${prefillUrl}`, "--decode", `${decodeUrl}`, "--port", "0", "--json"];
    const key = { ENGINE_KEY: "secret-key" };

    await using asked = new CliProcess([...run, "--api-key-env", "ENGINE_KEY"], key);
    await using configured = new CliProcess(
      [...run, "--api-key-env", "ENGINE_KEY", "examples/serve_pd_config.yaml"],
      key,
    );
    for (const command of [asked, configured]) {
      const { url } = await command.event("listening");
      expect(await chat(url, "llama-8b")).toBe(mockAnswer({ messages }));
      const { trace } = await command.event("request");
      expect(trace).toMatchObject({ mode: "pd", outcome: "success", model: "llama-8b" });
    }
    expect(await asked.end("SIGTERM")).toBe(0);
    expect(await configured.end("SIGINT")).toBe(0);
    expect(asked.lines().map((line) => line.event)).toEqual(["listening", "request", "stopping", "stopped"]);

    expect(await Promise.all([prefill.end("SIGTERM"), decode.end("SIGTERM")])).toEqual([0, 0]);
    expect(await prefill.event("stopped")).toMatchObject({ kv: { issued: 2, consumed: 2, expired: 0 } });
    // Keys belong in no log.
    expect(asked.stdout + asked.stderr + prefill.stdout).not.toContain("secret-key");
  });

  it("say what is wrong, with the right exit code", async () => {
    const cases: readonly (readonly [readonly string[], number, RegExp])[] = [
      [["run"], 2, /--prefill URL,URL --decode URL,URL/],
      [["run", "--prefill", "nonsense"], 2, /"nonsense": Input should be a valid URL/],
      [["run", "missing.yaml"], 1, /missing\.yaml: there is no such file/],
      [["run", "examples/serve_pd_config.yaml"], 1, /endpoints/],
      [["run", "--prefill", "http://127.0.0.1:9", "--decode", "http://127.0.0.1:9"], 1, /can't be reached/],
      [["run", "--api-key-env", "SERVE_LLM_NOT_SET"], 1, /SERVE_LLM_NOT_SET .* is not set/],
      [["mock", "--jitter", "2"], 2, /Give a number from 0 to 1/],
      [["demo", "--dashboard", "status"], 2, /Give a path that begins with a slash/],
      [["demo", "--port", "99999"], 2, /Give a port from 0 to 65535/],
      [["dmeo"], 2, /Did you mean demo/],
    ];
    await Promise.all(
      cases.map(async ([args, code, message]) => {
        await using command = new CliProcess(args);
        expect(await command.end(), args.join(" ")).toBe(code);
        expect(command.stderr).toMatch(message);
        expect(command.stderr).not.toMatch(/^ +at /m);
        expect(command.stdout).toBe("");
      }),
    );
  });

  it("names engines that serve different models", async () => {
    const mock = ["mock", "--port", "0", "--json", "--model"];
    await using one = new CliProcess([...mock, "one"]);
    await using other = new CliProcess([...mock, "other"]);
    const urls = await Promise.all([one.event("listening"), other.event("listening")]);
    const [prefill, decode] = urls.map((line) => String(line["url"]));
    await using run = new CliProcess(["run", "--prefill", `${prefill}`, "--decode", `${decode}`]);
    expect(await run.end()).toBe(1);
    expect(run.stderr).toBe(
      "Error: Prefill and decode engines do not serve the same model:\n" +
        `  ${prefill} serves one\n  ${decode} serves other\n`,
    );
  });
});

describe("serve-llm demo", () => {
  it("answers its own requests, and every KV handle is used once", async () => {
    await using demo = new CliProcess(["demo", "--port", "0", "--once", "6", "--itl-ms", "1", "--json"]);
    expect(await demo.end()).toBe(0);
    expect(await demo.event("stopped")).toMatchObject({
      balanced: true,
      kv: { issued: 6, consumed: 6, unused: 0, open: 0, refused: 0 },
    });
  });

  it("serves the status page when asked, and sends requests of its own to show on it", async () => {
    await using demo = new CliProcess([
      "demo",
      "--port",
      "0",
      "--itl-ms",
      "0",
      "--json",
      "--dashboard",
      "--rate",
      "50",
    ]);
    const page = String((await demo.event("listening"))["dashboard"]);
    expect(page).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/dashboard$/);
    expect(await (await fetch(page)).text()).toContain("<title>serve-llm</title>");
    const events = (await fetch(`${page}/events`)).body!.getReader();
    const decoder = new TextDecoder();
    let told = "";
    while (!told.includes('"outcome":"success"'))
      told += decoder.decode((await events.read()).value, { stream: true });
    await events.cancel();
    expect(await demo.end("SIGINT")).toBe(0);
    expect(await demo.event("stopped")).toMatchObject({ balanced: true });
  });

  it("prints a curl line that works, and stops on Ctrl-C", async () => {
    await using demo = new CliProcess(["demo", "--port", "0", "--itl-ms", "0"]);
    const url = await invitation(demo);
    expect(demo.stdout).toContain("curl -N");
    expect(await chat(url, "demo-model")).toBe(mockAnswer({ messages }));
    expect(await demo.end("SIGINT")).toBe(0);
    expect(demo.stdout).toMatch(/KV ledger: 1 issued, 1 consumed, 0 unused, 0 refused: balanced/);
  });

  it("names a way out when its port is in use", async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    try {
      const { port } = server.address() as AddressInfo;
      await using demo = new CliProcess(["demo", "--port", String(port)]);
      expect(await demo.end()).toBe(1);
      expect(demo.stderr).toContain(`Port ${port} on 127.0.0.1 is in use by another process`);
      expect(demo.stderr).toContain("--port 0");
    } finally {
      await new Promise((resolve) => server.close(resolve));
    }
  });
});

async function invitation(demo: CliProcess): Promise<string> {
  for (;;) {
    const url = /curl (http:\/\/[^/]+)/.exec(demo.stdout)?.[1];
    if (url !== undefined) return url;
    await demo.output();
  }
}
