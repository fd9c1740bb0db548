import { expect, it } from "vitest";

import type { HttpResponse } from "../src/adapters/http-exchange.ts";
import { RequestError } from "../src/errors/request-error.ts";
import { makeIngress } from "../src/ingress/make-ingress.ts";
import type { IngressRequest } from "../src/ingress/ingress-request.ts";
import { OpenAiIngress } from "../src/ingress/openai-ingress.ts";
import { chat, errorIn, modelRequests, pdFixture, post } from "./door-fixtures.ts";

class GuardedIngress extends OpenAiIngress {
  protected override admit({ header }: IngressRequest): void {
    if (header("authorization") !== "Bearer key") {
      throw new RequestError("Invalid API key.", { status: 401, code: "invalid_api_key" });
    }
  }

  whoami(request: IngressRequest): HttpResponse {
    return { status: 200, headers: [["content-type", "text/plain"]], body: Buffer.from(request.requestId) };
  }

  /** Instead of going to an engine. */
  tokenize(): HttpResponse {
    throw new RequestError("Not here.", { status: 403, code: "forbidden" });
  }
}

const ingressCls = makeIngress(GuardedIngress, { routes: { whoami: { method: "GET", path: "/whoami" } } });
const authorization = "Bearer key";

it("a subclass lets in, refuses, adds routes and takes them over", async () => {
  await using fixture = await pdFixture({ ingressCls });
  const ask = (path: string, init?: RequestInit): Promise<Response> =>
    fixture.app.fetch(new Request(`http://h${path}`, init));

  const refused = await ask("/v1/chat/completions", chat());
  expect([refused.status, (await errorIn(refused))["code"]]).toEqual([401, "invalid_api_key"]);
  expect(modelRequests(fixture.prefill)).toEqual([]);

  const headers = { authorization, "x-request-id": "mine" };
  expect(await (await ask("/whoami", { headers })).text()).toBe("mine");
  expect((await ask("/tokenize", post({ prompt: "a" }, { authorization }))).status).toBe(403);
  expect((await ask("/detokenize", post({ tokens: [1] }, { authorization }))).status).toBe(200);
  // Unknown paths are nobody's secret.
  expect((await ask("/nothing")).status).toBe(404);
});

it("pages of allowed origins may call, also when a request is refused", async () => {
  const origin = "https://app.example.com";
  await using fixture = await pdFixture({ ingressCls, ingress: { cors: { origins: [origin] } } });
  const ask = (init: RequestInit): Promise<Response> =>
    fixture.app.fetch(new Request("http://h/v1/chat/completions", init));

  const preflight = {
    origin,
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization",
  };
  const allowed = await ask({ method: "OPTIONS", headers: preflight });
  expect([allowed.status, Object.fromEntries(allowed.headers)]).toMatchObject([
    204,
    {
      "access-control-allow-origin": origin,
      "access-control-allow-headers": "authorization",
      vary: "Origin",
    },
  ]);
  const refused = await ask({ ...chat(), headers: { origin, "content-type": "application/json" } });
  expect([refused.status, refused.headers.get("access-control-allow-origin")]).toEqual([401, origin]);
  const stranger = await ask({ method: "OPTIONS", headers: { ...preflight, origin: "https://evil.test" } });
  expect([stranger.status, stranger.headers.get("access-control-allow-origin")]).toEqual([405, null]);
});

it("what a subclass in JavaScript returns to let a request in does not matter", async () => {
  class Careless extends OpenAiIngress {
    protected override admit(): void {
      return null as unknown as void;
    }
  }
  await using fixture = await pdFixture({ ingressCls: Careless });
  expect((await fixture.app.fetch(new Request("http://h/health"))).status).toBe(200);
});
