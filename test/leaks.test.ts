import { getEventListeners } from "node:events";
import { afterEach, describe, expect, it } from "vitest";
import { mockAnswer } from "../src/testing/index.ts";
import { post, readStream } from "./support/client.ts";
import { model, type PDCluster, startPDCluster } from "./support/pd-cluster.ts";

let cluster: PDCluster | undefined;

afterEach(async () => {
  await cluster?.stop();
  cluster = undefined;
});

const chat = (text: string) => ({
  model,
  messages: [{ role: "user", content: text }],
  max_tokens: 5,
  stream: true,
});

function socketsAndTimers(): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const name of process.getActiveResourcesInfo()) {
    if (/TCP|Timeout/.test(name)) counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}

describe("what is left behind", () => {
  it("1,000 concurrent streams: all right, every KV made and fetched once, nothing left after shutdown", async () => {
    const before = socketsAndTimers();
    cluster = await startPDCluster();
    const { url, prefills, decodes } = cluster;
    const answers = await Promise.all(
      Array.from({ length: 1_000 }, (_, index) =>
        post(`${url}/v1/chat/completions`, chat(`question ${index}`)),
      ),
    );

    for (const [index, answer] of answers.entries()) {
      const reading = readStream(answer.text);
      expect(reading.content).toBe(mockAnswer(chat(`question ${index}`) as never, 5));
      expect(reading.done).toBe(true);
    }
    expect(prefills.reduce((sum, { ledger }) => sum + ledger.consumed, 0)).toBe(1_000);
    for (const { ledger } of [...prefills, ...decodes]) {
      ledger.assertBalanced();
      expect(ledger.rejected).toEqual([]);
    }
    await cluster.stop();
    expect(cluster.engines.reduce((sum, engine) => sum + engine.openSockets, 0)).toBe(0);
    cluster = undefined;
    // Closed handles leave the list one turn of the event loop later.
    await new Promise((resolve) => setImmediate(resolve));
    const after = socketsAndTimers();
    // The client of this test keeps its own connections for a moment; the application and engines keep nothing.
    expect(after["TCPServerWrap"] ?? 0).toBe(before["TCPServerWrap"] ?? 0);
  });

  it("a long-lived AbortSignal keeps no listener of finished calls", async () => {
    cluster = await startPDCluster();
    const { signal } = new AbortController();
    for (let index = 0; index < 50; index += 1) {
      await cluster.app.handle.chat({ ...chat("x"), stream: false }, { signal });
      for await (const chunk of cluster.app.handle.chat({ ...chat("x"), stream: true }, { signal }))
        void chunk;
    }
    expect(getEventListeners(signal, "abort")).toEqual([]);
  });
});
