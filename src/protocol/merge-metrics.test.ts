import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { mergeMetrics, sampleText } from "./merge-metrics.ts";
import { parsePrometheusText } from "./prometheus-text.ts";

const page = (replica: string, text: string | undefined) => ({ labels: { deployment: "d", replica }, text });

describe("mergeMetrics", () => {
  it("keeps families together, with the labels of each engine", () => {
    const text = `# HELP vllm:a What.\n# TYPE vllm:a gauge\nvllm:a{engine="0"} 1.0\n# TYPE vllm:b counter\nvllm:b 2\n`;
    expect(mergeMetrics([page("x", text), page("y", undefined), page("z", text)])).toBe(
      `# HELP vllm:a What.
# TYPE vllm:a gauge
vllm:a{deployment="d",replica="x",engine="0"} 1
vllm:a{deployment="d",replica="z",engine="0"} 1
# TYPE vllm:b counter
vllm:b{deployment="d",replica="x"} 2
vllm:b{deployment="d",replica="z"} 2
`,
    );
  });

  it("keeps a histogram's samples in its family", () => {
    const text = `# TYPE vllm:h histogram\nvllm:h_bucket{le="+Inf"} 1\nvllm:h_sum 0.5\nvllm:h_count 1\n`;
    expect(
      mergeMetrics([page("x", text)])
        .split("\n")
        .filter((line) => line.startsWith("#")),
    ).toEqual(["# TYPE vllm:h histogram"]);
  });

  it("renames an engine's own labels of the same names, and leaves out what is not an engine's", () => {
    const text = `vllm:a{replica="own"} NaN\nprocess_cpu 1\nvllm:broken{ 1\n# TYPE vllm:a nonsense\nvllm:c -Inf\n`;
    expect(mergeMetrics([page("x", text)])).toBe(
      `vllm:a{deployment="d",replica="x",exported_replica="own"} NaN\nvllm:c{deployment="d",replica="x"} -Inf\n`,
    );
  });

  it("is readable whatever the engines send", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), fc.string({ unit: "binary" }), (text, label) => {
        const line = sampleText("vllm:a", { label }, 1);
        const merged = mergeMetrics([page("x", `${text}\n${line}\n`)]);
        const samples = parsePrometheusText(merged);
        expect(samples.length).toBe(
          merged.split("\n").filter((each) => each !== "" && !each.startsWith("#")).length,
        );
      }),
    );
  });
});
