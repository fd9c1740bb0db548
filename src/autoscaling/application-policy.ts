import { ConfigurationError } from "../errors/configuration-error.ts";
import { applyDesired, autoscalingContext, coldStartReplicas, finishDecision } from "./autoscaling-policy.ts";
import type {
  AutoscalingContext,
  AutoscalingDecision,
  AutoscalingInput,
  AutoscalingState,
} from "./autoscaling-policy.ts";

/** What a policy for a whole application wants. */
export interface ApplicationDesiredReplicas {
  /** Replicas by deployment; a deployment that is absent keeps its target. */
  readonly replicas: ReadonlyMap<string, number>;
  /** State by deployment, handed back next time; absent or `null` clears it. */
  readonly state?: ReadonlyMap<string, Readonly<Record<string, unknown>>> | null | undefined;
}

/** Decides for all deployments of an application together. Ray's `applications[].autoscaling_policy`. */
export type ApplicationPolicyFunction = (
  contexts: ReadonlyMap<string, AutoscalingContext>,
) => ApplicationDesiredReplicas;

/** What came of one call of an application's policy. */
export interface ApplicationDecision {
  /** Only the deployments the policy decided on. */
  readonly decisions: ReadonlyMap<string, AutoscalingDecision>;
  /** The next state of every deployment. */
  readonly states: ReadonlyMap<string, AutoscalingState>;
}

/**
 * Runs a policy over every deployment of an application, then factors, delays and bounds on each one alone.
 * Ray's `_apply_app_level_autoscaling_config`.
 *
 * @throws ConfigurationError when the policy names a deployment that is not there, or wants no finite number
 */
export function decideApplicationReplicas(
  inputs: ReadonlyMap<string, AutoscalingInput>,
  policy: ApplicationPolicyFunction,
): ApplicationDecision {
  const contexts = new Map<string, AutoscalingContext>();
  for (const [id, input] of inputs) contexts.set(id, autoscalingContext({ deployment: id, ...input }));

  const desired = policy(contexts);
  checkKnown(desired, contexts);

  const decisions = new Map<string, AutoscalingDecision>();
  const states = new Map<string, AutoscalingState>();
  for (const [id, context] of contexts) {
    const custom = desired.state?.get(id) ?? {};
    const replicas = desired.replicas.get(id);
    if (replicas === undefined) {
      states.set(id, { ...context.state, custom });
      continue;
    }
    const coldStart = coldStartReplicas(context);
    const outcome =
      coldStart === undefined
        ? applyDesired(context, { replicas, state: custom })
        : { replicas: coldStart, state: { ...context.state, custom } };
    const gangSize = inputs.get(id)?.gangSize;
    const decision = finishDecision({ ...outcome, bounds: context.bounds, gangSize });
    decisions.set(id, decision);
    states.set(id, decision.state);
  }
  return { decisions, states };
}

function checkKnown(
  desired: ApplicationDesiredReplicas,
  contexts: ReadonlyMap<string, AutoscalingContext>,
): void {
  const unknown = [...desired.replicas.keys()].filter((id) => !contexts.has(id));
  if (unknown.length === 0) return;
  throw new ConfigurationError(
    "The application's autoscaling policy",
    unknown.map((id) => ({
      path: [id],
      message: `Deployment ${id} is not registered`,
      type: "assertion_error",
      expected: `one of ${[...contexts.keys()].join(", ")}`,
    })),
  );
}
