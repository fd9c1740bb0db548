import type { Discovery, DiscoveryContext, Endpoint } from "../config/endpoint.ts";
import { pause } from "../internal/pause.ts";

/** What one look at a source found. */
export interface PollResult {
  readonly endpoints: readonly Endpoint[];
  /** Milliseconds until the next look, > 0. */
  readonly nextMs: number;
}

/** How a source is looked at again and again. */
export interface PollingSource {
  /** For messages, for example `DNS name prefill.svc`. */
  readonly name: string;
  /** One look. What it throws is reported; the last list stays in use. */
  readonly poll: (signal: AbortSignal, context: DiscoveryContext) => Promise<PollResult>;
  /** Milliseconds until the first look after a failure; doubles with each further one. */
  readonly retryMs: number;
  readonly maxRetryMs: number;
}

/**
 * A discovery that asks. The first look must succeed, or the deployment does not start; from then on a failure costs
 * nothing but a warning, once until it works again.
 */
export function pollingDiscovery(source: PollingSource): Discovery {
  return async function* discover(signal, context) {
    let last: string | undefined;
    let failures = 0;
    while (!signal.aborted) {
      let waitMs: number;
      try {
        const { endpoints, nextMs } = await source.poll(signal, context);
        if (signal.aborted) return;
        if (failures > 0) context.warn(`${source.name} of "${context.deployment}" answers again.`);
        failures = 0;
        waitMs = nextMs;
        const text = JSON.stringify(endpoints);
        if (text !== last) yield endpoints;
        last = text;
      } catch (error) {
        if (signal.aborted) return;
        if (last === undefined) throw error;
        failures += 1;
        if (failures === 1) {
          context.warn(
            `${source.name} of "${context.deployment}" failed; the last known endpoints stay in use: ${messageOf(error)}`,
          );
        }
        waitMs = Math.min(source.retryMs * 2 ** (failures - 1), source.maxRetryMs);
      }
      await pause(context.clock, waitMs, signal);
    }
  };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
