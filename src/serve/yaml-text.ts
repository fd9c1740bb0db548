import { stringify } from "yaml";

/** How a document is handed out: as an object, or as YAML text. */
export type DocumentFormat = "object" | "yaml";

/** A document in a format. */
export type Written<Format extends DocumentFormat, Document> = Format extends "yaml" ? string : Document;

/** A document as it was asked for. @param format default "object" */
export function written<Format extends DocumentFormat, Document>(
  document: Document,
  format: Format | undefined,
): Written<Format, Document> {
  return (format === "yaml" ? yamlText(document) : document) as Written<Format, Document>;
}

/** A document as YAML text that Python's loader reads as the same values. */
export function yamlText(document: unknown): string {
  // YAML 1.1, as Python reads it: words such as "on" need quotes. No aliases: people edit these files.
  return stringify(document, { version: "1.1", aliasDuplicateObjects: false, lineWidth: 0 });
}
