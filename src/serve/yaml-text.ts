import { Document, isScalar, visit } from "yaml";

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

const mergeTag = "tag:yaml.org,2002:merge";

/** A document as YAML text that Python's loader reads as the same values. */
export function yamlText(document: unknown): string {
  // YAML 1.1, as Python reads it: words such as "on" need quotes. No aliases: people edit these files.
  const tree = new Document(document, {
    version: "1.1",
    aliasDuplicateObjects: false,
    // The library writes a key `<<` bare whatever its style, when it knows what that means.
    customTags: (tags) => tags.filter((tag) => typeof tag === "string" || tag.tag !== mergeTag),
  });
  visit(tree, {
    Pair(_, { key }) {
      // Without quotes readers merge a map into this one.
      if (isScalar(key) && key.value === "<<") key.type = "QUOTE_DOUBLE";
    },
  });
  return tree.toString({ lineWidth: 0 });
}
