import * as fc from "fast-check";
import { expect, it } from "vitest";
import { scanJsonObject } from "../protocol/json-object-index.ts";
import { RawJson } from "../protocol/raw-json.ts";
import { hasBlockId } from "./handle-check.ts";
import { NixlConnector } from "./nixl-connector.ts";

const names = [
  "do_remote_prefill",
  "remote_block_ids",
  "remote_engine_id",
  "remote_host",
  "remote_port",
  "remote_request_id",
  "tp_size",
  "pp_size",
];
const field = fc.constantFrom(
  "true",
  "false",
  "null",
  '"x"',
  "7",
  "[]",
  "[1]",
  "[[]]",
  "[[],[2]]",
  "[null]",
  "{}",
);
const usable =
  '"do_remote_prefill":true,"remote_block_ids":[[1]],"remote_engine_id":"e","remote_host":"h","remote_port":1';
const handle = fc
  .tuple(fc.array(fc.tuple(fc.constantFrom(...names), field), { maxLength: 8 }), fc.boolean())
  .map(([fields, isUsable]) => {
    const given = fields.map(([name, value]) => `"${name}":${value}`);
    return `{${[...(isUsable ? [usable] : []), ...given].join(", ")}}`;
  });

it("says the same of a handle that was found by a scan and of one that was not", () => {
  const connector = new NixlConnector();
  fc.assert(
    fc.property(handle, (text) => {
      const scanned = scanJsonObject(Buffer.from(`{"kv_transfer_params": ${text} }`)).element(
        "kv_transfer_params",
      )!;
      expect(connector.checkHandle(new RawJson(scanned.bytes, scanned))).toBe(
        connector.checkHandle(RawJson.fromText(text)),
      );
    }),
  );
});

it.each([
  ["[1]", true],
  ["[[],[2]]", true],
  ["[[1]]", true],
  ["[]", false],
  ["[[],[]]", false],
  ["[null]", false],
  ["{}", false],
  ["7", false],
])("finds a block in %s: %s", (ids, expected) => {
  expect(hasBlockId(scanJsonObject(Buffer.from(`{"ids":${ids}}`)).element("ids"))).toBe(expected);
});
