import { afterEach, describe, expect, it } from "vitest";

import { ConfigurationError } from "../errors/configuration-error.ts";
import { DefaultConnector } from "./default-connector.ts";
import {
  createKvConnector,
  isKvConnectorRegistered,
  registerKvConnector,
  unregisterKvConnector,
} from "./kv-connector-registry.ts";
import { parseMoriioAddress } from "./moriio-address.ts";

afterEach(() => unregisterKvConnector("Mine"));

describe("the connector registry", () => {
  it("makes what was registered, once", () => {
    registerKvConnector("Mine", () => new DefaultConnector("Mine"));
    expect(createKvConnector({ kv_connector: "Mine" }).name).toBe("Mine");
    expect(() => registerKvConnector("Mine", () => new DefaultConnector())).toThrow(
      /'Mine' is already registered/,
    );
    unregisterKvConnector("Mine");
    expect(isKvConnectorRegistered("Mine")).toBe(false);
  });

  it("falls back to the default protocol for a stranger, and says so", () => {
    const warnings: string[] = [];
    const connector = createKvConnector({ kv_connector: "Strange" }, { warn: (text) => warnings.push(text) });
    expect(connector).toBeInstanceOf(DefaultConnector);
    expect(warnings).toEqual([
      "Unsupported connector backend: Strange. Using default: DefaultConnectorBackend.",
    ]);
  });

  it("refuses a known name in another case", () => {
    expect(() => createKvConnector({ kv_connector: "nixlconnector" })).toThrow(
      /did you mean "NixlConnector"/,
    );
  });

  it.each([undefined, null, "NixlConnector", 5, []])("refuses a configuration that is %o", (config) => {
    expect(() => createKvConnector(config)).toThrow(ConfigurationError);
  });

  it.each([{}, { kv_connector: null }, { kv_connector: "" }, { kv_connector: 5 }])("refuses %o", (config) => {
    expect(() => createKvConnector(config)).toThrow(/Connector type is not specified/);
  });

  it("names the connector whose factory fails, and keeps its own errors", () => {
    registerKvConnector("Mine", () => {
      throw new TypeError("no such thing");
    });
    expect(() => createKvConnector({ kv_connector: "Mine" })).toThrow(
      /Failed to load connector backend 'Mine': TypeError: no such thing/,
    );
    unregisterKvConnector("Mine");
    registerKvConnector("Mine", () => {
      // eslint-disable-next-line no-throw-literal -- a user's factory may throw anything
      throw "text";
    });
    expect(() => createKvConnector({ kv_connector: "Mine" })).toThrow(/'Mine': text/);
    const extra = { read_mode: "sometimes" };
    expect(() =>
      createKvConnector({ kv_connector: "MoRIIOConnector", kv_connector_extra_config: extra }),
    ).toThrow(/read_mode is neither true nor false/);
  });

  it("refuses what is no MoRIIO address", () => {
    expect(() => parseMoriioAddress("host:a,handshake:x,notify:1")).toThrow(ConfigurationError);
  });
});
