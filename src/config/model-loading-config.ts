import type * as z from "zod";

import { listOf, objectOf, optional, reading, report, text, withDefault } from "./lax-schema.ts";
import { isRemoteUri, remotePrefixWords } from "./remote-uri.ts";

/** One file that goes to a fixed place beside the weights. Ray's `ExtraFiles`. */
export interface ExtraFile {
  readonly bucketUri: string;
  readonly destinationPath: string;
}

/** Weights in cloud storage. Ray's `CloudMirrorConfig`. */
export interface CloudMirrorConfig {
  /** `s3://`, `gs://`, `abfss://` or `azure://`. */
  readonly bucketUri?: string | undefined;
  /** @default [] */
  readonly extraFiles?: readonly ExtraFile[] | undefined;
}

/** Which model a deployment serves. Ray's `ModelLoadingConfig`. */
export interface ModelLoadingConfig {
  /** Name clients use in `model`. Not empty; must be the same for prefill and decode. */
  readonly modelId: string;
  /** Hugging Face id, local path, remote URI or mirror of the weights. @default modelId */
  readonly modelSource?: string | CloudMirrorConfig | undefined;
  /** @default the model's own tokenizer */
  readonly tokenizerSource?: string | undefined;
}

const bucketUri = reading<string>((input) => {
  if (typeof input !== "string") return { type: "string_type", message: "Input should be a valid string" };
  if (isRemoteUri(input)) return { value: input };
  return {
    type: "value_error",
    message: `Got invalid value "${input}" for bucket_uri. Expected a URI that starts with ${remotePrefixWords}.`,
  };
});

const mirrorSchema = objectOf("CloudMirrorConfig", {
  bucketUri: optional(bucketUri),
  extraFiles: withDefault(listOf(objectOf("ExtraFiles", { bucketUri: text(), destinationPath: text() })), []),
});

/** A string, or a mirror: the error of whichever the value looks like is reported. */
const modelSource = (mirrorSchema as z.ZodType).or(text()) as z.ZodType<string | CloudMirrorConfig>;

const modelId = text().superRefine((value, context) => {
  if (value.trim() !== "") return;
  report(context, { type: "string_too_short", message: "model_id must not be empty or blank" }, value);
});

/** Schema of {@link ModelLoadingConfig}. */
export const modelLoadingConfigSchema: z.ZodType<ModelLoadingConfig> = objectOf("ModelLoadingConfig", {
  modelId,
  modelSource: optional(modelSource),
  tokenizerSource: optional(text()),
});
