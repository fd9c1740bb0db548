import { createServer } from "node:net";

/**
 * A TCP port that is free at the moment. Nothing keeps it so: who wants it should listen soon.
 *
 * @param port the one that should be free; 0 for any
 * @throws Node's error when it is taken, or there is no such address here
 */
export async function freePort(host: string, port: number): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port, exclusive: true }, resolve);
  });
  const address = server.address();
  await new Promise<void>((resolve) => server.close(() => resolve()));
  return typeof address === "object" && address !== null ? address.port : port;
}
