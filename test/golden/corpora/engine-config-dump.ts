import type { EngineConfig } from "../../../src/config/engine-config.ts";
import { attempt, type Outcome } from "../compare.ts";

/** An engine configuration as the recordings show Ray's. */
export function engineConfigDump(engine: EngineConfig): Readonly<Record<string, unknown>> {
  const mirror = engine.mirrorConfig;
  return {
    model_id: engine.modelId,
    hf_model_id: engine.hfModelId ?? null,
    actual_hf_model_id: engine.actualHfModelId,
    mirror_config:
      mirror === undefined
        ? null
        : {
            bucket_uri: mirror.bucketUri ?? null,
            extra_files: (mirror.extraFiles ?? []).map((file) => ({
              bucket_uri: file.bucketUri,
              destination_path: file.destinationPath,
            })),
          },
    engine_kwargs: engine.engineKwargs,
    frontend_kwargs: engine.frontendKwargs,
    trust_remote_code: engine.trustRemoteCode,
    num_devices: engine.numDevices,
  };
}

/** What starting the engine under Ray would be given, or why not. */
export function initializationOutcome(engine: EngineConfig): Outcome<Readonly<Record<string, unknown>>> {
  return attempt(() => engine.initializationKwargs());
}
