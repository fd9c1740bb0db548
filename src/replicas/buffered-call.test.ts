import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { RequestCancelledError } from "../errors/request-cancelled-error.ts";
import { CancelToken } from "../internal/cancel-token.ts";
import { FakeClock } from "../testing/fake-clock.ts";
import { type BufferedCallOptions, type BufferedResponse, callBuffered } from "./buffered-call.ts";
import { EndpointClient } from "./endpoint-client.ts";
import { clientConfig, LoopbackServer } from "./replica.fixture.ts";

let server: LoopbackServer;
let client: EndpointClient;
let clock: FakeClock;

beforeEach(async () => {
  server = await new LoopbackServer(() => undefined).listen();
  client = new EndpointClient({ url: server.url }, clientConfig(), "D#r");
  clock = new FakeClock();
});

afterEach(async () => {
  await client.destroy();
  await server[Symbol.asyncDispose]();
});

function call(more: Partial<BufferedCallOptions> = {}): Promise<BufferedResponse> {
  return callBuffered(
    client,
    { method: "GET", path: "/", headers: [], phase: "prefill" },
    {
      clock,
      cancel: undefined,
      replica: "D#r",
      timeoutMs: 1000,
      timeoutOption: "prefillTimeoutMs",
      maxBytes: 10,
      ...more,
    },
  );
}

const next = async (): Promise<ServerResponse> =>
  ((await once(server.server, "request")) as [IncomingMessage, ServerResponse])[1];

describe("callBuffered", () => {
  it("collects an answer, whatever its status, and leaves no timer", async () => {
    const answer = call();
    const response = await next();
    response.writeHead(418, { "x-kind": "teapot" });
    response.write("0123");
    response.end("456789");
    const { status, headers, body } = await answer;
    expect([status, headers.get("x-kind"), body.toString()]).toEqual([418, "teapot", "0123456789"]);
    expect(clock.pendingTimers).toBe(0);
  });

  it("takes an empty answer for an answer", async () => {
    const answer = call();
    (await next()).end();
    expect((await answer).body.length).toBe(0);
  });

  it("gives up in time: also in the middle of the body", async () => {
    for (const [closed, begun] of [false, true].entries()) {
      const answer = expect(call()).rejects.toMatchObject({
        code: "prefill_timeout",
        option: "prefillTimeoutMs",
        limitMs: 1000,
        status: 504,
      });
      const response = await next();
      if (begun) response.write("0");
      clock.advance(1000);
      await answer;
      await server.untilClosed(closed + 1);
      expect(clock.pendingTimers).toBe(0);
    }
  });

  it("stops when it is cancelled, and does not begin when it was", async () => {
    const cancel = new CancelToken();
    const gone = new RequestCancelledError("gone");
    const answer = expect(call({ cancel })).rejects.toBe(gone);
    await next();
    cancel.cancel(gone);
    await answer;
    await server.untilClosed(1);
    await expect(call({ cancel })).rejects.toBe(gone);
    expect(clock.pendingTimers).toBe(0);
  });

  it("forgets the token when it is over", async () => {
    const cancel = new CancelToken();
    const answer = call({ cancel });
    (await next()).end("ok");
    await answer;
    cancel.cancel(new RequestCancelledError("late"));
    expect((await answer).body.toString()).toBe("ok");
    expect(server.sockets.size).toBe(1);
  });

  it("refuses an answer that is too large, as soon as it is", async () => {
    const answer = expect(call()).rejects.toMatchObject({
      status: 502,
      message: expect.stringContaining("10 bytes"),
    });
    (await next()).write("01234567890");
    await answer;
    await server.untilClosed(1);
    expect(clock.pendingTimers).toBe(0);
  });

  it("reports a broken connection", async () => {
    const answer = expect(call()).rejects.toMatchObject({ name: "EngineConnectionError", neverSent: false });
    (await next()).socket!.resetAndDestroy();
    await answer;
    expect(clock.pendingTimers).toBe(0);
  });

  it("leaves no timer when nothing can be sent at all", async () => {
    await client.destroy();
    await expect(call()).rejects.toMatchObject({ name: "EngineConnectionError", neverSent: true });
    expect(clock.pendingTimers).toBe(0);
  });
});
