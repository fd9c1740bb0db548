import http from "node:http";
import { isDeepStrictEqual } from "node:util";
import express from "express";
import { buildPdOpenaiApp, type EndpointInit, LLMConfig } from "../../src/index.ts";
import { FakeClock, mockAnswer, MockVLLMEngine } from "../../src/testing/index.ts";

/** What snippets take as given, for the compiler. {@link giveValues} has the values. */
export const given = `
import type * as main from "serve-llm";
import type * as testing from "serve-llm/testing";
declare global {
  const http: typeof import("node:http");
  const express: typeof import("express");
  const app: main.Application<main.OpenAiIngress>;
  const messages: main.ChatMessage[];
  const prefill: testing.MockVLLMEngine;
  const decode: testing.MockVLLMEngine;
  const MockVLLMEngine: typeof testing.MockVLLMEngine;
  const FakeClock: typeof testing.FakeClock;
  const reply: string;
  function expect(value: unknown): { toBe(expected: unknown): void };
}
`;

const model = "llama-8b";
const messages = [{ role: "user", content: "Hello!" }];

/** Engines that stand for those of the snippets. */
export interface GivenEngines {
  readonly prefill: readonly MockVLLMEngine[];
  readonly decode: readonly MockVLLMEngine[];
}

export async function startEngines(): Promise<GivenEngines> {
  const two = (role: "prefill" | "decode"): readonly MockVLLMEngine[] =>
    Array.from({ length: 2 }, () => new MockVLLMEngine({ role, model }));
  const engines = { prefill: two("prefill"), decode: two("decode") };
  await Promise.all([...engines.prefill, ...engines.decode].map((engine) => engine.start()));
  return engines;
}

/** Replicas have the names that they have in the pages. */
const named = (letter: string, engines: readonly MockVLLMEngine[]): EndpointInit[] =>
  engines.map(({ url }, index) => ({ url, name: `${letter}${index}:8000` }));

/** Puts what {@link given} declares into the global scope, new for each snippet: some stop what they were given. */
export async function giveValues({ prefill, decode }: GivenEngines): Promise<void> {
  const config = new LLMConfig({
    modelLoadingConfig: { modelId: model },
    engineKwargs: { kv_transfer_config: { kv_connector: "NixlConnector", kv_role: "kv_both" } },
    endpoints: named("p", prefill),
  });
  const own = { prefill: new MockVLLMEngine({ model }), decode: new MockVLLMEngine({ model }) };
  await Promise.all([own.prefill.start(), own.decode.start()]);
  const app = buildPdOpenaiApp({
    prefillConfig: config,
    decodeConfig: config.with({ endpoints: named("d", decode) }),
  });
  await app.start();
  Object.assign(globalThis, {
    http,
    express,
    messages,
    MockVLLMEngine,
    FakeClock,
    ...own,
    app,
    reply: mockAnswer({ messages }),
    expect: (value: unknown) => ({
      toBe(expected: unknown) {
        if (!isDeepStrictEqual(value, expected))
          throw new Error(`expected ${JSON.stringify(expected)}, got ${JSON.stringify(value)}`);
      },
    }),
  });
}

/**
 * Puts engines and ports that are there in the place of those that a snippet names: hosts that begin with `p`, and
 * ports from 8100, are prefill's; hosts that begin with `d`, and ports from 8200, are decode's.
 */
export function withRealAddresses(code: string, { prefill, decode }: GivenEngines): string {
  return code
    .replaceAll(/http:\/\/([a-z0-9][\w.-]*):(\d+)/g, (url, host: string, port: string) => {
      const pool =
        host.startsWith("p") || port.startsWith("81")
          ? prefill
          : host.startsWith("d") || port.startsWith("82")
            ? decode
            : [];
      const index = Number(/(\d)\D*$/.exec(host)?.[1] ?? 0) % 2;
      return pool[index]?.url ?? url;
    })
    .replaceAll(/(listen\(|serve\.run\([^)]*port: )\d+/g, "$10");
}
