import express, { type RequestHandler } from "express";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { gzip } from "../examples/gzip.ts";
import { chat, modelRequests, pdFixture, type PDFixture, serveListener } from "./door-fixtures.ts";
import { contentOf } from "./mock-engine-client.ts";

let fixture: PDFixture;

beforeEach(async () => {
  fixture = await pdFixture();
});

afterEach(async () => {
  await fixture[Symbol.asyncDispose]();
});

/** A middleware that compresses streams too, whatever they say. */
const withoutCacheControl: RequestHandler = (_request, response, next) => {
  const setHeader = response.setHeader.bind(response);
  response.setHeader = (name, value) =>
    name.toLowerCase() === "cache-control" ? response : setHeader(name, value);
  next();
};

describe("behind a compressing middleware", () => {
  it("whole answers are compressed, and right", async () => {
    await using door = await serveListener(express().use(gzip, express.json(), fixture.app.handler));
    const response = await door.ask("/v1/chat/completions", chat({ max_tokens: 8 }));
    expect(response.headers.get("content-encoding")).toBe("gzip");
    const body = (await response.json()) as { choices: { message: { content: string } }[] };
    expect(body.choices[0]!.message.content.split(" ")).toHaveLength(8);
  });

  it.each([
    ["that heeds no-transform", [gzip], null],
    ["that compresses every answer", [gzip, withoutCacheControl], "gzip"],
  ])("one %s, events arrive while the engine still works", async (_name, before, encoding) => {
    fixture.decode.injectFault({
      match: { phase: "decode" },
      fault: { kind: "stallAfterTokens", tokens: 3 },
    });
    await using door = await serveListener(express().use(...before, express.json(), fixture.app.handler));
    const controller = new AbortController();
    const response = await door.ask("/v1/chat/completions", {
      ...chat({ stream: true, max_tokens: 8 }),
      signal: controller.signal,
    });
    expect(response.headers.get("content-encoding")).toBe(encoding);
    const decoder = new TextDecoder();
    let text = "";
    // Never ends when the middleware holds events back: the engine sends no fourth token.
    for await (const chunk of response.body!) {
      text += decoder.decode(chunk, { stream: true });
      if (contentOf(text.slice(0, text.lastIndexOf("\n\n") + 2)).split(" ").length === 3) break;
    }
    controller.abort();
    await fixture.decode.idle();
    expect(modelRequests(fixture.decode).at(-1)?.abortedAt).toBeDefined();
  });
});
