// A Next.js route handler for all of /v1: put it at app/v1/[...path]/route.ts.
import { pdApp } from "../../../lib/pd-app.ts";

/** Engines are reached through sockets of Node's; the edge runtime has none. */
export const runtime = "nodejs";
/** Nothing of this is known when the project is built. */
export const dynamic = "force-dynamic";

export async function GET(request: Request): Promise<Response> {
  return (await pdApp()).fetch(request);
}

export async function POST(request: Request): Promise<Response> {
  return (await pdApp()).fetch(request);
}
