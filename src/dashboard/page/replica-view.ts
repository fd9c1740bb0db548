import type { ReplicaPart } from "../page-message.ts";
import { percent } from "./format.ts";

/** How a replica does, from best to worst. */
export type Condition = "good" | "leaving" | "starting" | "warn" | "bad";

/** Signs beside the colours, for those who do not see them. */
export const signs: Readonly<Record<Condition, string>> = {
  good: "",
  leaving: "↓",
  starting: "…",
  warn: "!",
  bad: "✕",
};

/** A replica that takes no requests is bad; one that failed of late, or is being tried again, wants to be looked at. */
export function conditionOf({ state, health, failures }: ReplicaPart): Condition {
  if (state === "STOPPING") return "leaving";
  if (health === "unhealthy" || health === "ejected") return "bad";
  if (health === "probing" || failures > 0) return "warn";
  return state === "STARTING" ? "starting" : "good";
}

/** What ails a replica, in a few words; empty when nothing does. */
export function ailment({ state, health, failures, calls, lastFailure }: ReplicaPart): string {
  const failed =
    failures === 0
      ? ""
      : `${failures} of ${calls} calls failed in the last minute${lastFailure === null ? "" : ` (${lastFailure})`}`;
  const bad = health === "healthy" ? "" : health === "probing" ? "being tried again" : health;
  const moving = state === "STOPPING" ? "draining" : state === "STARTING" ? "starting" : "";
  return [moving, bad, failed].filter((text) => text !== "").join(", ");
}

/** Everything about a replica in one sentence. */
export function describeReplica(replica: ReplicaPart): string {
  const { id, inFlight, engine, holds, ejections, calls } = replica;
  const told = ailment(replica);
  return [
    `${id}: ${told === "" ? "healthy" : told}`,
    `${inFlight} in flight`,
    ...(engine === null
      ? []
      : [
          `engine ${engine.running} running, ${engine.waiting} waiting`,
          `KV cache ${percent(engine.kvUsage)}`,
        ]),
    `${holds} KV holds`,
    `${calls} calls in the last minute`,
    `ejected ${ejections} times`,
  ].join(" · ");
}

const numbered = new Intl.Collator("en", { numeric: true });

/** By name, `p2` before `p10`. */
export function byId(one: ReplicaPart, other: ReplicaPart): number {
  return numbered.compare(one.id, other.id);
}
