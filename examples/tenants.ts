// Keys and limits for each tenant, as middleware in front of the application.
// Run it: npx tsx examples/tenants.ts [--once]
import { createHash, timingSafeEqual } from "node:crypto";
import type { AddressInfo } from "node:net";
import express, { type RequestHandler } from "express";
import { app, model, stopApp } from "./app.ts";
import { askOnce, once } from "./engines.ts";

interface Tenant {
  readonly name: string;
  /** SHA-256 of its key: the keys themselves are nowhere. */
  readonly keyHash: Buffer;
  /** Requests it may have running at a time. */
  readonly maxConcurrent: number;
}

const sha256 = (text: string): Buffer => createHash("sha256").update(text).digest();
const tenants: readonly Tenant[] = [
  { name: "acme", keyHash: sha256("key-of-acme"), maxConcurrent: 8 },
  { name: "trial", keyHash: sha256("key-of-trial"), maxConcurrent: 0 },
];

/** An error as OpenAI's clients expect it. */
function refuse(response: express.Response, status: number, code: string, message: string): void {
  const type = status === 401 ? "authentication_error" : "rate_limit_error";
  response.status(status).json({ error: { message, type, param: null, code } });
}

/** Lets in requests with a known key. The application never hands a client's key on to an engine. */
const authenticate: RequestHandler = (request, response, next) => {
  const hash = sha256((request.headers.authorization ?? "").replace(/^Bearer /i, ""));
  const tenant = tenants.find(({ keyHash }) => timingSafeEqual(keyHash, hash));
  if (tenant === undefined) {
    refuse(response, 401, "invalid_api_key", "Incorrect API key provided.");
    return;
  }
  response.locals["tenant"] = tenant;
  next();
};

const running = new Map<string, number>();

/** Counts a tenant's running requests; streams count until their last byte, or until the client leaves. */
const limit: RequestHandler = (_request, response, next) => {
  const { name, maxConcurrent } = response.locals["tenant"] as Tenant;
  const count = running.get(name) ?? 0;
  if (count >= maxConcurrent) {
    response.setHeader("retry-after", "1");
    refuse(response, 429, "rate_limit_exceeded", `${name} has ${count} requests running already.`);
    return;
  }
  running.set(name, count + 1);
  response.once("close", () => running.set(name, (running.get(name) ?? 1) - 1));
  next();
};

const web = express();
web.use(authenticate, limit, app.handler);

const server = web.listen(once ? 0 : 8000, "127.0.0.1");
await new Promise((resolve) => server.once("listening", resolve));
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
console.log(`Serving ${model} on ${url}`);

async function stop(): Promise<void> {
  await stopApp();
  server.close();
  server.closeAllConnections();
}

if (once) {
  await askOnce(url, model, { authorization: "Bearer key-of-acme" });
  for (const key of ["nobody's", "key-of-trial"]) {
    const { status } = await fetch(`${url}/v1/models`, { headers: { authorization: `Bearer ${key}` } });
    console.log(`${key}: ${status}`);
  }
  await stop();
  console.log(
    "still running:",
    [...running.values()].reduce((sum, count) => sum + count, 0),
  );
} else {
  process.once("SIGINT", () => void stop());
}
