import type { ClientConfig } from "../config/client-config.ts";
import type { EngineTemplate, ScalingContext } from "../config/scaling-target.ts";
import type { ReplicaSet } from "../replicas/replica-set.ts";
import { callEngine } from "./engine-caller.ts";

/** What a {@link ScalingContext} is made from. */
export interface ScalingContextInit extends Pick<
  ScalingContext,
  "deployment" | "clock" | "random" | "warn" | "readmit"
> {
  readonly client: ClientConfig;
  readonly healthCheckPeriodS: number;
  readonly healthCheckTimeoutS: number;
  readonly engine: EngineTemplate;
  readonly replicas: ReplicaSet;
  /** As `EnginePool.drain`, but with a time limit. */
  readonly drainReplica: (replicaId: string) => Promise<void>;
}

/** What a scaling target may do with the pool it works for. */
export function scalingContext(init: ScalingContextInit): ScalingContext {
  const { deployment, clock, random, warn, readmit, client, engine, replicas, drainReplica } = init;
  return {
    deployment,
    clock,
    random,
    warn,
    engine,
    healthCheck: { periodMs: init.healthCheckPeriodS * 1000, timeoutMs: init.healthCheckTimeoutS * 1000 },
    readmit,
    drain: async (matches) => {
      const leaving = replicas.drainingReplicas.filter(({ endpoint }) => matches(endpoint));
      const staying = replicas.replicas.filter(({ endpoint }) => matches(endpoint));
      await Promise.all([...leaving, ...staying].map(({ id }) => drainReplica(id)));
    },
    call: (endpoint, question) => callEngine(deployment, endpoint, question, { client, clock }),
  };
}
