import type { Endpoint } from "../config/endpoint.ts";
import { ConfigurationError } from "../errors/configuration-error.ts";
import { RankAssignment, type RankLayout } from "./rank-assignment.ts";

/**
 * Checks that a complete list of endpoints has every data-parallel rank of one group, or of several.
 *
 * @param subject what the list belongs to, for the message
 * @throws ConfigurationError naming every endpoint without a place, or the ranks that are missing
 */
export function requireAllRanks(
  endpoints: readonly Endpoint[],
  layout: RankLayout,
  subject: string,
  groups: "one" | "several",
): void {
  const { endpoints: ranks, issues } = new RankAssignment(layout).assign(endpoints, true);
  if (issues.length > 0) {
    throw new ConfigurationError(
      subject,
      issues.map((issue) => ({ ...issue, path: ["endpoints", ...issue.path] })),
    );
  }
  const { size, perNode } = layout;
  const found = new Set(ranks.map(({ place }) => place?.group)).size;
  if (ranks.length === size * found && (found === 1 || groups === "several")) return;
  const nodes = perNode === undefined || perNode === 1 ? undefined : size / perNode;
  const each = `one endpoint for each of ${size} ranks (data_parallel_size)`;
  const other =
    nodes === undefined
      ? "one endpoint with all of them"
      : `one for each of ${nodes} nodes (dp_size_per_node)`;
  throw new ConfigurationError(subject, [
    {
      path: ["endpoints"],
      type: "value_error",
      message: "The endpoints are not those of all data-parallel ranks",
      expected: `${each}, or ${other}`,
      received: `${endpoints.length} endpoints with ${ranks.length} ranks`,
    },
  ]);
}
