import type * as z from "zod";

import { fieldSchemas, snakeCased } from "./casing.ts";
import { isPlainObject } from "./lax-schema.ts";

/**
 * A parsed configuration as pydantic's `model_dump()` shows it: snake_case, and null for each field that was not
 * given and has no default.
 */
export function pythonDump(schema: z.ZodType, value: unknown): unknown {
  return snakeCased(schema, withNulls(schema, value));
}

function withNulls(schema: z.ZodType, value: unknown): unknown {
  if (Array.isArray(value)) return value;
  const fields = fieldSchemas(schema);
  if (fields === undefined || !isPlainObject(value)) return value;
  const result: Record<string, unknown> = {};
  for (const [name, field] of fields) {
    const element = value[name];
    result[name] = element === undefined ? null : withNulls(field, element);
  }
  return result;
}
