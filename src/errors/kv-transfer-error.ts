import { EngineError, type EngineErrorOrigin } from "./engine-error.ts";

/** Why a prefill's answer could not be handed to a decode engine. */
export type KvTransferFault =
  /** No `kv_transfer_params` in the answer: the connector is off, or the engine freed the blocks. */
  | "missing"
  /** Present but unusable: wrong shape, a field missing, no blocks. */
  | "invalid"
  /** It names a host that is not allowed. */
  | "host_not_allowed"
  /** The engine's lease on the blocks would have run out before decode could use them. */
  | "lease_expired";

/** The KV handoff from prefill to decode failed. */
export class KvTransferError extends EngineError {
  override readonly name = "KvTransferError";
  readonly fault: KvTransferFault;

  constructor(fault: KvTransferFault, detail: string, origin: Omit<EngineErrorOrigin, "phase">) {
    super(
      `KV handoff failed: ${detail}.`,
      { phase: "handoff", replica: origin.replica },
      {
        code: `kv_${fault}`,
        status: fault === "lease_expired" ? 503 : 502,
        type: "kv_transfer_error",
      },
    );
    this.fault = fault;
  }
}
