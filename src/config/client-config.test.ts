import { describe, expect, it } from "vitest";

import { ConfigurationError } from "../errors/configuration-error.ts";
import { type ClientConfig, clientConfigSchema } from "./client-config.ts";
import { parseConfig } from "./parse-config.ts";

const read = (input: unknown): ClientConfig => parseConfig(clientConfigSchema, input, "client");

describe("probeGeneration", () => {
  it("is off unless it is asked for", () => {
    for (const input of [{}, { probeGeneration: false }, { probe_generation: null }]) {
      expect(read(input).probeGeneration).toBeUndefined();
    }
  });

  it("is true for the defaults, or says how, in either spelling", () => {
    expect(read({ probeGeneration: true }).probeGeneration).toEqual({
      intervalMs: 60_000,
      timeoutMs: 30_000,
    });
    const body = { model: "m", max_tokens: 2 };
    expect(read({ probe_generation: { interval_ms: 5, body } }).probeGeneration).toEqual({
      intervalMs: 5,
      timeoutMs: 30_000,
      body,
    });
  });

  it("is refused with the field at fault", () => {
    const problem = (input: unknown): string => {
      try {
        read({ probeGeneration: input });
      } catch (error) {
        if (error instanceof ConfigurationError)
          return `${error.issues[0]!.path.join(".")}: ${error.issues[0]!.message}`;
        throw error;
      }
      return "accepted";
    };
    expect(problem({ intervalMs: 0 })).toBe("probeGeneration.intervalMs: Input should be greater than 0");
    expect(problem({ body: "x" })).toBe("probeGeneration.body: Input should be a valid dictionary");
    expect(problem("often")).toMatch(/^probeGeneration: Input should be true, false, or an object/);
    expect(problem({ interval: 5 })).toMatch(/^probeGeneration.interval: Extra inputs are not permitted/);
  });
});
