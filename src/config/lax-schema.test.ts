import * as fc from "fast-check";
import { describe, expect, it } from "vitest";

import { ConfigurationError } from "../errors/configuration-error.ts";
import { camelCased, snakeCased, toCamelCase, toSnakeCase } from "./casing.ts";
import {
  boolean,
  integer,
  listOf,
  mapOf,
  number,
  objectOf,
  oneOf,
  opaqueMap,
  openObjectOf,
  optional,
  strictInteger,
  text,
  withDefault,
} from "./lax-schema.ts";
import { parseConfig, parseConfigDetailed } from "./parse-config.ts";

const schema = objectOf("Sample", {
  minReplicas: withDefault(integer({ atLeast: 0 }), 1),
  healthCheckPeriodS: optional(number({ greaterThan: 0 })),
  isActive: optional(boolean()),
  apiKey: optional(text()),
  kind: optional(oneOf(["cpu", "gpu"])),
  engineKwargs: optional(opaqueMap()),
  inner: optional(openObjectOf("Inner", { maxCount: strictInteger() })),
  labels: optional(mapOf(text())),
  extraFiles: optional(listOf(objectOf("File", { bucketUri: text() }))),
});

function issuesOf(input: unknown): readonly string[] {
  try {
    parseConfig(schema, input, "Sample");
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    return error.issues.map((issue) => `${issue.path.join(".")}:${issue.type}`);
  }
  return [];
}

describe("lax coercions", () => {
  it.each([
    ["4", 4],
    [" 4 ", 4],
    ["1_000", 1000],
    ["4.0", 4],
    [3, 3],
    [true, 1],
    [false, 0],
  ])("reads %j as the integer %j", (input, expected) => {
    expect(parseConfig(schema, { minReplicas: input }, "Sample").minReplicas).toBe(expected);
  });

  it.each([
    ["x", "int_parsing"],
    ["4.5", "int_parsing"],
    [1.5, "int_from_float"],
    [null, "int_type"],
    [[1], "int_type"],
    [-1, "greater_than_equal"],
  ])("refuses %j as an integer: %s", (input, type) => {
    expect(issuesOf({ minReplicas: input })).toEqual([`minReplicas:${type}`]);
  });

  it.each([
    ["no", false],
    ["ON", true],
    [1, true],
    ["t", true],
  ])("reads %j as the boolean %j", (input, expected) => {
    expect(parseConfig(schema, { isActive: input }, "Sample").isActive).toBe(expected);
  });

  it("refuses what is no boolean", () => {
    expect(issuesOf({ isActive: "maybe" })).toEqual(["isActive:bool_parsing"]);
    expect(issuesOf({ isActive: [] })).toEqual(["isActive:bool_type"]);
    expect(issuesOf({ isActive: 2 })).toEqual(["isActive:bool_parsing"]);
  });

  it("reads numbers, and refuses infinities", () => {
    expect(parseConfig(schema, { healthCheckPeriodS: "1e3" }, "Sample").healthCheckPeriodS).toBe(1000);
    expect(issuesOf({ healthCheckPeriodS: Number.NaN })).toEqual(["healthCheckPeriodS:finite_number"]);
    expect(issuesOf({ healthCheckPeriodS: "abc" })).toEqual(["healthCheckPeriodS:float_parsing"]);
  });
});

describe("spellings", () => {
  it("takes snake_case and camelCase, and says so when both are there", () => {
    expect(parseConfig(schema, { min_replicas: 2 }, "Sample").minReplicas).toBe(2);
    expect(issuesOf({ min_replicas: 2, minReplicas: 3 })).toEqual(["minReplicas:value_error"]);
  });

  it("reports paths as the user spelled them", () => {
    expect(issuesOf({ extra_files: [{ bucket_uri: 1 }, {}] })).toEqual([
      "extra_files.0.bucket_uri:string_type",
      "extra_files.1.bucket_uri:missing",
    ]);
    expect(issuesOf({ extraFiles: [{}] })).toEqual(["extraFiles.0.bucketUri:missing"]);
  });

  it("never renames within maps that belong to others", () => {
    const kwargs = { tensor_parallel_size: 2, nested: { min_replicas: 1 } };
    expect(parseConfig(schema, { engine_kwargs: kwargs }, "Sample").engineKwargs).toEqual(kwargs);
    expect(parseConfig(schema, { labels: { min_replicas: "a" } }, "Sample").labels).toEqual({
      min_replicas: "a",
    });
  });

  it("keeps unknown keys where the schema is open, forbids them elsewhere with a suggestion", () => {
    expect(issuesOf({ inner: { max_count: 1, more: 2 } })).toEqual([]);
    expect(() => parseConfig(schema, { min_replica: 1 }, "Sample")).toThrow(/did you mean "min_replicas"\?/);
  });

  it("tells what was given", () => {
    const parsed = parseConfigDetailed(schema, { min_replicas: "2", kind: null }, "Sample");
    expect([...parsed.explicitlySet]).toEqual(["minReplicas", "kind"]);
    expect(parsed.given).toEqual({ minReplicas: "2", kind: null });
  });

  it("is undone by the way back", () => {
    const name = fc.stringMatching(/^[a-z]{1,6}(_[a-z][a-z0-9]{0,4}){0,3}$/);
    fc.assert(fc.property(name, (snake) => toSnakeCase(toCamelCase(snake)) === snake));
    const given = { minReplicas: 1, inner: { maxCount: 2 }, extraFiles: [{ bucketUri: "s3://a" }] };
    expect(camelCased(schema, snakeCased(schema, given)).value).toEqual(given);
  });
});

describe("hostile input", () => {
  it("refuses keys that would reach a prototype", () => {
    const input: unknown = JSON.parse('{"engineKwargs": {"a": {"__proto__": {"polluted": true}}}}');
    expect(issuesOf(input)).toEqual(["engineKwargs.a.__proto__:extra_forbidden"]);
    expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
  });

  it("refuses endless nesting", () => {
    const cyclic: Record<string, unknown> = {};
    cyclic["self"] = cyclic;
    expect(issuesOf({ engineKwargs: cyclic })[0]).toMatch(/value_error$/);
  });

  it("throws nothing but ConfigurationError, whatever JSON comes", () => {
    const keys = fc.constantFrom(
      "min_replicas",
      "minReplicas",
      "inner",
      "extra_files",
      "labels",
      "__proto__",
      "kind",
    );
    const anyJson = fc.oneof(fc.jsonValue(), fc.dictionary(keys, fc.jsonValue()));
    fc.assert(
      fc.property(anyJson, (input) => {
        issuesOf(input);
      }),
    );
  });

  it("shows no secrets", () => {
    let message = "";
    try {
      parseConfig(schema, { apiKey: ["sk-secret"], kind: "https://u:pw@host" }, "Sample");
    } catch (error) {
      message = String(error);
    }
    expect(message).toContain("got [redacted]");
    expect(message).not.toMatch(/sk-secret|pw@/);
  });
});
