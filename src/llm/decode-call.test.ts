import { expect, it } from "vitest";
import { CancelToken } from "../internal/cancel-token.ts";
import type { EndpointClient, EngineResponseSink } from "../replicas/endpoint-client.ts";
import { EngineHeaders } from "../replicas/engine-headers.ts";
import { FakeClock } from "../testing/fake-clock.ts";
import { DecodeCall } from "./decode-call.ts";

const event = (text: string, finish: string | null): Buffer =>
  Buffer.from(
    `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content: text }, finish_reason: finish }] })}\n\n`,
  );

interface PlayedCall {
  readonly call: DecodeCall;
  readonly engine: EngineResponseSink;
  readonly clock: FakeClock;
  readonly opened: Promise<unknown>;
  readonly outcomes: readonly string[];
}

/** A call whose engine is played by the test, and has sent its headers. */
function startCall(): PlayedCall {
  const clock = new FakeClock();
  const outcomes: string[] = [];
  const call = new DecodeCall({
    origin: { phase: "decode", replica: "d" },
    stream: true,
    expectedChoices: 1,
    clock,
    cancel: new CancelToken(),
    timeouts: { firstByteTimeoutMs: 100, interTokenTimeoutMs: 200, slowClientTimeoutMs: 300 },
    onFirstOutput: () => undefined,
    onSettled: (outcome) => outcomes.push(outcome),
  });
  let engine: EngineResponseSink | undefined;
  const client = {
    dispatch: (_request: unknown, sink: EngineResponseSink) => {
      engine = sink;
      return { abort: (error: never) => sink.onError(error), resume: () => undefined };
    },
  } as unknown as EndpointClient;
  const opened = call.open(client, { method: "POST", path: "/", headers: [], phase: "decode" });
  engine!.onHeaders(200, new EngineHeaders([Buffer.from("content-type"), Buffer.from("text/event-stream")]));
  return { call, engine: engine!, clock, opened, outcomes };
}

/** The same, and its first token. */
async function openCall(): Promise<PlayedCall> {
  const played = startCall();
  played.engine.onData(event("a", null));
  await played.opened;
  return played;
}

it("keeps no timer when a full client reads on after the answer is over", async () => {
  const { call, engine, clock } = await openCall();
  call.pipe({ write: () => false, end: () => undefined, fail: () => undefined });
  engine.onData(event("b", "stop"));
  engine.onData(Buffer.from("data: [DONE]\n\n"));
  engine.onEnd();
  expect(clock.pendingTimers).toBe(0);
  call.resume();
  expect(clock.pendingTimers).toBe(0);
});

it("gives an engine its time to close the connection from [DONE] on", async () => {
  const { call, engine, clock, outcomes } = await openCall();
  call.pipe({ write: () => true, end: () => undefined, fail: () => undefined });
  engine.onData(event("b", "stop"));
  clock.advance(190);
  engine.onData(Buffer.from("data: [DONE]\n\n"));
  clock.advance(190);
  engine.onEnd();
  expect(outcomes).toEqual(["success"]);
});

it.each(["", '"finish_reason":"stop",'])(
  "promises nothing when the role and an error with a text come at once (%s)",
  async (finish) => {
    const { engine, opened, outcomes } = startCall();
    const role = '{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}';
    const failed = `{"error":{"message":"no"},"choices":[{"index":0,${finish}"delta":{"content":"a"}}]}`;
    engine.onData(Buffer.from(`data: ${role}\n\ndata: ${failed}\n\ndata: [DONE]\n\n`));
    await expect(opened).rejects.toMatchObject({ code: "engine_response_error" });
    expect(outcomes).toHaveLength(1);
  },
);

it("waits for one at a time: the engine, then the client that is full, then the engine again", async () => {
  const { call, engine, clock } = await openCall();
  const failures: string[] = [];
  let full = false;
  call.pipe({ write: () => !full, end: () => undefined, fail: ({ code }) => failures.push(code) });
  full = true;
  engine.onData(event("b", null));
  expect(clock.nextTimerMs).toBe(300);
  full = false;
  call.resume();
  expect(clock.pendingTimers).toBe(1);
  clock.advance(199);
  expect(failures).toEqual([]);
  clock.advance(1);
  expect(failures).toEqual(["stream_timeout"]);
  expect(clock.pendingTimers).toBe(0);
});
