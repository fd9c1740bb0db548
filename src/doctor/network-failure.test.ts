import { describe, expect, it } from "vitest";

import { EngineConnectionError } from "../errors/engine-connection-error.ts";
import { EngineTimeoutError } from "../errors/engine-timeout-error.ts";
import { networkFailure } from "./network-failure.ts";

const origin = { phase: "check", replica: "r" } as const;

function withCode(code: string, message = code): EngineConnectionError {
  return new EngineConnectionError(origin, {
    cause: Object.assign(new Error(message), { code }),
    neverSent: true,
  });
}

describe("networkFailure", () => {
  it.each([
    ["ENOTFOUND", "dns"],
    ["EAI_AGAIN", "dns"],
    ["ECONNREFUSED", "connection-refused"],
    ["EHOSTUNREACH", "connect-timeout"],
    ["CERT_HAS_EXPIRED", "tls"],
    ["DEPTH_ZERO_SELF_SIGNED_CERT", "tls"],
    ["ERR_TLS_CERT_ALTNAME_INVALID", "tls"],
    ["ECONNRESET", "connection-broken"],
    ["HPE_INVALID_CONSTANT", "connection-broken"],
    ["UND_ERR_SOCKET", "connection-broken"],
  ])("reads %s as %s", (code, check) => {
    const failure = networkFailure(withCode(code), "https://engine:8000");
    expect(failure.check).toBe(check);
    expect(failure.advice).not.toBe("");
  });

  it("tells a connection that never opened from an answer that never came", () => {
    const connect = new EngineTimeoutError({ ...origin, phase: "connect" }, "connectTimeoutMs", 500);
    expect(networkFailure(connect, "http://engine:8000")).toMatchObject({ check: "connect-timeout" });
    const answer = new EngineTimeoutError(origin, "timeoutMs", 500);
    expect(networkFailure(answer, "http://engine:8000")).toMatchObject({ check: "no-answer" });
  });

  it("looks into the tries at several addresses", () => {
    const refused = Object.assign(new Error("refused"), { code: "ECONNREFUSED" });
    const cause = new AggregateError([refused]);
    const error = new EngineConnectionError(origin, { cause, neverSent: true });
    expect(networkFailure(error, "http://engine").seen).toBe("Nobody listens on engine:80.");
  });
});
