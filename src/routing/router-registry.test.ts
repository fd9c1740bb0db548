import { afterEach, describe, expect, it } from "vitest";

import { ConfigurationError } from "../errors/configuration-error.ts";
import type { PendingRequest, ReplicaView, RequestRouterContext } from "./request-router.ts";
import {
  createRequestRouter,
  isRequestRouterRegistered,
  registerRequestRouter,
  unregisterRequestRouter,
} from "./router-registry.ts";

const context: RequestRouterContext = { random: () => 0, now: () => 0, kwargs: {} };
const request: PendingRequest = { requestId: "r", modelId: "m", attempt: 0 };
const only: ReplicaView = {
  id: "a",
  inFlight: 0,
  maxOngoingRequests: 5,
  multiplexedModelIds: new Set(),
  labels: {},
};

describe("the router registry", () => {
  afterEach(() => unregisterRequestRouter("mine"));

  it.each([
    "ray.serve._private.request_router:PowerOfTwoChoicesRequestRouter",
    "ray.serve.llm.request_router:PrefixCacheAffinityRouter",
    "ray.serve.llm.request_router.PrefixCacheAffinityRouter",
    "ray.serve.experimental.round_robin_router.RoundRobinRouter",
    "ray.serve.experimental.consistent_hash_router.ConsistentHashRouter",
    "ray.serve.experimental.capacity_queue_router:CapacityQueueRouter",
    "RoundRobinRouter",
  ])("knows %s", (path) => {
    expect(isRequestRouterRegistered(path)).toBe(true);
    expect(createRequestRouter(path, context).chooseReplicas([only], request).flat()).toEqual([only]);
  });

  it("takes new ones once", () => {
    registerRequestRouter("mine", () => ({ chooseReplicas: (candidates) => [candidates] }));
    expect(createRequestRouter("mine", context).chooseReplicas([], request)).toEqual([[]]);
    expect(() => registerRequestRouter("mine", () => ({ chooseReplicas: () => [] }))).toThrow(
      ConfigurationError,
    );
  });

  it.each([
    ["round-robbin", /did you mean "round-robin"/],
    ["my.module:PrefixCacheAffinityRouter", /did you mean "PrefixCacheAffinityRouter"/],
    ["ray.serve.llm.request_router:KVAwareRouter", /prefix-cache-affinity/],
    ["zzz", /unknown request router "zzz"/],
  ])("names the nearest to %s", (name, message) => {
    expect(() => createRequestRouter(name, context)).toThrow(message);
  });
});
