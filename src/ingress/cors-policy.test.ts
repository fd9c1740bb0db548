import { describe, expect, it } from "vitest";
import type { HttpRequest } from "../adapters/http-exchange.ts";
import { ConfigurationError } from "../errors/configuration-error.ts";
import { CancelToken } from "../internal/cancel-token.ts";
import { type CorsOptions, CorsPolicy } from "./cors-policy.ts";

function request(method: string, headers: Readonly<Record<string, string>>): HttpRequest {
  return {
    method,
    path: "/v1/models",
    query: "",
    header: (name) => headers[name],
    headerNames: () => Object.keys(headers),
    readBody: () => Promise.resolve(new Uint8Array(0)),
    cancel: new CancelToken(),
  };
}

const page = "https://app.example.com";
const preflight = (origin: string, more: Readonly<Record<string, string>> = {}): HttpRequest =>
  request("OPTIONS", { origin, "access-control-request-method": "POST", ...more });

describe("cross-origin requests", () => {
  it("of an allowed page are answered", () => {
    const policy = new CorsPolicy({ origins: [page], credentials: true });
    const asked = preflight(page, { "access-control-request-headers": "authorization, content-type" });
    expect(policy.preflight(asked, ["POST"])).toEqual({
      status: 204,
      headers: [
        ["access-control-allow-methods", "POST"],
        ["access-control-allow-headers", "authorization, content-type"],
        ["access-control-max-age", "600"],
      ],
      body: undefined,
    });
    expect(Object.fromEntries(policy.headersFor(asked))).toEqual({
      vary: "Origin",
      "access-control-allow-origin": page,
      "access-control-allow-credentials": "true",
      "access-control-expose-headers": "x-request-id, retry-after",
    });
  });

  it.each(["https://app.example.com.evil.test", "http://app.example.com", "null", ""])(
    "of %j are not",
    (origin) => {
      const policy = new CorsPolicy({ origins: [page] });
      expect(policy.preflight(preflight(origin), ["POST"])).toBeUndefined();
      expect(policy.headersFor(request("GET", { origin }))).toEqual([["vary", "Origin"]]);
    },
  );

  it("of any page never carry credentials", () => {
    const policy = new CorsPolicy({ origins: "*" });
    const headers = Object.fromEntries(policy.headersFor(request("GET", { origin: "https://x.test" })));
    expect([headers["access-control-allow-origin"], headers["access-control-allow-credentials"]]).toEqual([
      "*",
      undefined,
    ]);
  });

  it("an ordinary OPTIONS is no preflight", () => {
    expect(
      new CorsPolicy({ origins: "*" }).preflight(request("OPTIONS", { origin: page }), ["GET"]),
    ).toBeUndefined();
  });

  it("header names that are none are not repeated", () => {
    const asked = preflight(page, { "access-control-request-headers": "a\r\nset-cookie: b" });
    const names = new CorsPolicy({ origins: "*" }).preflight(asked, ["GET"])!.headers.map(([name]) => name);
    expect(names).not.toContain("access-control-allow-headers");
  });

  it.each<CorsOptions>([
    { origins: "*", credentials: true },
    { origins: ["https://a.test/path"] },
    { origins: ["*"] },
    { origins: ["a.test"] },
  ])("%j is refused", (options) => {
    expect(() => new CorsPolicy(options)).toThrow(ConfigurationError);
  });
});
