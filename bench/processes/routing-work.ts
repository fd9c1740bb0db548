// What choosing a replica costs, for every routing policy.
import { scanJsonObject } from "../../src/protocol/json-object-index.ts";
import { promptText } from "../../src/routing/prompt-text.ts";
import type { PendingRequest, ReplicaView } from "../../src/routing/request-router.ts";
import { createRequestRouter } from "../../src/routing/router-registry.ts";
import { requestBody } from "../bodies.ts";

/** One policy, pool and prompt. */
export interface RoutingWork {
  /** `reading the prompt` is what comes before a policy that looks at it; no policy's own figure includes it. */
  readonly policy: string;
  readonly replicas: number;
  readonly promptBytes: number;
  /** Microseconds a request; one value for each round. */
  readonly microseconds: readonly number[];
}

const policies = [
  "power-of-two",
  "round-robin",
  "least-loaded",
  "prefix-cache-affinity",
  "consistent-hash",
  "session-affinity",
  "kv-pressure",
];

/** Milliseconds for each round; as long again goes by before the first one, or the compiler is what is measured. */
const budgetMs = Number(process.argv[2]);
const rounds = 3;

interface MutableReplica extends ReplicaView {
  inFlight: number;
}

function pool(size: number): MutableReplica[] {
  return Array.from({ length: size }, (_, index) => ({
    id: `http://10.0.${index >> 8}.${index & 255}:8000`,
    inFlight: index % 7,
    maxOngoingRequests: 1_000_000,
    engineLoad: { running: index % 5, waiting: 0, kvCacheUsage: (index % 10) / 20, atMs: performance.now() },
    multiplexedModelIds: new Set<string>(),
    labels: {},
  }));
}

type ReadRequest = PendingRequest & { readonly read: () => string | undefined };

/** Prompts that share their first half, and sessions. */
function requests(promptBytes: number): ReadRequest[] {
  return Array.from({ length: 16 }, (_, index) => {
    const bytes = requestBody({ bytes: promptBytes });
    // Halfway: prompts with a common beginning are what prefix affinity is for.
    bytes.write(`request ${index} `, bytes.length >> 1);
    const body = scanJsonObject(bytes);
    const read = (): string | undefined => promptText({ messages: body.value("messages") });
    const text = read();
    return {
      requestId: String(index),
      modelId: "bench-model",
      sessionId: `session-${index}`,
      attempt: 0,
      promptText: () => text,
      read,
    };
  });
}

function measure(
  policy: string,
  replicas: MutableReplica[],
  pending: readonly PendingRequest[],
): readonly number[] {
  let seed = 1;
  const router = createRequestRouter(policy, {
    random: () => {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
      return seed / 2 ** 32;
    },
    now: () => performance.now(),
    kwargs: {},
  });
  router.updateReplicas?.(replicas);
  const route = (request: PendingRequest): void => {
    const chosen = router.chooseReplicas(replicas, request)[0]![0] as MutableReplica;
    chosen.inFlight += 1;
    router.onRequestRouted?.(request, chosen.id);
    chosen.inFlight -= 1;
    router.onRequestCompleted?.(request, chosen.id);
  };
  return roundsOf(route, pending);
}

function roundsOf<Item>(work: (item: Item) => void, items: readonly Item[]): readonly number[] {
  const round = (): number => {
    let count = 0;
    const begin = performance.now();
    let elapsed = 0;
    do {
      for (const item of items) work(item);
      count += items.length;
      elapsed = performance.now() - begin;
    } while (elapsed < budgetMs);
    return (elapsed * 1000) / count;
  };
  round();
  return Array.from({ length: rounds }, round);
}

const results: RoutingWork[] = [];
for (const promptBytes of [1024, 100 * 1024, 1024 * 1024]) {
  const pending = requests(promptBytes);
  results.push({
    policy: "reading the prompt",
    replicas: 0,
    promptBytes,
    microseconds: roundsOf(({ read }) => void read()?.charCodeAt(0), pending),
  });
  for (const size of [2, 100, 1000]) {
    for (const policy of policies) {
      results.push({
        policy,
        replicas: size,
        promptBytes,
        microseconds: measure(policy, pool(size), pending),
      });
    }
  }
}
console.log(JSON.stringify(results));
