import type { LLMConfig } from "../config/llm-config.ts";

/** One LoRA adapter that a model can be asked for as `model:name`. */
export interface LoraAdapter {
  readonly name: string;
  /** Longest context it was made for, in tokens; null when it does not say. */
  readonly maxContextLength: number | null;
  /** Where it lies. */
  readonly uri: string;
}

/** Finds the adapters of a model. Called when models are listed; may be slow, may fail. */
export type ListLoraAdapters = (llmConfig: LLMConfig) => Promise<readonly LoraAdapter[]>;

/** A folder somewhere else: a bucket, a file share. Paths are as in `dynamicLoraLoadingPath`, `s3://bucket/folder`. */
export interface RemoteFolder {
  /** Names of the folders right below a path; none when there is no such path. */
  subfolders(path: string): Promise<readonly string[]>;
  /** Text of a file, or undefined when there is none. */
  readText(path: string): Promise<string | undefined>;
}

/**
 * Lists adapters the way Ray does: every sub-folder of `dynamicLoraLoadingPath` that has an `adapter_config.json`.
 * One whose configuration is missing or unreadable is left out, with a warning.
 */
export function loraAdaptersIn(folder: RemoteFolder, warn: (message: string) => void): ListLoraAdapters {
  return async ({ loraConfig }) => {
    const path = loraConfig?.dynamicLoraLoadingPath;
    if (path === undefined) return [];
    const names = await folder.subfolders(path);
    const adapters = await Promise.all(
      names.map((name) => readAdapter(folder, `${path}/${name}`, name, warn)),
    );
    return adapters.filter((adapter) => adapter !== undefined);
  };
}

async function readAdapter(
  folder: RemoteFolder,
  uri: string,
  name: string,
  warn: (message: string) => void,
): Promise<LoraAdapter | undefined> {
  const text = await folder.readText(`${uri}/adapter_config.json`);
  if (text === undefined) {
    warn(
      `Unable to find LoRA adapter config file "adapter_config.json" in folder ${uri}. ` +
        "Check that the file exists and that you have read permissions.",
    );
    return undefined;
  }
  try {
    const { max_length: maxLength } = JSON.parse(text) as { readonly max_length?: unknown };
    return { name, uri, maxContextLength: typeof maxLength === "number" ? maxLength : null };
  } catch {
    warn(`The LoRA adapter config file in folder ${uri} is not JSON.`);
    return undefined;
  }
}
