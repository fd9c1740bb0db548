import * as fc from "fast-check";
import { describe, expect, it } from "vitest";

import { RawJson } from "../protocol/raw-json.ts";
import type { KvSetupInput } from "./kv-setup-context.ts";
import { setupKvTransfer } from "./setup-kv-transfer.ts";

function input(kvTransferConfig: unknown, more: Partial<KvSetupInput> = {}): KvSetupInput {
  return { kvTransferConfig, replicaRank: 0, nodeIp: "10.0.0.9", random: () => 0, ...more };
}

const anyConfig = fc.oneof(
  fc.record({
    kv_connector: fc.constant("NixlConnector"),
    engine_id: fc.option(fc.string(), { nil: undefined }),
  }),
  fc.constant({ kv_connector: "MoRIIOConnector" }),
  fc.constant({
    kv_connector: "MultiConnector",
    kv_connector_extra_config: {
      connectors: [{ kv_connector: "NixlConnector" }, { kv_connector: "MoRIIOConnector" }],
    },
  }),
);

describe("setupKvTransfer", () => {
  it("changes nothing more the second time, and never its input", () => {
    fc.assert(
      fc.property(anyConfig, fc.nat(100), (config, replicaRank) => {
        const before = structuredClone(config);
        const first = setupKvTransfer(input(config, { replicaRank }));
        const second = setupKvTransfer(input(first.kvTransferConfig, { replicaRank, env: first.env }));
        expect(config).toEqual(before);
        expect(second.kvTransferConfig).toEqual(first.kvTransferConfig);
        expect(second.env).toEqual(first.env);
        expect(second.replicaMetadata).toEqual(first.replicaMetadata);
      }),
    );
  });

  it("gives replicas of one host different ports", () => {
    fc.assert(
      fc.property(fc.nat(50), fc.nat(50), fc.integer({ min: 1, max: 8 }), (left, right, size) => {
        fc.pre(left !== right);
        const engineKwargs = { tensor_parallel_size: size };
        const config = { kv_connector: "NixlConnector" };
        const ports = [left, right].map(
          (replicaRank) =>
            setupKvTransfer(input(config, { replicaRank, engineKwargs })).env["VLLM_NIXL_SIDE_CHANNEL_PORT"],
        );
        expect(ports[0]).not.toBe(ports[1]);
      }),
    );
  });

  it("passes on what it does not know, raw JSON too", () => {
    const raw = RawJson.fromText("18446744073709551615");
    const config = { kv_connector: "NixlConnector", kv_buffer_size: raw };
    expect(setupKvTransfer(input(config)).kvTransferConfig).toMatchObject({ kv_buffer_size: raw });
  });

  it("warns of a preset port, of impossible ports and of strangers", () => {
    const env = { VLLM_NIXL_SIDE_CHANNEL_PORT: "5600" };
    expect(setupKvTransfer(input({ kv_connector: "NixlConnector" }, { env })).warnings.join()).toMatch(
      /every replica/,
    );
    const late = setupKvTransfer(input({ kv_connector: "MoRIIOConnector" }, { replicaRank: 5000 }));
    expect(late.warnings.join()).toMatch(/notify_port 66005 is no port/);
    expect(setupKvTransfer(input({ kv_connector: "Strange" })).warnings).toHaveLength(1);
  });

  it("names the variable, the field and the missing rank", () => {
    const nixl = { kv_connector: "NixlConnector" };
    expect(() => setupKvTransfer(input(nixl, { env: { VLLM_NIXL_SIDE_CHANNEL_PORT: "x" } }))).toThrow(
      /env.VLLM_NIXL_SIDE_CHANNEL_PORT: not a whole number; expected an integer; got "x"/,
    );
    expect(() => setupKvTransfer(input({ ...nixl, engine_id: 7 }))).toThrow(/kv_transfer_config.engine_id/);
    expect(() => setupKvTransfer(input(nixl, { replicaRank: null }))).toThrow(/replicaRank/);
    expect(() => setupKvTransfer(input("NixlConnector"))).toThrow(/kv_transfer_config/);
    for (const kv_connector of ["LMCacheConnectorV1", "MoRIIOConnector"]) {
      const broken = { kv_connector, kv_connector_extra_config: "x" };
      expect(() => setupKvTransfer(input(broken))).toThrow(/kv_connector_extra_config is not an object/);
    }
  });

  it("takes booleans and text for port bases, as Python's int does", () => {
    const base = (value: unknown) =>
      setupKvTransfer(
        input(
          { kv_connector: "NixlConnector" },
          { experimentalConfigs: { NIXL_SIDE_CHANNEL_PORT_BASE: value } },
        ),
      ).env["VLLM_NIXL_SIDE_CHANNEL_PORT"];
    expect([base(" 30_000 "), base(true), base(7.9)]).toEqual(["30000", "1", "7"]);
  });

  it("names an LMCache port of its own, from whatever was given", () => {
    const port = (lmcache_rpc_port: unknown) =>
      setupKvTransfer(
        input({ kv_connector: "LMCacheConnectorV1", kv_connector_extra_config: { lmcache_rpc_port } }),
      ).kvTransferConfig;
    expect(port(7)).toMatchObject({ kv_connector_extra_config: { lmcache_rpc_port: "7AAAAAA" } });
    expect(port("")).toMatchObject({
      kv_connector_extra_config: { lmcache_rpc_port: "lmcache_rpc_portAAAAAA" },
    });
  });
});
