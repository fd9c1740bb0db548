import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, it } from "vitest";

import { mockAnswer } from "../testing/mock-answer.ts";
import { MockVLLMEngine } from "../testing/mock-vllm-engine.ts";
import { loadConfig } from "./load-config.ts";
import { serve } from "./serve.ts";

const messages = [{ role: "user", content: "Which application is this?" }];

function application(name: string, routePrefix: string, engine: MockVLLMEngine): Record<string, unknown> {
  const model_loading_config = { model_id: name };
  return {
    name,
    route_prefix: routePrefix,
    import_path: "ray.serve.llm:build_openai_app",
    args: { llm_configs: [{ model_loading_config, endpoints: [engine.url] }] },
  };
}

describe("serve.runConfig", () => {
  it("serves every application under its prefix, and leaves nothing behind", async () => {
    await using one = new MockVLLMEngine({ model: "one" });
    await using two = new MockVLLMEngine({ model: "two" });
    await Promise.all([one.start(), two.start()]);
    const source = {
      http_options: { root_path: "/llm" },
      applications: [application("one", "/", one), application("two", "/two", two)],
    };
    const running = await serve.runConfig(source, { port: 0 });
    const get = (path: string): Promise<Response> =>
      fetch(`http://127.0.0.1:${running.port}${path}`, { headers: { connection: "close" } });
    try {
      const ids = async (path: string): Promise<readonly string[]> => {
        const { data } = (await (await get(path)).json()) as { data: { id: string }[] };
        return data.map(({ id }) => id);
      };
      expect(running.url).toBe(`http://127.0.0.1:${running.port}/llm`);
      expect(await ids("/llm/v1/models")).toEqual(["one"]);
      expect(await ids("/llm/two/v1/models?a=/b")).toEqual(["two"]);
      for (const path of ["/v1/models", "/llmx/v1/models", "/"]) {
        const response = await get(path);
        expect(response.status, path).toBe(404);
        expect(await response.json()).toMatchObject({ error: { code: "unknown_route" } });
      }
      const { applications } = serve.status();
      expect(Object.entries(applications).map(([name, { status }]) => [name, status])).toEqual([
        ["one", "RUNNING"],
        ["two", "RUNNING"],
      ]);
      const answer = await running.applications[1]!.app.handle.chat({ model: "two", messages });
      expect(answer.choices[0]?.message.content).toBe(mockAnswer({ messages }));
    } finally {
      await serve.shutdown({ graceMs: 0 });
    }
    await expect(get("/llm/v1/models")).rejects.toThrow();
    expect(serve.status()).toEqual({ applications: {} });
    expect([one.openResponses, two.openResponses]).toEqual([0, 0]);
  });

  it("stops what it started when it can't listen", async () => {
    await using engine = new MockVLLMEngine({ model: "one" });
    await engine.start();
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
    try {
      const config = loadConfig({ applications: [application("one", "/", engine)] });
      const { port } = taken.address() as AddressInfo;
      await expect(serve.runConfig(config, { port })).rejects.toMatchObject({ code: "EADDRINUSE" });
      expect(config.applications[0]?.app.status().status).toBe("NOT_STARTED");
      expect(serve.status()).toEqual({ applications: {} });
    } finally {
      await new Promise((resolve) => taken.close(resolve));
    }
  });
});
