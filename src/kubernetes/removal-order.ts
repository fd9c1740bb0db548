/** Kinds whose number of replicas can be set. */
export type ScalableKind = "Deployment" | "StatefulSet" | "LeaderWorkerSet";

/** A pod (`v1`), as far as it is read. */
export interface Pod {
  readonly metadata: {
    readonly name: string;
    readonly creationTimestamp?: string;
    readonly deletionTimestamp?: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
  readonly status?: {
    readonly podIP?: string;
    readonly podIPs?: readonly { readonly ip: string }[];
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
  };
}

/**
 * Which pods go first when the number is lowered. StatefulSets and LeaderWorkerSets take the highest number at the end
 * of the name; of a LeaderWorkerSet only the leaders count, which have the set's name and one number. A Deployment
 * takes what is not ready, then, as we mark them so, the youngest. Pods that are going already count as gone.
 */
export function removalOrder(kind: ScalableKind, name: string, pods: readonly Pod[]): readonly Pod[] {
  const staying = pods.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
  if (kind === "Deployment") {
    return staying.toSorted(
      (one, other) =>
        Number(isReady(one)) - Number(isReady(other)) ||
        (other.metadata.creationTimestamp ?? "").localeCompare(one.metadata.creationTimestamp ?? "") ||
        one.metadata.name.localeCompare(other.metadata.name),
    );
  }
  return staying
    .flatMap((pod) => {
      const number = ordinalOf(name, pod.metadata.name);
      return number === undefined ? [] : [{ pod, number }];
    })
    .toSorted((one, other) => other.number - one.number)
    .map(({ pod }) => pod);
}

function ordinalOf(name: string, pod: string): number | undefined {
  const rest = pod.startsWith(`${name}-`) ? pod.slice(name.length + 1) : "";
  return /^\d+$/.test(rest) ? Number(rest) : undefined;
}

function isReady({ status }: Pod): boolean {
  return status?.conditions?.some((each) => each.type === "Ready" && each.status === "True") === true;
}
