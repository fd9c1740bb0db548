import { execFile } from "node:child_process";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { mockAnswer } from "../src/testing/index.ts";
import { loadConfig } from "../src/builders/load-config.ts";

const root = join(import.meta.dirname, "..");
const folder = join(root, "examples");
const answer = mockAnswer({ messages: [{ role: "user", content: "Say something." }] });
const script = ["--import", "tsx"];

interface Example {
  /** What starts it, after `node`. @default tsx, the file, `--once` */
  readonly args?: readonly string[];
  /** What it must print. */
  readonly prints: readonly string[];
}

/** Every example that is a program, by its path in examples/. A folder's program is its `main.ts`. */
const examples: Readonly<Record<string, Example>> = {
  "node-http.ts": { prints: [`answered: ${answer}`] },
  "express.ts": {
    prints: [`/llm answered: ${answer}`, `/compressed answered: ${answer}`, "/hello answered: hello"],
  },
  "fastify.ts": { prints: [`answered: ${answer}`, "/hello answered: hello"] },
  "koa.ts": { prints: [`answered: ${answer}`, "/hello answered: hello"] },
  "hono.ts": { prints: [`answered: ${answer}`, `/llm answered: ${answer}`, "/hello answered: hello"] },
  "nestjs/main.ts": {
    args: ["node_modules/tsx/dist/cli.mjs", "--tsconfig", "examples/nestjs/tsconfig.json"],
    prints: [`answered: ${answer}`, `/ask answered: ${answer}`],
  },
  "fetch.ts": { prints: [`whole:   ${answer}`, "the last of them data: [DONE]", "/hello:  hello"] },
  "in-process.ts": { prints: [`whole:   ${answer}`, `streamed: ${answer}`] },
  "ai-sdk.ts": { prints: [`generateText: ${answer}`, `streamText:   ${answer}`] },
  "component-api.ts": { prints: [`answered: ${answer}`] },
  "custom-ingress.ts": {
    prints: [
      `answered: ${answer}`,
      "nobody's key: 401 invalid_api_key",
      'GET /v1/usage: {"acme":{"requests":1}}',
      'POST /sleep: {"ops":200,"acme":403}',
    ],
  },
  "custom-proxy.ts": {
    prints: ["long-1: mode=pd", "short-1: mode=decode-only; reason=custom", "budget: 400 limit_exceeded"],
  },
  "dp-pd.ts": {
    prints: [
      "Prefill:llama-8b has ranks 0, 1",
      "Decode:llama-8b has ranks 0, 1, 2, 3",
      `answered: ${answer}`,
    ],
  },
  "autoscaling.ts": {
    prints: [
      "Decode:llama-8b wants 3",
      "Prefill:llama-8b wants 1",
      "none failed",
      "All engines are stopped.",
    ],
  },
  "custom-router.ts": { prints: ["prefills in zone a, zone b: 0, 4"] },
  "custom-connector.ts": { prints: ["both sides were told the same key: true"] },
  "several-routers/main.ts": {
    prints: ["12 of 12 conversations stayed on one prefill engine over both routers"],
  },
  "tenants.ts": {
    prints: [`answered: ${answer}`, "nobody's: 401", "key-of-trial: 429", "still running: 0"],
  },
  "chat-back-end/node-test.ts": { prints: ["# pass 3", "# fail 0"] },
  "chat-back-end/chat-back-end.vitest.ts": {
    args: ["node_modules/vitest/vitest.mjs", "run", "--root", "examples/chat-back-end", "--no-color"],
    prints: ["2 passed"],
  },
  "chat-back-end/chat-back-end.jest.ts": {
    args: ["node_modules/jest/bin/jest.js", "--config", "examples/chat-back-end/jest.config.cjs"],
    prints: ["2 passed, 2 total"],
  },
};

/** Paths below examples/ that are no programs of their own: what programs share, and what other tests try. */
const parts = /^(app|engines|gzip)\.ts$|^chat-back-end\/(chat-back-end|vitest\.config)\.ts$|^nextjs\//;

const paths = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((path) =>
  statSync(join(folder, path)).isFile(),
);

describe("the examples", () => {
  it("are all tried here", () => {
    // In a folder of one program every other file is a part of it.
    const programs = paths.filter(
      (path) =>
        path.endsWith(".ts") &&
        !parts.test(path) &&
        (!path.includes("/") || path.endsWith("/main.ts") || path.startsWith("chat-back-end/")),
    );
    expect(programs.sort()).toEqual(Object.keys(examples).sort());
  });

  it("each have a line in examples/README.md", () => {
    const page = readFileSync(join(folder, "README.md"), "utf8");
    const missing = [...Object.keys(examples), ...paths.filter((path) => path.endsWith(".yaml"))].filter(
      (path) => !page.includes(`](${path})`),
    );
    expect(missing).toEqual([]);
  });

  it.concurrent.each(Object.entries(examples))("%s runs", async (path, { args, prints }) => {
    const runs = /\.(vitest|jest)\.ts$/.test(path);
    const started = [...(args ?? script), ...(runs ? [] : [join("examples", path), "--once"])];
    const { stdout, stderr } = await promisify(execFile)(process.execPath, started, { cwd: root });
    for (const text of prints) expect(`${stdout}${stderr}`).toContain(text);
  });

  it("in NestJS's kind of TypeScript have right types", async () => {
    const tsc = join("node_modules", "typescript", "bin", "tsc");
    const { stdout } = await promisify(execFile)(process.execPath, [tsc, "-p", "examples/nestjs"], {
      cwd: root,
    });
    expect(stdout).toBe("");
  });

  it("the Next.js route answers its methods", async () => {
    const { GET, POST } = await import("../examples/nextjs/app/v1/[...path]/route.ts");
    const { stopApp } = await import("../examples/app.ts");
    try {
      const models = await GET(new Request("http://localhost:3000/v1/models"));
      expect(await models.json()).toMatchObject({ data: [{ id: "llama-8b" }] });
      const chat = (body: object): Promise<Response> =>
        POST(
          new Request("http://localhost:3000/v1/chat/completions", {
            method: "POST",
            headers: { "content-type": "application/json" },
            body: JSON.stringify(body),
          }),
        );
      const messages = [{ role: "user", content: "Say something." }];
      const whole = await chat({ model: "llama-8b", messages });
      expect(await whole.json()).toMatchObject({ choices: [{ message: { content: answer } }] });
      const stream = await chat({ model: "llama-8b", messages, stream: true });
      expect(await stream.text()).toMatch(/data: \[DONE\]\n\n$/);
      expect((await chat({ model: "other", messages })).status).toBe(404);
    } finally {
      await stopApp();
    }
  });

  it("serve_pd_config.yaml loads", () => {
    const { applications, notes } = loadConfig(join(folder, "serve_pd_config.yaml"), {
      prefill: ["http://prefill:8000"],
      decode: ["http://decode:8000"],
    });
    expect(applications.map(({ name, routePrefix }) => [name, routePrefix])).toEqual([["llm_pd_app", "/"]]);
    expect(notes).toEqual(
      ["prefill_config", "decode_config"].map((side) =>
        expect.stringContaining(`${side}: deployment_config: autoscaling_config has no effect`),
      ),
    );
  });
});
