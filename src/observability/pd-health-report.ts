/** One prefill and decode replica that worked together. */
export interface PDPairHealth {
  readonly prefill: string;
  readonly decode: string;
  /** Requests handed over between them. */
  readonly handoffs: number;
}

/** Whether disaggregation is really happening. */
export interface PDHealth {
  readonly deployment: string;
  readonly requests: number;
  /** Handed from prefill to decode with a usable handle. */
  readonly disaggregated: number;
  /** Served by decode alone, by reason. */
  readonly decodeOnly: Readonly<Partial<Record<string, number>>>;
  /**
   * Share of the last {@link window} requests that should have been disaggregated and were, 0 to 1; 1 while there
   * were none.
   */
  readonly handoffShare: number;
  readonly window: number;
  readonly degraded: boolean;
  readonly pairs: readonly PDPairHealth[];
}
