import { expect, it } from "vitest";

import { type LoraConfig, loraDisagreements } from "./lora-config.ts";

const config = (more: Partial<LoraConfig> = {}): LoraConfig => ({
  dynamicLoraLoadingPath: "s3://b/lora",
  maxNumAdaptersPerReplica: 4,
  downloadTimeoutS: 30,
  maxDownloadTries: 3,
  ...more,
});

it.each([
  [undefined, undefined, []],
  [config(), config({ downloadTimeoutS: null, maxDownloadTries: 1 }), []],
  [config(), undefined, [/"s3:\/\/b\/lora" and decode has no lora_config/]],
  [config(), config({ maxNumAdaptersPerReplica: 8 }), [/prefill keeps 4 adapters a replica and decode 8/]],
  [
    config(),
    config({ dynamicLoraLoadingPath: "s3://c", maxNumAdaptersPerReplica: 8 }),
    [/"s3:\/\/b\/lora" and decode has "s3:\/\/c"/, /prefill keeps 4 .* decode 8/],
  ],
])("differences of the sides: %j %j", (prefill, decode, expected) => {
  expect(loraDisagreements(prefill, decode)).toEqual(expected.map((text) => expect.stringMatching(text)));
});
