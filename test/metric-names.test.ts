import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { errorCodeLabels } from "../src/observability/error-code-label.ts";
import { type MetricDefinition, metricDefinitions } from "../src/observability/metric-definitions.ts";

const docs = join(import.meta.dirname, "..", "docs");
const definitions: readonly MetricDefinition[] = Object.values(metricDefinitions);

/** The metric that a name in a query stands for. */
function definitionOf(name: string): MetricDefinition | undefined {
  return definitions.find(({ name: own, kind }) =>
    kind === "histogram" ? [`${own}_bucket`, `${own}_sum`, `${own}_count`].includes(name) : own === name,
  );
}

describe("docs/grafana-dashboard.json", () => {
  const dashboard = JSON.parse(readFileSync(join(docs, "grafana-dashboard.json"), "utf8")) as {
    readonly panels: readonly {
      readonly title: string;
      readonly targets: readonly { readonly expr: string }[];
    }[];
  };
  const expressions = dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr));

  it("asks only for metrics and labels that exist", () => {
    expect(expressions.length).toBeGreaterThan(25);
    for (const expression of expressions) {
      const names = expression.match(/\b(?:ray_serve|serve_llm)_\w+/g) ?? [];
      expect(names.length, expression).toBeGreaterThan(0);
      for (const name of names) {
        const labels = ["application", ...(definitionOf(name)?.labels ?? [])];
        expect(definitionOf(name), name).toBeDefined();
        const grouped = /\bby \(([^)]*)\)/.exec(expression)?.[1]!.split(/,\s*/) ?? [];
        expect(
          grouped.filter((label) => label !== "le" && !labels.includes(label)),
          expression,
        ).toEqual([]);
      }
    }
  });
});

describe("the labels of error codes", () => {
  it("are the documented codes", () => {
    const rows = readFileSync(join(docs, "errors.md"), "utf8").matchAll(/^\| `([a-z_]+)` \|/gm);
    expect([...errorCodeLabels].sort()).toEqual([...rows].map(([, code]) => code!).sort());
  });
});

describe("docs/observability.md", () => {
  it("names every metric, and no other", () => {
    const text = readFileSync(join(docs, "observability.md"), "utf8");
    const named = [...text.matchAll(/^\| `((?:ray_serve|serve_llm)_\w+)` \|/gm)].map(([, name]) => name!);
    expect(named.sort()).toEqual(definitions.map(({ name }) => name).sort());
  });
});
