import type * as z from "zod";

import { isPlainObject, reading, type SchemaProblem } from "./lax-schema.ts";

/**
 * An actor that Ray starts beside a deployment's replicas (`DeploymentActorConfig`). There are none here: it is
 * kept for export as it was written.
 */
export type DeploymentActor = Readonly<Record<string, unknown>> & { readonly name: string };

/** Reads a list of deployment actors: named objects. */
export function deploymentActors(): z.ZodType<readonly DeploymentActor[]> {
  return reading<readonly DeploymentActor[]>((input) => {
    if (!Array.isArray(input)) return { type: "list_type", message: "Input should be a valid list" };
    const problems: SchemaProblem[] = [];
    input.forEach((actor: unknown, index) => {
      if (!isPlainObject(actor)) {
        problems.push({ type: "model_type", message: "Input should be a valid dictionary", path: [index] });
      } else if (typeof actor["name"] !== "string") {
        const type = actor["name"] === undefined ? "missing" : "string_type";
        const message = type === "missing" ? "Field required" : "Input should be a valid string";
        problems.push({ type, message, path: [index, "name"] });
      }
    });
    return problems.length > 0 ? problems : { value: input as readonly DeploymentActor[] };
  });
}

/** Names that occur more than once, in Ray's words; `undefined` when none does. */
export function duplicateActorsProblem(
  actors: readonly DeploymentActor[] | null | undefined,
): string | undefined {
  const names = (actors ?? []).map((actor) => actor.name);
  const duplicates = [...new Set(names.filter((name, index) => names.indexOf(name) !== index))].sort();
  if (duplicates.length === 0) return undefined;
  const list = duplicates.map((name) => `'${name}'`).join(", ");
  return `deployment_actors must have unique names. Duplicate name(s): [${list}]`;
}
