/** One mock engine in a process of its own: prints its URL, ends with its input. */
import { MockVLLMEngine } from "../src/testing/index.ts";

const engine = new MockVLLMEngine({ role: "prefill", bigIntHandles: true });
await engine.start();
process.stdout.write(`${engine.url}\n`);
process.stdin.resume();
process.stdin.on("end", () => {
  void engine.stop();
});
