import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";

import type { Discovery, DiscoveryContext, EndpointsInit } from "../config/endpoint.ts";
import { LLMConfig } from "../config/llm-config.ts";
import { FakeClock } from "../testing/fake-clock.ts";
import { endpointDiscovery } from "./endpoint-discovery.ts";

const folder = mkdtempSync(join(tmpdir(), "endpoints-"));
const path = join(folder, "engines.yaml");
writeFileSync(path, "- http://a:8000\n- { url: http://b:8000, pair_group: x }\n");

afterAll(() => rmSync(folder, { recursive: true }));

const config = (endpoints: unknown): LLMConfig =>
  new LLMConfig({ modelLoadingConfig: { modelId: "m" }, endpoints: endpoints as EndpointsInit });

const context: DiscoveryContext = {
  deployment: "D",
  clock: new FakeClock(),
  random: { next: () => 0.5, id: () => "0".repeat(32) },
  warn: () => undefined,
};

async function first(discovery: Discovery): Promise<readonly string[]> {
  const stop = new AbortController();
  try {
    for await (const list of discovery(stop.signal, context)) return list.map(({ url }) => url);
    return [];
  } finally {
    stop.abort();
  }
}

describe("endpoints of a configuration", () => {
  it("are a list, a function, or a source by its name", async () => {
    const source: Discovery = async function* discover() {
      yield [{ url: "http://c:1" }];
    };
    for (const [endpoints, urls] of [
      [["http://a:1/v1"], ["http://a:1"]],
      [source, ["http://c:1"]],
      [{ file: { path } }, ["http://a:8000", "http://b:8000"]],
      [{ file: { path, poll_ms: 1_000 } }, ["http://a:8000", "http://b:8000"]],
    ] as const) {
      expect(await first(endpointDiscovery(config(endpoints).endpoints!))).toEqual(urls);
    }
  });

  it("say what is wrong with a source, where it is known first", () => {
    expect(() => config({ dns: {}, file: {} })).toThrow(/one source.*got an object with dns, file/s);
    expect(() => config({ etcd: {} })).toThrow(/one of \{ dns: /);
    expect(() => config({ dns: "prefill.svc" })).toThrow(/endpoints\.dns.*are an object/s);
    expect(() => config(7)).toThrow(/a source of them/);
    const made = (endpoints: unknown) => () => endpointDiscovery(config(endpoints).endpoints!);
    expect(made({ dns: { hostname: "prefill.svc" } })).toThrow(/port/);
    expect(made({ file: { paht: "x" } })).toThrow(/path/);
  });

  it("stay in what a configuration shows of itself, without keys", () => {
    const shown = (endpoints: unknown): unknown => config(endpoints).toJSON()["endpoints"];
    expect(shown({ file: { path: "x" } })).toEqual({ file: { path: "x" } });
    expect(shown([{ url: "http://a:1", apiKey: "secret" }])).toEqual([{ url: "http://a:1" }]);
    expect(shown(async function* none() {})).toBeUndefined();
  });
});
