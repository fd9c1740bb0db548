import { type ChildProcess, spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { mockAnswer } from "../src/testing/index.ts";
import { snippetsOf, textOf } from "./snippets/pages.ts";
import { type InstalledPackage, installPackage } from "./support/installed-package.ts";

// What README.md tells a newcomer to do, done: in an empty project with Express and the packed package.

let project: InstalledPackage;
let baseUrl = "";
const running: ChildProcess[] = [];

beforeAll(async () => {
  project = installPackage(["express"]);
  const ports = { "8000": await freePort(), "8100": await freePort(), "8200": await freePort() };
  const here = (text: string): string =>
    text.replaceAll(/\b(8000|8100|8200)\b/g, (port) => String(ports[port as keyof typeof ports]));
  const block = snippetsOf("README.md").find(({ code }) => code.startsWith("// server.mjs\n"))!;
  writeFileSync(join(project.folder, "server.mjs"), here(block.code));
  const commands = [...textOf("README.md").matchAll(/^(npx serve-llm mock .*|node server\.mjs)$/gm)];
  expect(commands).toHaveLength(3);
  for (const [, command] of commands) start(here(command!));
  baseUrl = `http://127.0.0.1:${ports["8000"]}`;
  await Promise.all(Object.values(ports).map((port) => listening(port)));
});

afterAll(async () => {
  await Promise.all(
    running.map(async (child) => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGKILL");
      await ended;
    }),
  );
  project[Symbol.dispose]();
});

function start(command: string): void {
  const [name, ...args] = command.replace(/^npx serve-llm/, "node_modules/.bin/serve-llm").split(" ");
  const path = name === "node" ? process.execPath : join(project.folder, name!);
  running.push(spawn(path, args, { cwd: project.folder, stdio: "ignore" }));
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Tries to connect until somebody listens; the hook's time limit ends it. */
async function listening(port: number): Promise<void> {
  for (;;) {
    const answer = await fetch(`http://127.0.0.1:${port}/`).catch(() => undefined);
    await answer?.body?.cancel();
    if (answer !== undefined) return;
    if (running.some(({ exitCode }) => exitCode !== null)) throw new Error("A command of README.md ended");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

describe("a newcomer who follows README.md", () => {
  it("gets the answer to the curl line", async () => {
    const [, body] = /curl http:\/\/127\.0\.0\.1:8000\/v1\/chat\/completions.*\\\n {2}-d '(.*)'/.exec(
      textOf("README.md"),
    )!;
    const response = await fetch(`${baseUrl}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: body!,
    });
    expect(response.status).toBe(200);
    const expected = mockAnswer({ messages: [{ role: "user", content: "Hello!" }] });
    expect(await response.json()).toMatchObject({ choices: [{ message: { content: expected } }] });
  });

  it("keeps the pages of their own server", async () => {
    expect(await (await fetch(`${baseUrl}/`)).text()).toBe("my own page");
  });

  it("streams with the openai client", async () => {
    const client = new OpenAI({ baseURL: `${baseUrl}/v1`, apiKey: "any", maxRetries: 0 });
    const messages = [{ role: "user" as const, content: "And now?" }];
    const stream = await client.chat.completions.create({ model: "llama-8b", messages, stream: true });
    let text = "";
    for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? "";
    expect(text).toBe(mockAnswer({ messages }));
  });
});
