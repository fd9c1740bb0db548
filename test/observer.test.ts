import { afterEach, expect, it } from "vitest";
import { Registry } from "prom-client";
import { post } from "./support/client.ts";
import { model, type PDCluster, startPDCluster } from "./support/pd-cluster.ts";

let cluster: PDCluster | undefined;

afterEach(async () => {
  await cluster?.stop();
  cluster = undefined;
});

const chat = { model, messages: [{ role: "user", content: "hi" }], max_tokens: 4 };

it("tells the story of a request by the id of its answer", async () => {
  cluster = await startPDCluster();
  const answer = await post(`${cluster.url}/v1/chat/completions`, chat, {
    headers: { "x-request-id": "my-id" },
  });
  expect(answer.headers["x-request-id"]).toBe("my-id");

  const trace = cluster.app.explain("my-id")!;
  expect(trace).toMatchObject({ mode: "pd", outcome: "success", retries: 0, model });
  expect(trace.legs.map(({ leg }) => leg)).toEqual(["prefill", "decode"]);
  expect(JSON.stringify(trace)).not.toContain('"hi"');
  expect(cluster.app.explain("unknown")).toBeUndefined();
});

it("counts requests and holds in the user's registry, with labels of closed sets", async () => {
  cluster = await startPDCluster();
  const registry = new Registry();
  cluster.app.useMetrics(registry);
  await cluster.app.metrics();
  await post(`${cluster.url}/v1/chat/completions`, chat);
  const series = (text: string): number =>
    text.split("\n").filter((line) => line.startsWith("serve_llm_")).length;
  const before = await registry.metrics();
  expect(before).toMatch(/serve_llm_requests_total\{[^}]*mode="pd"[^}]*outcome="success"[^}]*\} 1/);
  expect(before).toMatch(/serve_llm_kv_holds[^{]*\{[^}]*handed_off[^}]*\} 1/);
  for (let index = 0; index < 50; index += 1) {
    await post(`${cluster.url}/v1/chat/completions`, chat, { headers: { "x-request-id": `id-${index}` } });
    await post(`${cluster.url}/v1/chat/completions`, { ...chat, model: `model-${index}` });
  }
  expect(series(await registry.metrics())).toBe(series(before));
});
