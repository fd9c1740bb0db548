import { describe, expect, it } from "vitest";
import { ConfigurationError } from "../errors/configuration-error.ts";
import { makeIngress } from "./make-ingress.ts";
import { OpenAiIngress } from "./openai-ingress.ts";
import { defaultRoutes, RouteTable } from "./routes.ts";

const table = new RouteTable(defaultRoutes);

describe("the route table", () => {
  it.each([
    ["GET", "/v1/models", "models", undefined],
    ["HEAD", "/v1/models", "models", undefined],
    ["GET", "/v1/models/org/m", "modelData", "org/m"],
    ["GET", "/v1/models/org%2Fm", "modelData", "org/m"],
    ["GET", "/v1/models/100%", "modelData", "100%"],
    ["POST", "/v2/rerank", "rerank", undefined],
    ["POST", "/v1/chat/completions", "chat", undefined],
  ])("%s %s", (method, path, name, parameter) => {
    expect(table.match(method, path)).toMatchObject({ kind: "match", name, parameter });
  });

  it.each(["/v1/models/", "/V1/models", "//v1/models", "/v1/chat/completions/", "", "*"])(
    "has no %s",
    (path) => {
      expect(table.match("GET", path)).toEqual({ kind: "no-route" });
    },
  );

  it("knows which methods a path accepts", () => {
    expect(table.match("DELETE", "/v1/models")).toEqual({ kind: "wrong-method", allowed: ["GET", "HEAD"] });
    expect(table.match("GET", "/tokenize")).toEqual({ kind: "wrong-method", allowed: ["POST"] });
  });

  it("lets prefill take part in generation only, and administers nothing", () => {
    const targets = Object.entries(defaultRoutes).filter(
      ([, route]) => "goesTo" in route && route.goesTo === "prefill-decode",
    );
    expect(targets.map(([name]) => name)).toEqual(["chat", "completions"]);
    const paths = Object.values(defaultRoutes).flatMap(({ path }) => path);
    expect(paths.filter((path) => /sleep|wake|profile|reset|pause|lora|abort|metrics/.test(path))).toEqual(
      [],
    );
  });
});

describe("makeIngress", () => {
  it("adds and replaces routes in a new class of the same name", () => {
    class Own extends OpenAiIngress {
      hello(): { status: number; headers: []; body: undefined } {
        return { status: 204, headers: [], body: undefined };
      }
    }
    const made = makeIngress(Own, {
      routes: { hello: { method: "GET", path: "/hello" }, health: { method: "GET", path: "/healthz" } },
    });
    expect([made.name, Own.routes === defaultRoutes]).toEqual(["Own", true]);
    const routes = new RouteTable(made.routes);
    expect(routes.match("GET", "/hello")).toMatchObject({ name: "hello" });
    expect(routes.match("GET", "/health")).toEqual({ kind: "no-route" });
    expect(routes.match("GET", "/healthz")).toMatchObject({ name: "health" });
  });

  it("refuses routes of methods that are not there", () => {
    const routes = {
      nothing: { method: "GET", path: "/x" },
      context: { method: "GET", path: "/y" },
    } as const;
    expect(() => makeIngress(OpenAiIngress, { routes })).toThrow(ConfigurationError);
  });
});
