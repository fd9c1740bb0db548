import { describe, expect, it } from "vitest";
import type { EngineErrorOrigin } from "../errors/engine-error.ts";
import { readPrefillAnswer } from "./prefill-answer.ts";

const origin: EngineErrorOrigin = { phase: "prefill", replica: "p#1" };

function read(text: string, withTokenIds = false): Record<string, string | undefined> {
  const answer = readPrefillAnswer(Buffer.from(text), origin, withTokenIds);
  return {
    handle: answer.kvTransferParams?.toString(),
    ids: answer.promptTokenIds?.toString(),
    finish: answer.finishReason,
    details: answer.promptDetails?.toString(),
  };
}

describe("prefill's answer", () => {
  const handle = '{ "remote_port": 18446744073709551615 }';
  const usage = '"usage":{"prompt_tokens":3,"prompt_tokens_details":{"cached_tokens":2}}';

  it("gives the handle and the prompt's details byte for byte", () => {
    const choices = '"choices":[{"message":{"finish_reason":"no"},"finish_reason":"length"},{}]';
    expect(read(`{${choices},${usage},"kv_transfer_params":${handle}}`)).toEqual({
      handle,
      ids: undefined,
      finish: "length",
      details: '{"cached_tokens":2}',
    });
  });

  it.each(["", '"kv_transfer_params":null,"usage":null,', '"usage":[],', '"usage":{},"error":null,'])(
    "may have nothing but a choice: %j",
    (more) => {
      expect(read(`{${more}"choices":[{"finish_reason":null}]}`)).toEqual({});
    },
  );

  it.each<[string, boolean, string | undefined]>([
    ['{"choices":[{}],"prompt_token_ids":[1,2]}', true, "[1,2]"],
    ['{"choices":[{"prompt_token_ids":[1,2]}]}', true, "[1,2]"],
    ['{"choices":[{"prompt_token_ids":[1,2]}],"prompt_token_ids":null}', true, undefined],
    ['{"choices":[{}],"prompt_token_ids":[]}', true, undefined],
    ['{"choices":[{}],"prompt_token_ids":["1"]}', true, undefined],
    ['{"choices":[{}],"prompt_token_ids":[1,2]}', false, undefined],
  ])("has token ids in two places, if they were asked for: %s", (text, asked, ids) => {
    expect(read(text, asked)["ids"]).toBe(ids);
  });

  it.each([
    ["{", "could not be read"],
    ["{}", "has no choices"],
    ['{"choices":[]}', "has no choices"],
    ['{"choices":[null,{}]}', "has no choices"],
    ['{"choices":[{}],"error":{"message":"too long"}}', "too long"],
    ['{"choices":[{}],"error":"late"}', "late"],
  ])("is none: %s", (text, message) => {
    expect(() => read(text)).toThrow(message);
  });
});
