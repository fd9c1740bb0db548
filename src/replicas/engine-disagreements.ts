import type { ServedModel } from "./served-model.ts";

/** What is known of an engine; a `Replica` has it. */
export interface EngineFacts {
  readonly id: string;
  readonly version?: string | undefined;
  readonly servedModels?: readonly ServedModel[] | undefined;
}

/** Something that prefill and decode engines should have in common and have not. */
export interface EngineDisagreement {
  readonly kind:
    /** They run different versions of vLLM, whose KV layouts need not be the same. */
    | "version"
    /** A model that one side serves and the other does not. */
    | "model"
    /** One name, but weights from different places: right status, wrong tokens. */
    | "weights"
    /** One name, but another longest prompt. */
    | "max_model_len";
  /** The model's name; undefined for `version`. */
  readonly model: string | undefined;
  /** What the prefill side has, sorted; empty: nothing. */
  readonly prefill: readonly string[];
  /** What the decode side has, sorted; empty: nothing. */
  readonly decode: readonly string[];
  /** A sentence for people. */
  readonly message: string;
}

/**
 * Where the two sides of a prefill/decode pair differ. Engines that were not asked yet, or did not say, are left out;
 * so are LoRA adapters, which come and go.
 */
export function disagreements(
  prefill: readonly EngineFacts[],
  decode: readonly EngineFacts[],
): readonly EngineDisagreement[] {
  const found: EngineDisagreement[] = [];
  const compare = (
    kind: EngineDisagreement["kind"],
    model: string | undefined,
    what: string,
    onPrefill: readonly string[],
    onDecode: readonly string[],
  ): void => {
    if (onPrefill.length === 0 || onDecode.length === 0) return;
    if (onPrefill.length === 1 && onDecode.length === 1 && onPrefill[0] === onDecode[0]) return;
    const message = `${what}: prefill has ${onPrefill.join(", ")}; decode has ${onDecode.join(", ")}.`;
    found.push({ kind, model, prefill: onPrefill, decode: onDecode, message });
  };
  const versions = (side: readonly EngineFacts[]): string[] => [...versionsByEngine(side).keys()].toSorted();
  compare("version", undefined, "vLLM's version differs", versions(prefill), versions(decode));
  const prefillModels = baseModels(prefill);
  const decodeModels = baseModels(decode);
  if (prefillModels.size === 0 || decodeModels.size === 0) return found;
  for (const id of [...new Set([...prefillModels.keys(), ...decodeModels.keys()])].toSorted()) {
    const onPrefill = prefillModels.get(id);
    const onDecode = decodeModels.get(id);
    if (onPrefill === undefined || onDecode === undefined) {
      const [has, hasNot] = onPrefill === undefined ? ["decode", "prefill"] : ["prefill", "decode"];
      found.push({
        kind: "model",
        model: id,
        prefill: onPrefill === undefined ? [] : [id],
        decode: onDecode === undefined ? [] : [id],
        message: `Model "${id}" is served by ${has} engines but by no ${hasNot} engine.`,
      });
      continue;
    }
    const roots = (models: readonly ServedModel[]): string[] => distinct(models.map(({ root }) => root));
    compare("weights", id, `The weights of model "${id}" differ`, roots(onPrefill), roots(onDecode));
    const lengths = (models: readonly ServedModel[]): string[] =>
      distinct(models.map(({ maxModelLen }) => maxModelLen?.toString()));
    compare(
      "max_model_len",
      id,
      `max_model_len of model "${id}" differs`,
      lengths(onPrefill),
      lengths(onDecode),
    );
  }
  return found;
}

/** Engines by the version they run; those that did not say are left out. */
export function versionsByEngine(
  engines: readonly EngineFacts[],
): ReadonlyMap<string, readonly EngineFacts[]> {
  const byVersion = new Map<string, EngineFacts[]>();
  for (const engine of engines) {
    if (engine.version === undefined) continue;
    const same = byVersion.get(engine.version);
    if (same === undefined) byVersion.set(engine.version, [engine]);
    else same.push(engine);
  }
  return byVersion;
}

function baseModels(engines: readonly EngineFacts[]): ReadonlyMap<string, readonly ServedModel[]> {
  const byId = new Map<string, ServedModel[]>();
  for (const model of engines.flatMap((engine) => engine.servedModels ?? [])) {
    if (model.parent !== undefined) continue;
    const same = byId.get(model.id);
    if (same === undefined) byId.set(model.id, [model]);
    else same.push(model);
  }
  return byId;
}

function distinct(values: readonly (string | undefined)[]): string[] {
  return [...new Set(values.filter((value) => value !== undefined))].toSorted();
}
