import { deepStrictEqual } from "node:assert/strict";

import { PrefixCacheAffinityRouter } from "../../../src/routing/prefix-cache-affinity-router.ts";
import { PrefixTree } from "../../../src/routing/prefix-tree.ts";
import { promptText } from "../../../src/routing/prompt-text.ts";
import type { PendingRequest, ReplicaView } from "../../../src/routing/request-router.ts";
import type { GoldenCase } from "../golden-case.ts";

/**
 * Checks one case of `prefix-tree.jsonl`; throws when the library does something else than was recorded.
 *
 * Ours by rule, where Ray's behaviour is marked as a defect:
 * - a request without text goes by power of two instead of failing with a ZeroDivisionError;
 * - the group of smallest replicas is restricted to the candidates;
 * - load decides alone beyond a gap of 10 requests by default.
 *
 * Ray probes queue lengths it does not know; here the number in flight is always known, so that a probe's answer is
 * taken as that number, and a failed probe as nothing known (0).
 */
export function check(kase: GoldenCase): void {
  const input = kase.input as TreeInput | RouterInput;
  if ("ops" in input) checkTree(input, kase.expect as TreeExpectation);
  else checkRouter(input, kase.expect as RouterExpectation);
}

type Operation = readonly [kind: string, ...args: unknown[]];

interface TreeInput {
  readonly ops: readonly Operation[];
}

interface RecordedNode {
  readonly text: string;
  readonly tenants: Readonly<Record<string, number>>;
  readonly children: readonly RecordedNode[];
}

interface TreeExpectation {
  readonly results: readonly unknown[];
  readonly final: {
    readonly char_count: Readonly<Record<string, number>>;
    readonly tree: RecordedNode;
    readonly lru_oldest_last: Readonly<Record<string, readonly string[]>>;
  };
}

function checkTree(input: TreeInput, expected: TreeExpectation): void {
  const tree = new PrefixTree();
  const results = input.ops.map((operation) => perform(tree, operation));
  deepStrictEqual(results, expected.results);
  const names = tree.tenants;
  deepStrictEqual(
    Object.fromEntries(names.map((name) => [name, tree.charCount(name)])),
    expected.final.char_count,
  );
  deepStrictEqual(sorted(tree.snapshot()), sorted(expected.final.tree));
  deepStrictEqual(
    Object.fromEntries(names.map((name) => [name, tree.recency(name)])),
    expected.final.lru_oldest_last,
  );
}

function perform(tree: PrefixTree, [kind, ...args]: Operation): unknown {
  switch (kind) {
    case "add":
      tree.addTenants(args[0] as string[], args[1] as number);
      return null;
    case "insert":
      tree.insert(args[0] as string, args[1] as string, args[2] as number);
      return null;
    case "match": {
      const text = args[0] as string;
      const match = tree.match(text, args[1] as string[] | undefined);
      return { matched_text: text.slice(0, match.matchedUnits), tenants: match.tenants ?? null };
    }
    case "remove":
      return tree.removeTenants(args[0] as string[]);
    case "evict":
      return tree.evict(args[0] as string, args[1] as number);
    case "smallest": {
      const smallest = tree.smallestTenants();
      return smallest.length === 0 ? null : smallest;
    }
    default:
      throw new Error(`unknown operation ${kind}`);
  }
}

/** Children have no order of their own. */
function sorted(node: RecordedNode): RecordedNode {
  const children = node.children.map(sorted).sort((a, b) => (a.text < b.text ? -1 : 1));
  return { text: node.text, tenants: node.tenants, children };
}

interface RecordedReplica {
  readonly id: string;
  readonly queue_len: number | null;
  readonly probed_queue_len?: number | null;
}

interface RouterInput {
  readonly replicas: readonly RecordedReplica[];
  readonly request: { readonly prompt?: unknown; readonly messages?: unknown };
  readonly history?: readonly (readonly [text: string, replicaId: string])[];
  readonly candidates?: readonly string[];
  readonly imbalanced_threshold?: number;
  readonly match_rate_threshold?: number;
}

interface RouterExpectation {
  readonly ok: boolean;
  readonly text?: string;
  readonly choice?: readonly string[] | "fallback";
}

function checkRouter(input: RouterInput, expected: RouterExpectation): void {
  const { replicas: recorded, request, history = [], candidates, ...options } = input;
  const router = new PrefixCacheAffinityRouter({
    random: () => 0.5,
    now: () => 0,
    kwargs: Object.fromEntries(Object.entries(options).filter(([key]) => key.endsWith("_threshold"))),
  });
  const replicas = recorded.map(replicaOf);
  router.updateReplicas(replicas);
  for (const [text, replicaId] of history) router.onRequestRouted(requestOf(text), replicaId);

  const text = promptText(request);
  if (expected.ok) deepStrictEqual(text ?? "", expected.text);
  const eligible = replicas.filter((replica) => candidates === undefined || candidates.includes(replica.id));
  const ranks = router.chooseReplicas(eligible, requestOf(text));
  const group = (ranks[0] ?? []).map((replica) => replica.id).sort();

  const loads = eligible.map((replica) => replica.inFlight);
  const isImbalanced = Math.max(...loads) - Math.min(...loads) > (input.imbalanced_threshold ?? 10);
  if (text === undefined || isImbalanced || expected.choice === "fallback") {
    deepStrictEqual(ranks, ranksByLoadAlone(eligible));
    return;
  }
  const isEligible = (id: string): boolean => eligible.some((replica) => replica.id === id);
  const recordedGroup = (expected.choice ?? []).filter(isEligible);
  const tree = new PrefixTree();
  tree.addTenants(
    recorded.map((replica) => replica.id),
    0,
  );
  for (const [seen, replicaId] of history) tree.insert(seen, replicaId, 0);
  deepStrictEqual(
    group,
    recordedGroup.length > 0 ? [...recordedGroup].sort() : tree.smallestTenants(eligible.map(({ id }) => id)),
  );
}

/** What the same router does without any text: power of two. */
function ranksByLoadAlone(replicas: readonly ReplicaView[]): readonly (readonly ReplicaView[])[] {
  const router = new PrefixCacheAffinityRouter({ random: () => 0.5, now: () => 0, kwargs: {} });
  return router.chooseReplicas(replicas, requestOf(undefined));
}

function replicaOf(recorded: RecordedReplica): ReplicaView {
  return {
    id: recorded.id,
    inFlight: recorded.queue_len ?? recorded.probed_queue_len ?? 0,
    maxOngoingRequests: 1e9,
    multiplexedModelIds: new Set(),
    labels: {},
  };
}

function requestOf(text: string | undefined): PendingRequest {
  return { requestId: "r", modelId: "m", attempt: 0, promptText: () => text };
}
