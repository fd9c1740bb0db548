// A routing policy of your own: engines of the same zone first, the least busy of them before the others.
// Run it: npx tsx examples/custom-router.ts
import {
  buildPdOpenaiApp,
  LLMConfig,
  registerRequestRouter,
  type ReplicaView,
  type RequestRouter,
} from "serve-llm";
import { MockVLLMEngine } from "serve-llm/testing";

/** Prefers replicas labelled with a zone. Chooses, and waits for nothing: it is called for every request. */
class ZoneRouter implements RequestRouter {
  readonly #zone: unknown;

  constructor(zone: unknown) {
    this.#zone = zone;
  }

  chooseReplicas(candidates: readonly ReplicaView[]): readonly (readonly ReplicaView[])[] {
    const byLoad = [...candidates].sort((a, b) => a.inFlight - b.inFlight);
    const near = byLoad.filter(({ labels }) => labels["zone"] === this.#zone);
    const far = byLoad.filter(({ labels }) => labels["zone"] !== this.#zone);
    // Ranks, best first: a far replica is taken when no near one has a free slot.
    return [near, far].filter((rank) => rank.length > 0);
  }
}

// A name for YAML and Ray's spelling; in code `requestRouterClass` takes the factory itself too.
registerRequestRouter("zone", ({ kwargs }) => new ZoneRouter(kwargs["zone"]));

const model = "llama-8b";
const prefills = [
  new MockVLLMEngine({ role: "prefill", model }),
  new MockVLLMEngine({ role: "prefill", model }),
];
const decode = new MockVLLMEngine({ role: "decode", model });
await Promise.all([...prefills, decode].map((engine) => engine.start()));

const prefillConfig = new LLMConfig({
  modelLoadingConfig: { modelId: model },
  engineKwargs: { kv_transfer_config: { kv_connector: "NixlConnector", kv_role: "kv_both" } },
  endpoints: prefills.map(({ url }, index) => ({ url, labels: { zone: index === 0 ? "a" : "b" } })),
  deploymentConfig: {
    requestRouterConfig: { requestRouterClass: "zone", requestRouterKwargs: { zone: "b" } },
  },
});
const decodeConfig = prefillConfig.with({ endpoints: [decode.url], deploymentConfig: {} });
const app = buildPdOpenaiApp({ prefillConfig, decodeConfig });

for (let request = 0; request < 4; request += 1) {
  await app.handle.chat({ model, messages: [{ role: "user", content: `Question ${request}` }] });
}
console.log("prefills in zone a, zone b:", prefills.map(({ ledger }) => ledger.issued).join(", "));

await app.shutdown();
await Promise.all([...prefills, decode].map((engine) => engine.stop()));
