/** An EndpointSlice (`discovery.k8s.io/v1`), as far as it is read. */
export interface EndpointSlice {
  readonly metadata: { readonly name: string; readonly resourceVersion?: string };
  readonly addressType: string;
  readonly endpoints?: readonly SliceEndpoint[] | null;
  readonly ports?: readonly { readonly name?: string | null; readonly port?: number | null }[] | null;
}

interface SliceEndpoint {
  readonly addresses: readonly string[];
  readonly conditions?: {
    readonly ready?: boolean | null;
    readonly serving?: boolean | null;
    readonly terminating?: boolean | null;
  } | null;
  readonly targetRef?: { readonly kind?: string; readonly name?: string; readonly uid?: string } | null;
  readonly zone?: string | null;
  readonly nodeName?: string | null;
}

/** One engine that a service has. */
export interface ServiceEndpoint {
  readonly address: string;
  readonly port: number;
  /** Name of the pod, when it is one. */
  readonly podName: string | undefined;
  readonly podUid: string | undefined;
  readonly zone: string | undefined;
  readonly node: string | undefined;
}

/** Which of a service's addresses are meant. */
export interface SliceSelection {
  /** Name or number of the port; undefined: the only one, or the one named `http`. */
  readonly port: string | number | undefined;
  readonly addressType: "IPv4" | "IPv6" | "FQDN";
}

/**
 * The engines of a service that may get requests, in a lasting order. One that is terminating is not among them even
 * while it still serves: what runs on it ends, nothing new begins. An endpoint that two slices have, as happens while
 * they are rewritten, is there once: ready in one of them is ready.
 */
export function readyEndpoints(
  slices: Iterable<EndpointSlice>,
  selection: SliceSelection,
): readonly ServiceEndpoint[] {
  const found = new Map<string, ServiceEndpoint>();
  for (const slice of slices) {
    if (slice.addressType !== selection.addressType) continue;
    const port = portOf(slice, selection.port);
    if (port === undefined) continue;
    for (const { addresses, conditions, targetRef, zone, nodeName } of slice.endpoints ?? []) {
      // Unknown is ready, says the API. A service that publishes endpoints before they are ready calls all ready.
      if (conditions?.ready === false || conditions?.terminating === true) continue;
      const [address] = addresses;
      if (address === undefined) continue;
      const isPod = targetRef?.kind === "Pod";
      found.set(`${address} ${port}`, {
        address,
        port,
        podName: isPod ? targetRef.name : undefined,
        podUid: isPod ? targetRef.uid : undefined,
        zone: zone ?? undefined,
        node: nodeName ?? undefined,
      });
    }
  }
  return [...found].toSorted(([one], [other]) => (one < other ? -1 : 1)).map(([, endpoint]) => endpoint);
}

function portOf({ ports }: EndpointSlice, wanted: string | number | undefined): number | undefined {
  const list = ports ?? [];
  const chosen =
    wanted === undefined
      ? list.length === 1
        ? list[0]
        : list.find(({ name }) => name === "http")
      : list.find(({ name, port }) => name === wanted || port === wanted);
  // A headless service without ports says nothing; a number given is then the port of the pods.
  if (chosen === undefined && list.length === 0 && typeof wanted === "number") return wanted;
  return chosen?.port ?? undefined;
}
