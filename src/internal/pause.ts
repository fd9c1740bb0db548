import type { CancelToken } from "./cancel-token.ts";
import type { Clock } from "./clock.ts";

/**
 * Resolves after so many milliseconds, or as soon as the signal aborts. Leaves no timer and no listener.
 *
 * @param options `keepAlive`: the process does not end meanwhile; default false
 */
export async function pause(
  clock: Clock,
  ms: number,
  signal: AbortSignal,
  options?: { readonly keepAlive?: boolean },
): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    const done = (): void => {
      timer.cancel();
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = clock.setTimer(done, ms, options);
    signal.addEventListener("abort", done, { once: true });
  });
}

/** Resolves after so many milliseconds; rejects with the token's error as soon as it is cancelled. */
export function pauseUnlessCancelled(clock: Clock, ms: number, cancel: CancelToken): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = clock.setTimer(() => {
      stopListening();
      resolve();
    }, ms);
    const stopListening = cancel.onCancel((error) => {
      timer.cancel();
      reject(error);
    });
  });
}
