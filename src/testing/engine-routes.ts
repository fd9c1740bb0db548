import type { AnswerWriter } from "./answer-writer.ts";
import { renderChatPrompt } from "./chat-template.ts";
import type { EngineCore } from "./engine-core.ts";
import { engineMetricsText, type EngineReading } from "./engine-metrics-text.ts";
import { EngineRefusal, validationError } from "./engine-refusal.ts";
import { unknownModel } from "./generate-route.ts";
import { decodeTokens, encodeText } from "./mock-tokenizer.ts";
import type { RequestBody } from "./request-fields.ts";

/** Answers one request that generates nothing. `body`: parsed, an empty object when it is not a JSON object. */
export type EngineRoute = (
  core: EngineCore,
  writer: AnswerWriter,
  body: RequestBody,
  query: URLSearchParams,
) => void;

const health: EngineRoute = (core, writer) => {
  writer.answer(core.dead ? 503 : 200, undefined, "");
};

const reset: EngineRoute = (core, writer) => {
  for (const { prefixCache } of core.ranks) prefixCache?.clear();
  writer.json(200, '{"success":true}');
};

const sleep: EngineRoute = (core, writer, _body, query) => {
  for (const rank of core.ranks) {
    rank.sleeping = true;
    rank.prefixCache?.clear();
    rank.scheduler.setPaused(true);
    if ((query.get("mode") ?? "abort") !== "abort") continue;
    for (const generation of rank.generations) generation.finishEarly();
  }
  writer.answer(200, undefined, "");
};

const wakeUp: EngineRoute = (core, writer) => {
  for (const rank of core.ranks) {
    rank.sleeping = false;
    rank.paused = false;
    rank.scheduler.setPaused(false);
  }
  writer.answer(200, undefined, "");
};

const pause: EngineRoute = (core, writer, _body, query) => {
  for (const rank of core.ranks) {
    rank.paused = true;
    rank.scheduler.setPaused(true);
    if (query.get("clear_cache") !== "false") rank.prefixCache?.clear();
    if ((query.get("mode") ?? "abort") !== "abort") continue;
    for (const generation of rank.generations) generation.finishEarly();
  }
  writer.json(200, '{"status":"paused"}');
};

const resume: EngineRoute = (core, writer) => {
  for (const rank of core.ranks) {
    rank.paused = false;
    if (!rank.sleeping) rank.scheduler.setPaused(false);
  }
  writer.json(200, '{"status":"resumed"}');
};

const tokenize: EngineRoute = (core, writer, body) => {
  const { prompt, messages } = body;
  if (typeof prompt !== "string" && !Array.isArray(messages)) {
    const issue = { type: "missing", loc: ["body", "prompt"], msg: "Field required", input: body };
    throw validationError([issue]);
  }
  checkModel(core, body);
  const tokens = encodeText(typeof prompt === "string" ? prompt : renderChatPrompt(body));
  const strings = body["return_token_strs"] === true ? tokens.map((token) => decodeTokens([token])) : null;
  const answer = {
    count: tokens.length,
    max_model_len: core.options.maxModelLen,
    tokens,
    token_strs: strings,
  };
  writer.json(200, JSON.stringify(answer));
};

const detokenize: EngineRoute = (core, writer, body) => {
  const { tokens } = body;
  if (!Array.isArray(tokens)) {
    throw validationError([{ type: "missing", loc: ["body", "tokens"], msg: "Field required", input: body }]);
  }
  checkModel(core, body);
  writer.json(200, JSON.stringify({ prompt: decodeTokens(tokens.map(Number)) }));
};

function checkModel(core: EngineCore, body: RequestBody): void {
  const { model } = body;
  if (typeof model === "string" && model !== core.options.model && !core.adapters.has(model))
    throw unknownModel(model);
}

const models: EngineRoute = (core, writer) => {
  const { model, maxModelLen } = core.options;
  const created = Math.floor(core.clock.wallNow() / 1000);
  const card = (id: string, root: string, parent: string | null, length: number | null): object => ({
    id,
    object: "model",
    created,
    owned_by: "vllm",
    root,
    parent,
    max_model_len: length,
    permission: [
      {
        id: `modelperm-${core.random.id()}`,
        object: "model_permission",
        created,
        allow_create_engine: false,
        allow_sampling: true,
        allow_logprobs: true,
        allow_search_indices: false,
        allow_view: true,
        allow_fine_tuning: false,
        organization: "*",
        group: null,
        is_blocking: false,
      },
    ],
  });
  const data = [card(model, model, null, maxModelLen)];
  for (const [name, path] of core.adapters) data.push(card(name, path, model, null));
  writer.json(200, JSON.stringify({ object: "list", data }));
};

const loadAdapter: EngineRoute = (core, writer, body) => {
  const { lora_name: name, lora_path: path } = body;
  if (typeof name !== "string" || name === "" || typeof path !== "string" || path === "") {
    throw new EngineRefusal(400, "InvalidUserInput", "Both 'lora_name' and 'lora_path' must be provided.");
  }
  if (core.adapters.has(name) && body["load_inplace"] !== true) {
    const message = `The lora adapter '${name}' has already been loaded. If you want to load the adapter in place, set 'load_inplace' to True.`;
    throw new EngineRefusal(400, "InvalidUserInput", message);
  }
  const { adapterPaths } = core.options;
  if (adapterPaths !== undefined && !adapterPaths.includes(path)) {
    throw new EngineRefusal(
      404,
      "NotFoundError",
      `Loading lora ${name} failed: No adapter found for ${path}`,
    );
  }
  core.adapters.set(name, path);
  writer.answer(200, "text/plain; charset=utf-8", `Success: LoRA adapter '${name}' added successfully.`);
};

const unloadAdapter: EngineRoute = (core, writer, body) => {
  const { lora_name: name } = body;
  if (typeof name !== "string" || name === "") {
    throw new EngineRefusal(
      400,
      "InvalidUserInput",
      "'lora_name' needs to be provided to unload a LoRA adapter.",
    );
  }
  if (!core.adapters.delete(name)) {
    throw new EngineRefusal(404, "NotFoundError", `The lora adapter '${name}' cannot be found.`);
  }
  writer.answer(200, "text/plain; charset=utf-8", `Success: LoRA adapter '${name}' removed successfully.`);
};

const metrics: EngineRoute = (core, writer) => {
  const text = engineMetricsText(core.options.model, core.ranks.map(readingOf), {
    adapters: [...core.adapters.keys()],
    wallSeconds: core.clock.wallNow() / 1000,
  });
  writer.answer(200, "text/plain; version=1.0.0; charset=utf-8", text);
};

function readingOf(core: EngineCore): EngineReading {
  core.metrics.kvExpired = core.ledger.expired;
  return {
    engine: String(core.rank),
    metrics: core.metrics,
    running: core.scheduler.running - core.deferred,
    waiting: core.scheduler.waiting + core.deferred,
    deferred: core.deferred,
    kvCacheUsage: core.ledger.blocksInUse / core.ledger.blocksTotal,
    blockSize: core.options.blockSize,
    blocks: core.ledger.blocksTotal,
    sleeping: core.sleeping,
  };
}

/** Routes beside the generating ones: path, then method. */
export const engineRoutes: Readonly<Record<string, Readonly<Record<string, EngineRoute>>>> = {
  "/health": { GET: health },
  "/ping": { GET: health, POST: health },
  "/version": { GET: (core, writer) => writer.json(200, JSON.stringify({ version: core.options.version })) },
  "/load": {
    GET: (core, writer) =>
      writer.json(
        200,
        JSON.stringify({
          server_load: core.ranks.reduce((sum, { generations }) => sum + generations.size, 0),
        }),
      ),
  },
  "/metrics": { GET: metrics },
  "/v1/models": { GET: models },
  "/tokenize": { POST: tokenize },
  "/detokenize": { POST: detokenize },
  "/v1/load_lora_adapter": { POST: loadAdapter },
  "/v1/unload_lora_adapter": { POST: unloadAdapter },
  "/reset_prefix_cache": { POST: reset },
  "/sleep": { POST: sleep },
  "/wake_up": { POST: wakeUp },
  "/pause": { POST: pause },
  "/resume": { POST: resume },
  "/is_paused": {
    GET: (core, writer) =>
      writer.json(200, JSON.stringify({ is_paused: core.ranks.some(({ paused }) => paused) })),
  },
  "/is_sleeping": { GET: (core, writer) => writer.json(200, JSON.stringify({ is_sleeping: core.sleeping })) },
};
