import { stringify } from "yaml";

/** A document as YAML text that Python's loader reads as the same values. */
export function yamlText(document: unknown): string {
  // YAML 1.1, as Python reads it: words such as "on" need quotes. No aliases: people edit these files.
  return stringify(document, { version: "1.1", aliasDuplicateObjects: false, lineWidth: 0 });
}
