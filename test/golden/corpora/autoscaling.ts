import { decideApplicationReplicas } from "../../../src/autoscaling/application-policy.ts";
import { applyScalingFactor, decideReplicas } from "../../../src/autoscaling/autoscaling-policy.ts";
import type { AutoscalingInput, AutoscalingState } from "../../../src/autoscaling/autoscaling-policy.ts";
import { adjustToCapacity, initialTarget, replicaBounds } from "../../../src/autoscaling/replica-bounds.ts";
import type { TargetCapacity } from "../../../src/autoscaling/replica-bounds.ts";
import { RequestMetrics } from "../../../src/autoscaling/request-metrics.ts";
import type { RequestLoad } from "../../../src/autoscaling/request-metrics.ts";
import { aggregateTimeSeries, mergeTimeSeries } from "../../../src/autoscaling/time-series.ts";
import type { TimeSeries } from "../../../src/autoscaling/time-series.ts";
import { parseAutoscalingConfig } from "../../../src/config/autoscaling-config.ts";
import type { AutoscalingConfig } from "../../../src/config/autoscaling-config.ts";
import { same } from "../compare.ts";
import type { GoldenCase } from "../golden-case.ts";

/** Checks one case of `autoscaling.jsonl`; throws when the library does something else than was recorded. */
export function check(kase: GoldenCase): void {
  same({ ok: true, ...run(kase.input as Input) }, kase.expect);
}

type Points = readonly (readonly [number, number])[];

interface HandleInput {
  readonly id?: string;
  readonly source?: "PROXY" | "REPLICA" | "UNKNOWN";
  readonly actor?: string;
  readonly timestamp?: number;
  readonly queued?: number;
  readonly running?: Readonly<Record<string, number>>;
  readonly queued_series?: Points;
  readonly running_series?: Readonly<Record<string, Points>>;
}

interface ReplicaInput {
  readonly id: string;
  readonly timestamp?: number;
  readonly running?: number;
  readonly running_series?: Points;
}

interface DecisionInput {
  readonly kind: "decision";
  readonly config: unknown;
  readonly running: number;
  readonly target: number;
  readonly total?: number;
  readonly now?: number;
  readonly handles?: readonly HandleInput[];
  readonly replicas?: readonly ReplicaInput[];
  readonly aggregate_at_controller?: boolean;
  readonly gang_size?: number;
  readonly target_capacity?: number | null;
  readonly target_capacity_direction?: "UP" | "DOWN" | null;
  readonly policy_state?: Readonly<Record<string, unknown>>;
}

interface TraceInput {
  readonly kind: "trace";
  readonly config: unknown;
  readonly ticks: readonly { readonly t: number; readonly total: number; readonly running?: number }[];
  readonly gang_size?: number;
  readonly target_capacity?: number | null;
  readonly target_capacity_direction?: "UP" | "DOWN" | null;
}

type Input =
  | DecisionInput
  | TraceInput
  | { readonly kind: "capacity"; readonly num_replicas: number; readonly target_capacity: number | null }
  | {
      readonly kind: "scaling_factor";
      readonly desired: number;
      readonly current: number;
      readonly config: unknown;
    }
  | {
      readonly kind: "register";
      readonly registrations: readonly {
        readonly config: unknown;
        readonly current_target: number;
        readonly target_capacity?: number | null;
        readonly target_capacity_direction?: "UP" | "DOWN" | null;
      }[];
    }
  | {
      readonly kind: "merge";
      readonly series: readonly Points[];
      readonly last_window_s: number;
      readonly window_start: number | null;
    }
  | {
      readonly kind: "stale";
      readonly config: unknown;
      readonly handles: readonly HandleInput[];
      readonly checks: readonly (readonly [number, readonly string[]])[];
    }
  | {
      readonly kind: "app_level";
      readonly contexts: Readonly<Record<string, Omit<DecisionInput, "kind">>>;
      readonly policy_returns: {
        readonly desired: Readonly<Record<string, number>>;
        readonly state: Readonly<Record<string, Readonly<Record<string, unknown>>>> | null;
      };
      readonly now: number;
    };

function run(input: Input): Readonly<Record<string, unknown>> {
  switch (input.kind) {
    case "capacity":
      return { adjusted: adjustToCapacity(input.num_replicas, input.target_capacity) };
    case "scaling_factor":
      return {
        scaled: applyScalingFactor(input.desired, input.current, parseAutoscalingConfig(input.config)),
      };
    case "register":
      return {
        targets: input.registrations.map((each) =>
          initialTarget({
            config: parseAutoscalingConfig(each.config),
            capacity: capacityOf(each),
            currentTarget: each.current_target,
            changed: true,
          }),
        ),
      };
    case "merge":
      return runMerge(input.series.map(seriesOf), input.last_window_s, input.window_start);
    case "stale":
      return runStale(parseAutoscalingConfig(input.config), input.handles, input.checks);
    case "decision":
      return runDecision(input);
    case "trace":
      return runTrace(input);
    case "app_level":
      break;
  }
  return runApplication(input.contexts, input.policy_returns, input.now);
}

function runMerge(series: readonly TimeSeries[], lastWindowS: number, windowStartS: number | null) {
  const merged = mergeTimeSeries(series);
  const aggregate = (name: "mean" | "max" | "min") =>
    aggregateTimeSeries(merged, name, { lastWindowS, windowStartS }) ?? null;
  return {
    merged: merged.map((point) => [point.timestampS, point.value]),
    aggregates: { mean: aggregate("mean"), max: aggregate("max"), min: aggregate("min") },
  };
}

function runStale(
  config: AutoscalingConfig,
  handles: readonly HandleInput[],
  checks: readonly (readonly [number, readonly string[]])[],
) {
  const metrics = new RequestMetrics();
  for (const handle of handles) recordHandle(metrics, handle, 0);
  return {
    checks: checks.map(([t, alive]) => {
      metrics.dropStale(config, t, (owner) => alive.includes(owner));
      const load = metrics.load({
        runningReplicaIds: [],
        aggregation: "averages",
        aggregationFunction: config.aggregationFunction,
        nowS: t,
      });
      return { t, handles: [...metrics.handleIds].sort(), total_num_requests: load.total };
    }),
  };
}

function runDecision(input: DecisionInput) {
  const config = parseAutoscalingConfig(input.config);
  const load = loadOf(input, config);
  const decision = decideReplicas(inputOf(input, load, input.now ?? 0));
  const bounds = replicaBounds(config, capacityOf(input));
  return {
    total_num_requests: load.total,
    queued_requests: load.queued,
    decision_before_bounds: decision.beforeBounds,
    decision: decision.replicas,
    lower_bound: bounds.lower,
    upper_bound: bounds.upper,
  };
}

function runTrace(input: TraceInput) {
  const config = parseAutoscalingConfig(input.config);
  const capacity = capacityOf(input);
  // Recorded as Ray registers a new deployment: capacity comes with the first decision.
  let targetReplicas = initialTarget({
    config,
    capacity: { percent: null, direction: null },
    currentTarget: -1,
    changed: true,
  });
  let state: AutoscalingState | undefined;
  return {
    decisions: input.ticks.map((tick) => {
      const decision = decideReplicas({
        config,
        capacity,
        currentReplicas: tick.running ?? targetReplicas,
        targetReplicas,
        totalRequests: tick.total,
        nowS: tick.t,
        state,
        gangSize: input.gang_size,
      });
      targetReplicas = decision.replicas;
      state = decision.state;
      return {
        t: tick.t,
        target: targetReplicas,
        counter: state.decisionCounter,
        timestamp: state.decisionTimestampS,
      };
    }),
  };
}

function runApplication(
  contexts: Readonly<Record<string, Omit<DecisionInput, "kind">>>,
  returns: {
    readonly desired: Readonly<Record<string, number>>;
    readonly state: Readonly<Record<string, Readonly<Record<string, unknown>>>> | null;
  },
  nowS: number,
) {
  const inputs = new Map(
    Object.entries(contexts).map(([id, context]) => {
      const load = loadOf(context, parseAutoscalingConfig(context.config));
      return [id, inputOf(context, load, nowS)] as const;
    }),
  );
  const { decisions, states } = decideApplicationReplicas(inputs, () => ({
    replicas: new Map(Object.entries(returns.desired)),
    state: returns.state === null ? null : new Map(Object.entries(returns.state)),
  }));
  return {
    decisions: Object.fromEntries([...decisions].map(([id, decision]) => [id, decision.replicas])),
    state: Object.fromEntries([...states].map(([id, state]) => [id, policyStateOf(state)])),
  };
}

function inputOf(input: Omit<DecisionInput, "kind">, load: RequestLoad, nowS: number): AutoscalingInput {
  return {
    config: parseAutoscalingConfig(input.config),
    capacity: capacityOf(input),
    currentReplicas: input.running,
    targetReplicas: input.target,
    totalRequests: load.total,
    queuedRequests: load.queued,
    nowS,
    state: input.policy_state === undefined ? undefined : stateOf(input.policy_state),
    gangSize: input.gang_size,
  };
}

function loadOf(input: Omit<DecisionInput, "kind">, config: AutoscalingConfig): RequestLoad {
  const nowS = input.now ?? 0;
  const metrics = new RequestMetrics();
  const handles: readonly HandleInput[] = input.handles ?? [{ queued: input.total ?? 0 }];
  for (const handle of handles) recordHandle(metrics, handle, nowS);
  for (const replica of input.replicas ?? []) {
    metrics.recordReplica({
      replicaId: replica.id,
      timestampS: replica.timestamp ?? nowS,
      running: replica.running ?? 0,
      runningSeries: replica.running_series && seriesOf(replica.running_series),
    });
  }
  return metrics.load({
    runningReplicaIds: Array.from({ length: input.running }, (_, index) => `r${index}`),
    aggregation: input.aggregate_at_controller === true ? "series" : "averages",
    aggregationFunction: config.aggregationFunction,
    nowS,
  });
}

function recordHandle(metrics: RequestMetrics, handle: HandleInput, nowS: number): void {
  metrics.recordHandle({
    handleId: handle.id ?? "h",
    timestampS: handle.timestamp ?? nowS,
    // Only Serve's own actors are watched.
    ownerId: handle.source === "PROXY" || handle.source === "REPLICA" ? handle.actor : undefined,
    queued: handle.queued ?? 0,
    running: new Map(Object.entries(handle.running ?? {})),
    queuedSeries: seriesOf(handle.queued_series ?? []),
    runningSeries: new Map(
      Object.entries(handle.running_series ?? {}).map(([id, points]) => [id, seriesOf(points)]),
    ),
  });
}

function seriesOf(points: Points): TimeSeries {
  return points.map(([timestampS, value]) => ({ timestampS, value }));
}

function capacityOf(input: {
  readonly target_capacity?: number | null;
  readonly target_capacity_direction?: "UP" | "DOWN" | null;
}): TargetCapacity {
  return { percent: input.target_capacity ?? null, direction: input.target_capacity_direction ?? null };
}

const counterKey = "__decision_counters";
const timestampKey = "__decision_timestamp";

function stateOf(policyState: Readonly<Record<string, unknown>>): AutoscalingState {
  const { [counterKey]: counter, [timestampKey]: timestamp, ...custom } = policyState;
  return {
    decisionCounter: typeof counter === "number" ? counter : 0,
    decisionTimestampS: typeof timestamp === "number" ? timestamp : null,
    custom,
  };
}

function policyStateOf(state: AutoscalingState): Readonly<Record<string, unknown>> {
  return {
    ...state.custom,
    [counterKey]: state.decisionCounter,
    [timestampKey]: state.decisionTimestampS,
  };
}
