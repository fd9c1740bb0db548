import { describe, expect, it } from "vitest";

import { LLMConfig } from "../config/llm-config.ts";
import type { LLMConfigInit } from "../config/llm-config-init.ts";
import { namedScalingTarget } from "./named-scaling-target.ts";

/** As a YAML file would have it. */
const config = (target: unknown): LLMConfig =>
  new LLMConfig({
    model_loading_config: { model_id: "m" },
    scaling_target: target,
  } as unknown as LLMConfigInit);
const made = (target: unknown) => () => namedScalingTarget(config(target).scalingTarget!);

describe("the scaling target of a configuration", () => {
  it("is an object with the method, or a target by its name", () => {
    const own = { setReplicas: () => Promise.resolve() };
    expect(made(own)().setReplicas).toBe(own.setReplicas);
    // These say themselves where their engines are.
    expect(made({ processes: { gpus: [0, 1], port_base: 9000 } })().endpoints).toBeTypeOf("function");
    for (const name of ["sleep_wake", "sleepWake"]) {
      expect(made({ [name]: { endpoints: ["http://a:1"] } })().endpoints).toBeTypeOf("function");
    }
    expect(made({ kubernetes: { kind: "StatefulSet", name: "vllm" } })().endpoints).toBeUndefined();
  });

  it("is made for each deployment, when it is named", () => {
    const shared = config({ processes: {} });
    expect(namedScalingTarget(shared.scalingTarget!)).not.toBe(namedScalingTarget(shared.scalingTarget!));
    expect(shared.notes()).toEqual([]);
  });

  it("says what is wrong with it, where it is known first", () => {
    expect(() => config({ processes: {}, kubernetes: {} })).toThrow(
      /one scaling target.*got an object with processes, kubernetes/s,
    );
    expect(() => config({ ray: {} })).toThrow(/one of \{ processes: /);
    expect(() => config({ processes: [0, 1] })).toThrow(/processes.*are an object/s);
    expect(() => config(7)).toThrow(/should be a scaling target/);
    expect(made({ processes: { gpu: 1 } })).toThrow(/gpu: Extra inputs/);
    expect(made({ processes: { on_line: "print" } })).toThrow(/onLine: Not usable.*a function/s);
    expect(made({ processes: { env: { A: { b: 1 } } } })).toThrow(/env/);
    expect(made({ sleep_wake: { endpoints: ["nowhere"] } })).toThrow(/valid URL/);
    expect(made({ kubernetes: { kind: "Pod", name: "x" } })).toThrow(/kind/);
  });
});
