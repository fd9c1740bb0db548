import { describe, expect, it } from "vitest";

import { disagreements, type EngineFacts } from "./engine-disagreements.ts";
import { readServedModels, readVersion, type ServedModel } from "./served-model.ts";

const model = (id: string, more: Partial<ServedModel> = {}): ServedModel => ({
  id,
  root: `org/${id}`,
  parent: undefined,
  maxModelLen: 4096,
  ...more,
});
const engine = (id: string, version?: string, servedModels?: readonly ServedModel[]): EngineFacts => ({
  id,
  version,
  servedModels,
});

describe("disagreements", () => {
  it("finds none between equal sides, nor where nothing is known", () => {
    const side = [engine("p", "1", [model("m")])];
    expect(disagreements(side, side)).toEqual([]);
    expect(disagreements([], side)).toEqual([]);
    expect(disagreements([engine("p")], side)).toEqual([]);
    expect(
      disagreements(side, [
        engine("d", undefined, [model("m", { root: undefined, maxModelLen: undefined })]),
      ]),
    ).toEqual([]);
  });

  it("finds different versions, also within one side", () => {
    expect(disagreements([engine("p", "1")], [engine("d", "2")])).toEqual([
      {
        kind: "version",
        model: undefined,
        prefill: ["1"],
        decode: ["2"],
        message: "vLLM's version differs: prefill has 1; decode has 2.",
      },
    ]);
    expect(disagreements([engine("p", "1"), engine("q", "2")], [engine("d", "1")])).toMatchObject([
      { kind: "version", prefill: ["1", "2"], decode: ["1"] },
    ]);
  });

  it("finds models of one side only, but not adapters", () => {
    const adapter = model("lora", { parent: "m" });
    const found = disagreements(
      [engine("p", "1", [model("m"), model("only")])],
      [engine("d", "1", [model("m"), adapter, model("here")])],
    );
    expect(found).toMatchObject([
      { kind: "model", model: "here", prefill: [], decode: ["here"] },
      { kind: "model", model: "only", prefill: ["only"], decode: [] },
    ]);
    expect(found[0]!.message).toBe('Model "here" is served by decode engines but by no prefill engine.');
  });

  it("finds one name for other weights, and another longest prompt", () => {
    const found = disagreements(
      [engine("p", "1", [model("m", { root: "org/base" })])],
      [engine("d", "1", [model("m", { root: "org/instruct", maxModelLen: 8192 })])],
    );
    expect(found).toMatchObject([
      { kind: "weights", model: "m", prefill: ["org/base"], decode: ["org/instruct"] },
      { kind: "max_model_len", model: "m", prefill: ["4096"], decode: ["8192"] },
    ]);
  });
});

describe("what engines say", () => {
  it("is read where it can be", () => {
    const body =
      '{"object":"list","data":[{"id":"m","root":"/w","parent":null,"max_model_len":8},{"id":1},null,{"id":"n"}]}';
    expect(readServedModels(body)).toEqual([
      { id: "m", root: "/w", parent: undefined, maxModelLen: 8 },
      { id: "n", root: undefined, parent: undefined, maxModelLen: undefined },
    ]);
    expect(readVersion('{"version":"0.27.1"}')).toBe("0.27.1");
  });

  it.each(["", "<html>", "[]", "null", '{"data":{}}', '{"version":""}', '{"version":1}'])(
    "is nothing in %j",
    (body) => {
      expect(readServedModels(body)).toBeUndefined();
      expect(readVersion(body)).toBeUndefined();
    },
  );
});
