import { describe, expect, it } from "vitest";

import { clientConfigSchema } from "../config/client-config.ts";
import { FakeClock } from "../testing/fake-clock.ts";
import { EngineQuestions } from "./engine-questions.ts";
import { FindingList, type SideName } from "./finding.ts";
import { isLoopback, judgeSideChannelHost } from "./judge-handles.ts";

function engine(side: SideName, url: string): EngineQuestions {
  return new EngineQuestions(side, { url }, clientConfigSchema.parse({}), new FakeClock(), 1_000);
}

function judge(host: string, prefillUrl: string, decodeUrls: readonly string[]): string | undefined {
  const findings = new FindingList();
  const prefill = engine("prefill", prefillUrl);
  const decodes = decodeUrls.map((url) => engine("decode", url));
  judgeSideChannelHost({ engine: prefill, engineId: "e", host, port: 5600 }, decodes, findings);
  expect(findings.all.every(({ check }) => check === "side-channel-host")).toBe(true);
  return findings.all[0]?.severity;
}

describe("side-channel-host", () => {
  it.each([
    ["localhost", "http://p:8000", ["http://d:8000"], "problem"],
    ["127.0.0.1", "http://p:8000", ["http://p:8001", "http://d:8000"], "problem"],
    ["0.0.0.0", "http://p:8000", ["http://d:8000"], "problem"],
    ["::1", "http://[fd00::1]:8000", ["http://[fd00::2]:8000"], "problem"],
    // Prefill seen through a port forward: its loopback is not decode's.
    ["localhost", "http://127.0.0.1:8000", ["http://d:8000"], "problem"],
    ["localhost", "http://host:8000", ["http://host:8001"], "warning"],
    ["localhost", "http://127.0.0.1:8000", ["http://localhost:8001"], "ok"],
    ["10.0.0.5", "http://p:8000", ["http://d:8000"], "ok"],
    ["p.svc", "http://127.0.0.1:8000", ["http://d:8000"], "ok"],
  ])("%s, prefill on %s, decode on %s: %s", (host, prefill, decodes, severity) => {
    expect(judge(host, prefill, decodes)).toBe(severity);
  });

  it("knows this machine by all its names", () => {
    for (const host of [
      "localhost",
      "LOCALHOST",
      "127.0.0.1",
      "127.8.9.1",
      "::1",
      "[::1]",
      "::",
      "0.0.0.0",
    ]) {
      expect(isLoopback(host), host).toBe(true);
    }
    for (const host of ["10.0.0.1", "127.example", "localhost.example", "fd00::1"]) {
      expect(isLoopback(host), host).toBe(false);
    }
  });
});
