/** Calls back once what this turn of the event loop still has to do is done, writes to sockets included. No delay. */
export function onNextTurn(callback: () => void): void {
  setImmediate(callback);
}
