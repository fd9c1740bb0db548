import { expect, it } from "vitest";

import type { HttpRequest } from "../adapters/http-exchange.ts";
import { sessionIdOf } from "./client-field-policy.ts";

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
