import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { engineErrorFromValue, errorEventStatus, parseEngineErrorBody } from "./engine-error-body.ts";

describe("parseEngineErrorBody", () => {
  it.each<[string, number, string, object]>([
    [
      "vLLM's object",
      404,
      '{"error":{"message":"The model `x` does not exist.","type":"NotFoundError","param":"model","code":404}}',
      { message: "The model `x` does not exist.", type: "NotFoundError", param: "model", code: 404 },
    ],
    [
      "the Rust front end's string code",
      400,
      '{"error":{"message":"bad","type":"invalid_request_error","param":null,"code":"json_parse_error"}}',
      { message: "bad", type: "invalid_request_error", param: null, code: "json_parse_error" },
    ],
    [
      "a string",
      401,
      '{"error":"Unauthorized"}',
      { message: "Unauthorized", type: "AuthenticationError", param: null, code: 401 },
    ],
    [
      "a detail",
      404,
      '{"detail":"Not Found"}',
      { message: "Not Found", type: "NotFoundError", param: null, code: 404 },
    ],
    [
      "pydantic's details",
      422,
      '{"detail":[{"loc":["body","messages",0],"msg":"field required","type":"missing"},"other"]}',
      {
        message: "body.messages.0: field required; other",
        type: "UnprocessableEntityError",
        param: null,
        code: 422,
      },
    ],
    [
      "the flat shape of older releases",
      400,
      '{"object":"error","message":"too long","type":"BadRequestError","param":null,"code":400}',
      { message: "too long", type: "BadRequestError", param: null, code: 400 },
    ],
    [
      "an empty body",
      503,
      "",
      {
        message: "The engine answered with status 503.",
        type: "ServiceUnavailableError",
        param: null,
        code: 503,
      },
    ],
    [
      "a page",
      502,
      "<html>nginx/1.2 at 10.0.0.7</html>",
      {
        message: "The engine answered with status 502.",
        type: "InternalServerError",
        param: null,
        code: 502,
      },
    ],
    [
      "broken JSON",
      500,
      '{"error":{"message":"se',
      {
        message: "The engine answered with status 500.",
        type: "InternalServerError",
        param: null,
        code: 500,
      },
    ],
    [
      "plain text",
      500,
      "Internal Server Error\u0000\u202e",
      { message: "Internal Server Error", type: "InternalServerError", param: null, code: 500 },
    ],
    [
      "null",
      418,
      '{"error":null}',
      { message: "The engine answered with status 418.", type: "BadRequestError", param: null, code: 418 },
    ],
    [
      "wrong types",
      500,
      '{"error":{"message":1,"type":2,"param":3,"code":{}}}',
      {
        message: "The engine answered with status 500.",
        type: "InternalServerError",
        param: null,
        code: 500,
      },
    ],
  ])("reads %s", (_name, status, body, expected) => {
    expect(parseEngineErrorBody(status, body)).toEqual(expected);
    expect(parseEngineErrorBody(status, new TextEncoder().encode(body))).toEqual(expected);
  });

  it("never throws, always has a message, and bounds it", () => {
    const body = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.uint8Array(),
      fc.jsonValue().map((value) => JSON.stringify({ error: value, detail: value })),
    );
    fc.assert(
      fc.property(fc.integer({ min: 400, max: 599 }), body, (status, value) => {
        const { message, type } = parseEngineErrorBody(status, value);
        expect(message.length).toBeGreaterThan(0);
        expect(type).not.toBe("");
      }),
    );
    expect(parseEngineErrorBody(500, "x".repeat(5_000_000)).message).toHaveLength(200);
    expect(
      parseEngineErrorBody(500, JSON.stringify({ error: "😀".repeat(5000) })).message.length,
    ).toBeLessThanOrEqual(2000);
    // encodeURIComponent throws on half a surrogate pair.
    const cut = parseEngineErrorBody(500, JSON.stringify({ error: `a${"😀".repeat(5000)}` })).message;
    expect(() => encodeURIComponent(cut)).not.toThrow();
  });
});

it("takes the status of an error event from its code, else 500", () => {
  expect(errorEventStatus({ error: { code: 400 } })).toBe(400);
  expect(errorEventStatus({ error: { code: "404" } })).toBe(404);
  expect(errorEventStatus({ code: 503 })).toBe(503);
  expect(errorEventStatus({ error: { code: 0, type: "NotFoundError" } })).toBe(404);
  expect(errorEventStatus({ error: { code: "json_parse_error", type: "invalid_request_error" } })).toBe(400);
  expect(errorEventStatus({ error: { type: "constructor" } })).toBe(500);
  for (const value of [
    { error: { code: "server_error" } },
    { error: "x" },
    { error: { code: 200 } },
    null,
    "text",
  ]) {
    expect(errorEventStatus(value)).toBe(500);
  }
});

it("describes values that are no objects", () => {
  expect(engineErrorFromValue(500, "out of memory").message).toBe("out of memory");
  expect(engineErrorFromValue(500, [1]).message).toBe("The engine answered with status 500.");
});
