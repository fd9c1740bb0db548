import { isPlainObject } from "./lax-schema.ts";

/** Options as they are before they are checked: camelCase, nested. */
export type OptionTree = Readonly<Record<string, unknown>>;

/** `override` over `base`: objects are merged key by key, everything else is replaced. Ray's `deep_merge_dicts`. */
export function deepMerge(base: OptionTree, override: OptionTree): OptionTree {
  const merged: Record<string, unknown> = { ...base };
  for (const [key, value] of Object.entries(override)) {
    const below = merged[key];
    merged[key] = isPlainObject(below) && isPlainObject(value) ? deepMerge(below, value) : value;
  }
  return merged;
}

/**
 * A user's deployment options over defaults: as {@link deepMerge}, but a fixed `numReplicas` drops the defaults'
 * autoscaling, with which it can't go. Ray's `maybe_apply_llm_deployment_config_defaults`.
 *
 * `numReplicas: null` says nothing about the number, so it drops nothing (in Ray it does).
 */
export function mergeDeploymentDefaults(defaults: OptionTree, user: OptionTree): OptionTree {
  const { autoscalingConfig: _dropped, ...withoutAutoscaling } = defaults;
  const fixed = user["numReplicas"] !== undefined && user["numReplicas"] !== null;
  return deepMerge(fixed ? withoutAutoscaling : defaults, user);
}
