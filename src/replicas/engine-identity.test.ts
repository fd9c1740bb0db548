import { afterEach, describe, expect, it } from "vitest";

import { FakeClock } from "../testing/fake-clock.ts";
import type { MockVLLMEngineOptions } from "../testing/mock-engine-options.ts";
import { MockVLLMEngine } from "../testing/mock-vllm-engine.ts";
import { EngineIdentities, type EngineIdentitiesInit } from "./engine-identity.ts";
import { makeReplica } from "./replica.fixture.ts";
import type { Replica } from "./replica.ts";

const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

function setUp(init: Partial<EngineIdentitiesInit> = {}) {
  const clock = new FakeClock();
  const warnings: string[] = [];
  const identities = new EngineIdentities({
    deployment: "D",
    clock,
    modelId: "mock-model",
    timeoutS: 5,
    warn: (message) => warnings.push(message),
    ...init,
  });
  cleanups.push(() => identities.stop());
  const all: Replica[] = [];
  const start = async (
    name: string,
    options: MockVLLMEngineOptions = {},
    apiKey?: string,
  ): Promise<{ engine: MockVLLMEngine; replica: Replica }> => {
    const engine = new MockVLLMEngine(options);
    await engine.start();
    cleanups.push(() => engine.stop());
    const observer = { onAvailabilityChange: () => identities.observe(all) };
    const replica = makeReplica({ url: engine.url, clock, endpoint: { name, apiKey }, observer });
    cleanups.push(() => replica.destroy());
    all.push(replica);
    return { engine, replica };
  };
  return { clock, identities, warnings, start, all };
}

const asked = (engine: MockVLLMEngine): string[] => engine.requests.map(({ path }) => path);

describe("EngineIdentities", () => {
  it("asks every engine once", async () => {
    const { identities, start, all, warnings, clock } = setUp();
    const { engine, replica } = await start("a", { version: "0.27.1", adapters: { lora: "/lora" } });
    identities.observe(all);
    identities.observe(all);
    await identities.idle();
    identities.observe(all);
    identities.ensure(replica);
    await identities.idle();
    expect(asked(engine)).toEqual(["/version", "/v1/models"]);
    expect(replica.version).toBe("0.27.1");
    expect(replica.servedModels).toEqual([
      { id: "mock-model", root: "mock-model", parent: undefined, maxModelLen: 4096 },
      { id: "lora", root: "/lora", parent: "mock-model", maxModelLen: undefined },
    ]);
    expect(warnings).toEqual([]);
    expect(clock.pendingTimers).toBe(0);
  });

  it("warns once when engines run different versions", async () => {
    const { identities, start, all, warnings } = setUp();
    await start("a", { version: "0.27.1" });
    await start("b", { version: "0.26.0" });
    identities.observe(all);
    await identities.idle();
    await start("c", { version: "0.27.1" });
    identities.observe(all.slice(0, 2));
    await identities.idle();
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(/^Engines of deployment "D" run different versions: /);
    expect(warnings[0]).toContain("0.27.1 (a)");
    expect(warnings[0]).toContain("0.26.0 (b)");
  });

  it("warns when the model is not served, unless any will do", async () => {
    for (const modelId of ["other-model", undefined]) {
      const { identities, start, all, warnings } = setUp({ modelId });
      await start("a");
      identities.observe(all);
      await identities.idle();
      const expected = 'D#a does not serve model "other-model"; it serves "mock-model".';
      expect(warnings).toEqual(modelId === undefined ? [] : [expected]);
    }
  });

  it("warns when the API key is not accepted", async () => {
    const { identities, start, all, warnings } = setUp();
    await start("right", { apiKey: "k" }, "k");
    await start("wrong", { apiKey: "k" }, "other");
    identities.observe(all);
    await identities.idle();
    expect(warnings).toEqual(["D#wrong does not accept its API key (status 401 of /v1/models)."]);
  });

  it("asks again what could not be reached, when it is told that it can", async () => {
    const { identities, start, all } = setUp();
    const { engine, replica } = await start("a");
    engine.injectFault({ match: { path: "/v1/models" }, fault: { kind: "status", status: 503 }, times: 1 });
    identities.observe(all);
    await identities.idle();
    expect(replica.version).toBeUndefined();
    identities.ensure(replica);
    await identities.idle();
    expect(replica.version).toBe("0.27.1");
  });

  it("asks again after an engine was away, and after it was restarted", async () => {
    const { identities, start, all } = setUp();
    const { engine, replica } = await start("a");
    identities.observe(all);
    await identities.idle();
    replica.setChecked(false);
    await identities.idle();
    expect(asked(engine)).toHaveLength(2);
    replica.setChecked(true);
    await identities.idle();
    expect(asked(engine)).toHaveLength(4);
    identities.forget(replica);
    await identities.idle();
    expect(asked(engine)).toHaveLength(6);
  });

  it("stops asking a replica that left, and everybody when it is stopped", async () => {
    const { identities, start, all, clock } = setUp();
    for (const name of ["a", "b"]) {
      const { engine } = await start(name);
      engine.injectFault({ match: { path: "/version" }, fault: { kind: "stallBeforeHeaders" } });
    }
    identities.observe(all);
    expect(clock.pendingTimers).toBe(2);
    identities.observe([all[1]!]);
    expect(clock.pendingTimers).toBe(1);
    await identities.stop();
    expect(clock.pendingTimers).toBe(0);
    identities.observe(all);
    expect(clock.pendingTimers).toBe(0);
  });
});
