import type { Timer } from "../internal/clock.ts";
import type { AnswerWriter } from "./answer-writer.ts";
import { ChatFormat } from "./chat-format.ts";
import { CompletionFormat } from "./completion-format.ts";
import type { EngineCore, RunningGeneration } from "./engine-core.ts";
import { generationError, type EngineRefusal } from "./engine-refusal.ts";
import type { SchedulerJob } from "./engine-scheduler.ts";
import type { Fault } from "./fault-plan.ts";
import type { GenerationRequest } from "./generation-request.ts";
import { composeReply, type FinishReason, type Reply, type ReplyRules } from "./mock-answer.ts";
import { decodeTokens } from "./mock-tokenizer.ts";
import { prefillHandle } from "./prefill-handle.ts";
import { doneFrame, type ReplyFormat, type ReplyUsage } from "./reply-format.ts";
import { TokenSender } from "./token-sender.ts";
import type { PullRefusal } from "./side-channel.ts";

/**
 * The life of one generating request: waits for blocks, fetches KV if it was promised some, computes, answers.
 * Whatever ends it (answer, error, client gone) its blocks are accounted for exactly once.
 */
export class Generation implements SchedulerJob, RunningGeneration {
  readonly blocks: number;
  readonly request: GenerationRequest;
  readonly writer: AnswerWriter;
  readonly format: ReplyFormat;
  readonly fault: Fault | undefined;
  readonly core: EngineCore;
  /** vLLM's internal id, which handles name. */
  readonly internalId: string;
  /** The choices, complete before the first token goes out. */
  replies: readonly Reply[] = [];
  readonly #externalId: string | undefined;
  readonly #arrivedAt: number;
  #blockIds: readonly number[] = [];
  #phase: "new" | "waiting" | "running" | "over" = "new";
  #fetching = false;
  #stopFetching: (() => void) | undefined;
  #timer: Timer | undefined;
  #heartbeat: Timer | undefined;
  #cachedTokens = 0;
  #sender: TokenSender | undefined;

  constructor(
    core: EngineCore,
    writer: AnswerWriter,
    request: GenerationRequest,
    ids: { readonly requestId: string; readonly externalId: string | undefined },
    fault: Fault | undefined,
  ) {
    this.core = core;
    this.writer = writer;
    this.request = request;
    this.fault = fault;
    this.#externalId = ids.externalId;
    this.#arrivedAt = core.clock.now();
    const id = `${request.kind === "chat" ? "chatcmpl" : "cmpl"}-${ids.requestId}`;
    this.internalId = `${id}${request.kind === "chat" ? "" : "-0"}-${core.random.id().slice(0, 8)}`;
    const identity = {
      id,
      created: Math.floor(core.clock.wallNow() / 1000),
      model: request.model === "" ? core.options.model : request.model,
      systemFingerprint: core.systemFingerprint,
    };
    this.format =
      request.kind === "chat" ? new ChatFormat(identity, request) : new CompletionFormat(identity, request);
    const output = request.phase === "prefill" ? 0 : Math.min(request.maxTokens, core.options.maxModelLen);
    const perPrompt = request.prompts.map((tokens) =>
      Math.ceil((tokens.length + output * request.n) / core.options.blockSize),
    );
    const wanted = perPrompt.reduce((sum, count) => sum + count, 0);
    this.blocks = Math.min(Math.max(1, wanted), core.options.numBlocks);
  }

  /** Tokens of all prompts. */
  get promptTokens(): number {
    return this.request.prompts.reduce((sum, tokens) => sum + tokens.length, 0);
  }

  /** Token counts once so many tokens were produced. */
  usage(completionTokens: number): ReplyUsage {
    const cachedTokens = this.core.options.promptTokensDetails ? this.#cachedTokens : undefined;
    return { promptTokens: this.promptTokens, completionTokens, cachedTokens };
  }

  /** Queues the request. */
  start(): void {
    const { core, request } = this;
    core.generations.add(this);
    if (this.#externalId !== undefined) core.requestIds.add(this.#externalId);
    if (request.stream) this.writer.head(200, { "content-type": "text/event-stream; charset=utf-8" });
    this.#phase = "waiting";
    if (core.fetchesKv(request.kv)) {
      if (request.kv.blockIds.length === 0 && core.connector.namesBlocks) {
        core.onDeath();
        return;
      }
      // vLLM parks such a request for ever: only the client can end it.
      if (!core.isComplete(request.kv)) {
        core.deferred++;
        this.#fetching = true;
        return;
      }
      this.#beat();
    }
    core.scheduler.submit(this);
  }

  run(blockIds: readonly number[]): void {
    const { core, request } = this;
    this.#phase = "running";
    this.#blockIds = blockIds;
    this.#heartbeat?.cancel();
    if (!core.fetchesKv(request.kv)) {
      this.#compute(this.#stored() ? 0 : this.promptTokens - this.#cached());
      return;
    }
    core.deferred++;
    this.#fetching = true;
    this.#after(core.options.latency.kvTransferMs, () => {
      const { kv } = request;
      if (kv === undefined) return;
      this.#stopFetching = core.kvFetcher.fetch(kv, request.fingerprint, (refusal) => {
        this.#fetched(refusal);
      });
    });
  }

  fail(error: EngineRefusal): void {
    if (!this.close("error")) return;
    if (!this.writer.started) {
      this.writer.json(error.status, error.body());
      return;
    }
    this.writer.write(error.frames());
    this.writer.end();
  }

  finishEarly(): void {
    if (this.#phase === "over") return;
    const sent = this.#sender?.sentTokens ?? 0;
    this.replies = this.replies.map((reply) => ({
      ...reply,
      tokens: reply.tokens.slice(0, sent),
      texts: reply.texts.slice(0, sent),
      finishReason: "abort",
    }));
    this.#sender?.cancel();
    this.#timer?.cancel();
    if (!this.close("abort")) return;
    if (this.request.stream) {
      for (const choice of this.replies.keys()) {
        const end = { finishReason: "abort", stopReason: null };
        this.writer.write(
          this.format.frame({ choice, tokens: [], texts: [], first: false, end, usage: undefined }),
        );
      }
      this.writer.write(doneFrame);
      this.writer.end();
      return;
    }
    const choices = this.replies.map((reply) => ({
      ...reply,
      end: { finishReason: "abort", stopReason: null },
    }));
    this.writer.json(200, this.format.body(choices, this.usage(0), "null"));
  }

  abort(): void {
    const { request, core } = this;
    const notFetched = this.#phase === "waiting" && !this.#fetching;
    if (this.#phase === "new" || !this.close("abort")) return;
    if (notFetched) core.releaseHandle(request.kv);
  }

  /** Settles the accounts. True the first time. `kept`: blocks that live on, pinned. */
  close(reason: FinishReason | "error", kept: readonly number[] = []): boolean {
    if (this.#phase === "over") return false;
    const { core } = this;
    const wasRunning = this.#phase === "running";
    this.#phase = "over";
    this.#timer?.cancel();
    this.#heartbeat?.cancel();
    this.#sender?.cancel();
    if (this.#fetching) core.deferred--;
    if (this.#fetching) this.#stopFetching?.();
    this.#fetching = false;
    core.generations.delete(this);
    if (this.#externalId !== undefined) core.requestIds.delete(this.#externalId);
    core.metrics.finished[reason === "tool_calls" ? "stop" : reason]++;
    if (wasRunning) {
      core.metrics.latencySeconds.observe((core.clock.now() - this.#arrivedAt) / 1000);
      const pinned = new Set(kept);
      const freed = kept.length === 0 ? this.#blockIds : this.#blockIds.filter((id) => !pinned.has(id));
      core.scheduler.finish(freed);
    } else {
      core.scheduler.withdraw(this);
    }
    return true;
  }

  /** The answer is complete: settles the accounts and returns `kv_transfer_params` as JSON text. */
  complete(): string | undefined {
    const handle = prefillHandle(this, this.#blockIds);
    this.close(this.replies[0]?.finishReason ?? "stop", handle.pinned);
    return handle.text;
  }

  /** Its KV lies in the store that the engines share. */
  #stored(): boolean {
    const { kvStore } = this.core.options;
    const found = kvStore?.take(this.request.fingerprint) === true;
    if (found) this.#cachedTokens = Math.max(0, this.promptTokens - 1);
    return found;
  }

  /** Prompt tokens that its own prefix cache has. */
  #cached(): number {
    const { prompts, cacheSalt } = this.request;
    const { prefixCache } = this.core;
    if (prefixCache === undefined) return 0;
    this.#cachedTokens = prompts.reduce((sum, prompt) => sum + prefixCache.take(prompt, cacheSalt), 0);
    return this.#cachedTokens;
  }

  #beat(): void {
    const { kv } = this.request;
    this.#heartbeat = this.core.clock.setTimer(() => {
      if (kv !== undefined) this.core.kvFetcher.heartbeat(kv);
      this.#heartbeat?.refresh();
    }, this.core.options.kvLeaseMs / 6);
  }

  #fetched(refusal: PullRefusal | undefined): void {
    const { core } = this;
    core.deferred--;
    this.#fetching = false;
    if (refusal === undefined) {
      core.metrics.transfers++;
      core.metrics.promptTokensTransferred += this.promptTokens;
      this.#cachedTokens = Math.max(0, this.promptTokens - 1);
      this.#compute(0);
      return;
    }
    core.metrics.failedTransfers++;
    switch (core.options.onBadHandle) {
      case "fail":
        this.fail(generationError());
        return;
      case "swallow":
        this.swallow();
        return;
      case "garbage":
        this.#compute(0, [1]);
        return;
      case "recompute":
        this.#compute(this.promptTokens);
        return;
    }
  }

  /** An error that vLLM loses: a stream without a single token, or a 500. */
  swallow(): void {
    if (!this.request.stream) {
      this.fail(generationError());
      return;
    }
    if (!this.close("error")) return;
    this.writer.write(this.format.opening(0, undefined) + doneFrame);
    this.writer.end();
  }

  /** @param wrongKv tokens of somebody else's prompt, whose KV was fetched instead */
  #compute(tokensToCompute: number, wrongKv: readonly number[] = []): void {
    const { core, request, fault } = this;
    core.metrics.promptTokens += this.promptTokens;
    core.metrics.promptTokensComputed += tokensToCompute;
    const marker = core.options.firstTokenStop;
    this.replies = request.prompts.flatMap((prompt) => {
      const endAtOnce =
        request.phase === "prefill" && marker !== undefined && decodeTokens(prompt).includes(marker);
      const tokens = wrongKv.length === 0 ? prompt : [...prompt, ...wrongKv];
      const rules: ReplyRules = {
        ...request,
        spaceFirst: request.kind === "completions",
        toolCall: request.toolCall !== undefined,
        endAtOnce,
      };
      return Array.from({ length: request.n }, (_, choice) => this.#reply(tokens, choice, rules));
    });
    const { prefillMsPerToken, timeToFirstTokenMs } = core.options.latency;
    const firstTokenMs =
      (fault?.kind === "slow" ? fault.timeToFirstTokenMs : undefined) ?? timeToFirstTokenMs;
    this.#after(tokensToCompute * prefillMsPerToken + firstTokenMs, () => {
      core.metrics.firstTokenSeconds.observe((core.clock.now() - this.#arrivedAt) / 1000);
      this.#sender = new TokenSender(this);
      this.#sender.start();
    });
  }

  #reply(tokens: readonly number[], choice: number, rules: ReplyRules): Reply {
    const reply = composeReply(tokens, choice, rules);
    const { toolCall } = this.request;
    return toolCall === undefined || reply.finishReason !== "stop"
      ? reply
      : { ...reply, finishReason: toolCall.finishReason };
  }

  #after(delayMs: number, callback: () => void): void {
    const delay = this.core.jittered(delayMs);
    if (delay <= 0) callback();
    else this.#timer = this.core.clock.setTimer(callback, delay, { keepAlive: true });
  }
}
