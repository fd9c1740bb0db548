import { disagreements, type EngineFacts, versionsByEngine } from "../replicas/engine-disagreements.ts";
import type { EngineRecord } from "./examine-engine.ts";
import type { CheckName, FindingList, SideName } from "./finding.ts";

/** Checks what engines of one side, and the two sides, must have in common. */
export function compareEngines(
  records: readonly EngineRecord[],
  modelId: string | undefined,
  findings: FindingList,
): void {
  const known = records.filter(({ servedModels }) => servedModels !== undefined);
  const prefill = known.filter(({ engine }) => engine.side === "prefill");
  const decode = known.filter(({ engine }) => engine.side === "decode");
  if (modelId !== undefined) findUnserved(known, modelId, findings);
  compareSides(prefill, decode, modelId, findings);
  compareAdapters(known, findings);
  compareCaches(prefill, decode, findings);
}

function findUnserved(records: readonly EngineRecord[], modelId: string, findings: FindingList): void {
  const without = records.filter(({ servedModels }) => !servedModels!.some(({ id }) => id === modelId));
  for (const { engine, servedModels } of without) {
    const others = servedModels!.map(({ id }) => id).join(", ");
    findings.problem(
      "model",
      { side: engine.side, engines: [engine.url] },
      `Does not serve "${modelId}"; it serves ${others === "" ? "nothing" : others}.`,
      "Start it with --served-model-name, or name the model as the engines do (--model).",
    );
  }
}

const adviceFor: Readonly<Record<"version" | "model" | "weights" | "max_model_len", string>> = {
  version:
    "Run one version on both sides: KV layouts differ between versions, and NIXL refuses the handshake then.",
  model: "Serve the same model under the same name (--served-model-name) on both sides.",
  weights:
    "Start both sides from the same path or repository: KV of other weights gives right statuses and wrong tokens.",
  max_model_len:
    "Start both sides with the same --max-model-len: prompts that one side takes are refused by the other.",
};

const checkFor: Readonly<Record<keyof typeof adviceFor, CheckName>> = {
  version: "version",
  model: "model",
  weights: "weights",
  max_model_len: "max-model-len",
};

function compareSides(
  prefill: readonly EngineRecord[],
  decode: readonly EngineRecord[],
  modelId: string | undefined,
  findings: FindingList,
): void {
  if (prefill.length === 0 || decode.length === 0) return;
  const found = disagreements(prefill.map(factsOf), decode.map(factsOf));
  for (const { kind, model, message } of found) {
    // Another model of the engines is nobody's business here, and one that is missing was told of each engine.
    if (modelId !== undefined && model !== undefined && (model !== modelId || kind === "model")) continue;
    const tell = kind === "max_model_len" ? "warning" : "problem";
    findings[tell](checkFor[kind], {}, message, adviceFor[kind]);
  }
  const agreeing = (["version", "weights", "max_model_len"] as const).filter(
    (kind) => !found.some((disagreement) => disagreement.kind === kind),
  );
  const versions = [...versionsByEngine([...prefill, ...decode].map(factsOf)).keys()];
  if (agreeing.includes("version") && versions.length > 0) {
    findings.ok("version", {}, `Every engine runs vLLM ${versions.join(", ")}.`);
  }
  const model = prefill[0]!.servedModels!.find(({ id }) => id === modelId);
  if (model === undefined || found.some(({ kind }) => kind === "model")) return;
  if (agreeing.includes("weights") && model.root !== undefined) {
    findings.ok("weights", {}, `"${model.id}" comes from ${model.root} on both sides.`);
  }
  if (agreeing.includes("max_model_len") && model.maxModelLen !== undefined) {
    findings.ok("max-model-len", {}, `Both sides take ${model.maxModelLen} tokens.`);
  }
}

function factsOf({ engine, version, servedModels }: EngineRecord): EngineFacts {
  return { id: engine.url, version, servedModels };
}

/** Adapters must be on every engine: prefill of one without it is refused, decode of one without it too. */
function compareAdapters(records: readonly EngineRecord[], findings: FindingList): void {
  const paths = new Map<string, Set<string>>();
  for (const { id, parent, root } of records.flatMap(({ servedModels }) => servedModels!)) {
    if (parent === undefined) continue;
    const known = paths.get(id) ?? new Set();
    paths.set(id, known);
    if (root !== undefined) known.add(root);
  }
  for (const [name, roots] of [...paths].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const without = records.filter(({ servedModels }) => !servedModels!.some(({ id }) => id === name));
    if (without.length > 0) {
      findings.problem(
        "lora",
        { side: sideOfAll(without), engines: without.map(({ engine }) => engine.url) },
        `The LoRA adapter "${name}" is loaded elsewhere and missing here.`,
        "Load it under the same name on every engine of both sides (POST /v1/load_lora_adapter, or --lora-modules).",
      );
    } else if (roots.size > 1) {
      findings.warning(
        "lora",
        {},
        `The LoRA adapter "${name}" was loaded from different places: ${[...roots].sort().join(", ")}.`,
        "Make sure these are the same weights: KV of another adapter gives wrong tokens.",
      );
    } else findings.ok("lora", {}, `The LoRA adapter "${name}" is on every engine.`);
  }
}

function sideOfAll(records: readonly EngineRecord[]): SideName | undefined {
  const [first] = records;
  return records.every(({ engine }) => engine.side === first?.engine.side) ? first?.engine.side : undefined;
}

function compareCaches(
  prefill: readonly EngineRecord[],
  decode: readonly EngineRecord[],
  findings: FindingList,
): void {
  const values = (side: readonly EngineRecord[], name: "blockSize" | "cacheDtype"): string[] =>
    [...new Set(side.flatMap(({ metrics }) => (metrics?.[name] === undefined ? [] : [metrics[name]])))].sort(
      (a, b) => Number(a) - Number(b) || (a < b ? -1 : 1),
    );
  const compare = (
    name: "blockSize" | "cacheDtype",
    check: CheckName,
    what: string,
    judge: (prefill: readonly string[], decode: readonly string[]) => "warning" | "problem",
    advice: string,
  ): void => {
    const onPrefill = values(prefill, name);
    const onDecode = values(decode, name);
    if (onPrefill.length === 0 || onDecode.length === 0) return;
    if (onPrefill.length === 1 && onDecode.length === 1 && onPrefill[0] === onDecode[0]) {
      findings.ok(check, {}, `Both sides have ${what} ${onPrefill[0]}.`);
      return;
    }
    const seen = `Prefill has ${what} ${onPrefill.join(", ")}; decode has ${onDecode.join(", ")}.`;
    findings[judge(onPrefill, onDecode)](check, {}, seen, advice);
  };
  compare(
    "blockSize",
    "block-size",
    "block size",
    // NIXL can split decode's blocks, not prefill's.
    (onPrefill, onDecode) => (Number(onPrefill.at(-1)) > Number(onDecode[0]) ? "problem" : "warning"),
    "Start both sides with the same --block-size; connectors support other combinations partly or not at all.",
  );
  compare(
    "cacheDtype",
    "kv-dtype",
    "KV cache type",
    () => "problem",
    "Start both sides with the same --kv-cache-dtype: KV is copied as it is, never converted.",
  );
}
