// Entry point `serve-llm/kubernetes`: needs the optional peer @kubernetes/client-node.
export type { ServiceEndpoint } from "./endpoint-slices.ts";
export { kubernetesDiscovery, type KubernetesDiscoveryOptions } from "./kubernetes-discovery.ts";
export { kubernetesScaleTarget, type KubernetesScaleOptions } from "./kubernetes-scale-target.ts";
export type { ScalableKind } from "./removal-order.ts";
