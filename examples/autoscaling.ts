// Prefill and decode pools that grow and shrink on their own, with mock engines as processes of this machine.
// Run it: npm run build && npx tsx examples/autoscaling.ts
import { join } from "node:path";
import { buildPdOpenaiApp, type LLMConfigInit, vllmProcesses } from "serve-llm";

const model = "llama-8b";

// In place of `vllm`: a mock engine that takes its command line, and 100 ms for a token. With GPUs leave it out.
const cli = join(import.meta.dirname, "..", "dist", "cli.js");
const command = [process.execPath, cli, "mock-vllm", "--itl-ms", "100"];

const side = (maxReplicas: number): LLMConfigInit => ({
  modelLoadingConfig: { modelId: model },
  engineKwargs: { kv_transfer_config: { kv_connector: "NixlConnector", kv_role: "kv_both" } },
  deploymentConfig: {
    // Seconds where production has minutes.
    autoscalingConfig: {
      minReplicas: 1,
      maxReplicas,
      targetOngoingRequests: 4,
      upscaleDelayS: 1,
      downscaleDelayS: 2,
      lookBackPeriodS: 2,
      metricsIntervalS: 0.5,
    },
  },
  scalingTarget: vllmProcesses({ command, onLine: () => undefined }),
});
const app = buildPdOpenaiApp({ prefillConfig: side(1), decodeConfig: side(3) });
await app.start();

let last = "";
const watch = setInterval(() => {
  const sizes = Object.entries(app.status().deployments).flatMap(
    ([name, { targetReplicas, replicaStates, message }]) =>
      targetReplicas === undefined
        ? []
        : [`${name} wants ${targetReplicas} ${JSON.stringify(replicaStates)} ${message}`],
  );
  const text = sizes.join(" | ");
  if (text !== last) console.log(text);
  last = text;
}, 100);

/** One of twelve clients that ask again and again, until the time is over. */
async function client(number: number): Promise<number> {
  let answered = 0;
  while (performance.now() < untilMs) {
    await app.handle.chat({
      model,
      messages: [{ role: "user", content: `Client ${number}: say something.` }],
    });
    answered += 1;
  }
  return answered;
}

// The first request waits until the first engines are there.
await app.handle.chat({ model, messages: [{ role: "user", content: "Say something." }] });
const untilMs = performance.now() + 8_000;
const answers = await Promise.all(Array.from({ length: 12 }, (_, number) => client(number)));
console.log(`${answers.reduce((sum, each) => sum + each, 0)} requests answered, none failed`);
while (app.status().deployments[`Decode:${model}`]?.targetReplicas !== 1) {
  await new Promise((resolve) => setTimeout(resolve, 100));
}
await app.shutdown();
clearInterval(watch);
console.log("All engines are stopped.");
