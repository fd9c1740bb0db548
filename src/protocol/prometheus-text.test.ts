import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { engineLoadFromMetrics, parsePrometheusText } from "./prometheus-text.ts";

const page = `# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_running{model_name="m",engine="1"} 2
vllm:num_requests_waiting{engine="0",model_name="m"} 1.0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="m"} 0.75
`;

describe("parsePrometheusText", () => {
  it("reads vLLM's page", () => {
    const samples = parsePrometheusText(page);
    expect(samples).toHaveLength(5);
    expect({ ...samples[1], labels: { ...samples[1]?.labels } }).toEqual({
      name: "vllm:num_requests_running",
      labels: { engine: "1", model_name: "m" },
      value: 2,
    });
  });

  it.each<[string, Record<string, string>, number]>([
    ["a 1", {}, 1],
    ["a{} 1e-3", {}, 0.001],
    ['  a  {  x = "1" , }  -2.5  1700000000000', { x: "1" }, -2.5],
    ['a{x="q\\"b\\\\n\\n{},"} +Inf', { x: 'q"b\\n\n{},' }, Infinity],
    ["a -Inf", {}, -Infinity],
    ["a NaN", {}, Number.NaN],
    ['a_bucket{le="+Inf"} 7 # {trace_id="x"} 0.5', { le: "+Inf" }, 7],
    ["a 1\r", {}, 1],
    ['a{__proto__="x"} 1', JSON.parse('{"__proto__":"x"}') as Record<string, string>, 1],
  ])("reads %j", (line, labels, value) => {
    const [sample] = parsePrometheusText(line);
    expect(sample?.value).toBe(value);
    expect(Object.entries(sample?.labels ?? {})).toEqual(Object.entries(labels));
  });

  it.each([
    "",
    "# a 1",
    "a",
    "a{x} 1",
    'a{x="1} 1',
    'a{x="1" y="2"} 1',
    "a one",
    "1a 1",
    "a 0x10",
    'a{x="1"',
  ])("passes over %j, not over the next line", (line) => {
    expect(parsePrometheusText(`${line}\nb 2`).map(({ name }) => name)).toEqual(["b"]);
  });

  it("reads back any labels in any order", () => {
    const escape = (text: string): string =>
      text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
    const label = fc.tuple(fc.stringMatching(/^[a-z_]{1,5}$/), fc.string({ unit: "grapheme" }));
    fc.assert(
      fc.property(
        fc.uniqueArray(label, { selector: ([name]) => name, maxLength: 5 }),
        fc.double({ noNaN: true, noDefaultInfinity: true }),
        (labels, value) => {
          const text = labels.map(([name, content]) => `${name}="${escape(content)}"`).join(",");
          const [sample] = parsePrometheusText(`m{${text}} ${value}`);
          expect(Object.entries(sample?.labels ?? {})).toEqual(labels);
          expect(sample?.value).toBe(Number(String(value)));
        },
      ),
    );
  });

  it("never throws", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom("a", "{", "}", '"', "\\", ",", "=", " ", "1", "#", "\n") }),
        (text) => {
          for (const { name } of parsePrometheusText(text)) expect(name).not.toBe("");
        },
      ),
    );
  });
});

describe("engineLoadFromMetrics", () => {
  it("sums the engines and takes the fullest cache", () => {
    expect(engineLoadFromMetrics(parsePrometheusText(page))).toEqual({
      running: 5,
      waiting: 1,
      kvCacheUsage: 0.75,
    });
  });

  it("knows the old cache metric, and skips NaN", () => {
    const old = "vllm:num_requests_running 1\nvllm:num_requests_waiting NaN\nvllm:gpu_cache_usage_perc 0.5";
    expect(engineLoadFromMetrics(parsePrometheusText(old))).toEqual({
      running: 1,
      waiting: 0,
      kvCacheUsage: 0.5,
    });
  });

  it("is undefined for a server that is no vLLM", () => {
    expect(engineLoadFromMetrics(parsePrometheusText("process_cpu_seconds_total 1"))).toBeUndefined();
  });
});
