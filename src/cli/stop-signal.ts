// A terminal sends Ctrl-C to npm and to us, and npm hands it on: two signals for one press.
const samePressMs = 500;

/**
 * Waits until the process is told to stop: SIGINT (Ctrl-C) or SIGTERM. A second signal ends the process at once,
 * for when draining takes too long.
 *
 * @returns how it was told, and a way to listen no more
 */
export function stopSignal(): { readonly received: Promise<NodeJS.Signals>; dispose(): void } {
  const signals = ["SIGINT", "SIGTERM"] as const;
  let firstAt: number | undefined;
  let resolve: (signal: NodeJS.Signals) => void;
  const received = new Promise<NodeJS.Signals>((settle) => {
    resolve = settle;
  });
  const listener = (signal: NodeJS.Signals): void => {
    if (firstAt === undefined) {
      firstAt = performance.now();
      resolve(signal);
    } else if (performance.now() - firstAt > samePressMs) {
      process.exit(signal === "SIGINT" ? 130 : 143);
    }
  };
  for (const signal of signals) process.on(signal, listener);
  return {
    received,
    dispose() {
      for (const signal of signals) process.off(signal, listener);
    },
  };
}
