import { describe, expect, it } from "vitest";

import { RawJson } from "../protocol/raw-json.ts";
import { createKvConnector } from "./kv-connector-registry.ts";
import { askForTokenIds, passTokenIds } from "./tokenize-once.ts";

const ids = RawJson.fromText("[1,2,3]");

describe("tokenize once", () => {
  it("asks only where decode waits for the answer", () => {
    const edits = { set: { max_tokens: 1 }, remove: ["return_token_ids"] };
    const asked = askForTokenIds(createKvConnector({ kv_connector: "NixlConnector" }), edits);
    expect(String(asked.set?.["return_token_ids"])).toBe("true");
    expect(asked.set?.["max_tokens"]).toBe(1);
    expect(askForTokenIds(createKvConnector({ kv_connector: "MooncakeConnector" }), edits)).toBe(edits);
  });

  it("puts the ids where the engine looks for them", () => {
    expect(passTokenIds("completions", {}, ids).set?.["prompt"]).toBe(ids);
    const handle = RawJson.fromText('{"remote_port":18446744073709551615}');
    const chat = passTokenIds("chat", { set: { kv_transfer_params: handle } }, ids);
    expect(String(chat.set?.["kv_transfer_params"])).toBe(
      '{"remote_port":18446744073709551615,"prompt_token_ids":[1,2,3]}',
    );
    const without = {};
    expect(passTokenIds("chat", without, ids)).toBe(without);
  });
});
