import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import { describe, expect, it } from "vitest";
import { loadConfig } from "../src/builders/load-config.ts";
import { pages, root, textOf } from "./snippets/pages.ts";

interface Piece {
  readonly name: string;
  readonly text: string;
}

/** Every fence of YAML, however far it is indented, without the indentation. */
function yamlFences(page: string): readonly Piece[] {
  const found = [...textOf(page).matchAll(/^([ \t]*)(`{3,}|~{3,})ya?ml[^\n]*\n(.*?)^\1\2/gms)];
  return found.map(([, indent, , text], index) => ({
    name: `${page} ${index + 1}`,
    text: text!.replaceAll(new RegExp(`^${indent}`, "gm"), ""),
  }));
}

const folder = join(root, "examples");
const files = readdirSync(folder, { recursive: true, encoding: "utf8" })
  .filter((path) => /\.ya?ml$/.test(path))
  .map((path): Piece => ({ name: `examples/${path}`, text: readFileSync(join(folder, path), "utf8") }));
const pieces = [...pages.flatMap(yamlFences), ...files];

/** What a piece of a page leaves out. */
const model = {
  model_loading_config: { model_id: "llama-8b" },
  engine_kwargs: { kv_transfer_config: { kv_connector: "NixlConnector", kv_role: "kv_both" } },
};

type Fields = Readonly<Record<string, unknown>>;

/** Loads it as what it is: a Serve config, arguments of the prefill/decode builder, Kubernetes objects. */
function load({ name, text }: Piece): string {
  const documents = parseAllDocuments(text, { uniqueKeys: true });
  expect(
    documents.flatMap(({ errors, warnings }) => [...errors, ...warnings]),
    name,
  ).toEqual([]);
  const values = documents.map((document) => document.toJS() as Fields);
  if (values.every((value) => "apiVersion" in value && "kind" in value)) {
    // serve-llm's own config within a ConfigMap is tried by kubernetes-manifests.test.ts.
    return "manifests";
  }
  expect(values, name).toHaveLength(1);
  const [value] = values as [Fields];
  if ("applications" in value) {
    const lacksEngines = !/^\s*-?\s*endpoints:/m.test(text);
    const engines = { prefill: ["http://p0:8000"], decode: ["http://d0:8000"] };
    expect(loadConfig(value, lacksEngines ? engines : {}).applications.length, name).toBeGreaterThan(0);
    return "serve config";
  }
  if ("prefill_config" in value && "decode_config" in value) {
    const side = (part: unknown): object => ({ ...model, ...(part as object) });
    const args = {
      ...value,
      prefill_config: side(value["prefill_config"]),
      decode_config: side(value["decode_config"]),
    };
    loadConfig({ applications: [{ import_path: "ray.serve.llm:build_pd_openai_app", args }] });
    return "builder arguments";
  }
  throw new Error(`${name} is nothing that this test knows how to load`);
}

describe("the YAML of the pages and examples", () => {
  it("is found", () => {
    const kinds = new Set(pieces.map(load));
    expect([...kinds].sort()).toEqual(["builder arguments", "manifests", "serve config"]);
  });

  it.each(pieces.map((piece) => [piece.name, piece] as const))("%s loads", (_name, piece) => {
    load(piece);
  });

  it("would not, with an option nobody knows", () => {
    const [args] = pieces.filter(({ text }) => /^prefill_config:/m.test(text));
    const broken = args!.text.replace("endpoints:", "endpoint:");
    expect(() => load({ name: "broken", text: broken })).toThrow(/endpoint/);
    expect(() => load({ name: "broken", text: "a: [1" })).toThrow();
  });
});
