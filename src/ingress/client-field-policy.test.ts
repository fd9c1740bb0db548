import { expect, it } from "vitest";

import type { HttpRequest } from "../adapters/http-exchange.ts";
import { headersToForward, refuseInternalHeaders, sessionIdOf } from "./client-field-policy.ts";

function requestWith(headers: Readonly<Record<string, string>>): HttpRequest {
  return {
    header: (name: string) => headers[name],
    headerNames: () => Object.keys(headers),
  } as unknown as HttpRequest;
}

it.each([
  ["x-session-id", { "x-session-id": "a" }, "a"],
  ["x-session-id", { x_session_id: "a" }, "a"],
  ["x-session-id", { "x-session_id": "a" }, "a"],
  ["x_conversation", { "x-conversation": "a" }, "a"],
  ["x-conversation", { "x-session-id": "a" }, undefined],
  ["x-session-id", { "x-session-id": "" }, undefined],
  ["x-session-id", { "session-id": "a", "x-session-ids": "b" }, undefined],
])("the session of %s in %j is %s", (name, headers, expected) => {
  expect(sessionIdOf(requestWith(headers as Readonly<Record<string, string>>), name)).toBe(expected);
});

it.each(["x-data-parallel-rank", "x-kv-target", "x-prefill-host", "x-decoder-host-port", "x-bootstrap-room"])(
  "the header %s is refused",
  (name) => {
    expect(() => refuseInternalHeaders(requestWith({ accept: "*/*", [name]: "1" }))).toThrow(`\`${name}\``);
  },
);

it("other headers are no business of ours, and two of them go on", () => {
  const request = requestWith({ "x-kv": "1", "max-kv-size": "1", tracestate: "a=b", traceparent: "00-1" });
  expect(() => refuseInternalHeaders(request)).not.toThrow();
  expect(headersToForward(request)).toEqual(["traceparent", "00-1", "tracestate", "a=b"]);
  expect(headersToForward(requestWith({ accept: "*/*" }))).toEqual([]);
});
