import type { Server } from "node:http";

/** Connections that may wait to be accepted. Node's default of 511 loses some of a burst of a thousand clients. */
const backlog = 4096;

/** Resolves when a server listens. @throws the server's error when it can't */
export function listen(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, backlog, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

/**
 * Takes no new connections, lets `finish` end the requests that run, and resolves when every connection is closed.
 *
 * @param finish resolves when the applications behind the server are shut down
 */
export async function closeAfter(server: Server, finish: () => Promise<unknown>): Promise<void> {
  const closed = new Promise<void>((resolve) => {
    server.close(() => resolve());
  });
  server.closeIdleConnections();
  await finish();
  server.closeAllConnections();
  await closed;
}
