import type { LLMConfig } from "../config/llm-config.ts";
import {
  adapterConfigFile,
  adapterFolder,
  type AdapterMetadata,
  adapterMetadata,
  missingAdapterMessage,
} from "../config/model-card.ts";
import { adapterModelIds } from "../config/model-id.ts";
import { ServeLLMError } from "../errors/serve-llm-error.ts";

/** Finds the adapters of a model. Called when models are listed; may be slow, may fail. */
export type ListLoraAdapters = (llmConfig: LLMConfig) => Promise<readonly AdapterMetadata[]>;

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
  return async ({ modelId, loraConfig }) => {
    const path = loraConfig?.dynamicLoraLoadingPath;
    if (path === undefined) return [];
    const ids = adapterModelIds(modelId, await folder.subfolders(path));
    const adapters = await Promise.all(ids.map((id) => readAdapter(folder, path, id, warn)));
    return adapters.filter((adapter) => adapter !== undefined);
  };
}

async function readAdapter(
  folder: RemoteFolder,
  path: string,
  id: string,
  warn: (message: string) => void,
): Promise<AdapterMetadata | undefined> {
  const own = adapterFolder(path, id);
  const text = await folder.readText(adapterConfigFile(own));
  if (text === undefined) {
    warn(missingAdapterMessage(own));
    return undefined;
  }
  try {
    return adapterMetadata(id, path, text);
  } catch (error) {
    if (!ServeLLMError.isInstance(error)) throw error;
    warn(error.message);
    return undefined;
  }
}
