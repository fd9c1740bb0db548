import type { RequestTrace } from "../observability/request-trace.ts";

/**
 * How a request was served, for the header `x-serve-llm-route`: `mode=pd; prefill=p0; decode=d1; retries=1`. The
 * replicas are those that were tried last.
 */
export function routeHeader({ mode, reason, retries, legs }: RequestTrace): string {
  const parts = [`mode=${mode}`];
  if (reason !== undefined) parts.push(`reason=${reason}`);
  for (const leg of ["prefill", "decode"] as const) {
    const last = legs.findLast((each) => each.leg === leg);
    if (last !== undefined) parts.push(`${leg}=${last.publicName.replaceAll(/[^\w.-]/g, "_")}`);
  }
  if (retries > 0) parts.push(`retries=${retries}`);
  return parts.join("; ");
}
