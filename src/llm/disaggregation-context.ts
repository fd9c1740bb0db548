import type { Clock } from "../internal/clock.ts";
import type { Replica } from "../replicas/replica.ts";
import { BoundedPrefixTree, defaultPrefixEviction } from "../routing/bounded-prefix-tree.ts";
import { promptText } from "../routing/prompt-text.ts";
import { codePointCount } from "../routing/text-prefix.ts";
import type { ReplicaView } from "../routing/request-router.ts";
import type { EnginePool } from "../serve/engine-pool.ts";
import type { LLMRequest } from "./llm-request.ts";
import { isTextOnly } from "./text-only.ts";

/** The prefill side as a decision sees it. */
export interface PrefillLoad {
  /** Replicas that get requests. */
  readonly replicas: number;
  /** Requests that wait here for a slot. */
  readonly queued: number;
  /**
   * Requests for each replica: those that wait here, and those on the engines, running and waiting, as this process
   * counts its own or the engine last reported, whichever is more. Infinity without a replica.
   */
  readonly queuePerReplica: number;
}

/** What is known when it is decided whether a request is disaggregated. Read on demand: what is not asked costs nothing. */
export interface DisaggregationContext {
  readonly request: LLMRequest;
  /** The decode replica that has a slot for it. */
  readonly decode: ReplicaView;
  readonly prefill: PrefillLoad;
  /** Tokens of the prompt, by its characters; undefined when that says little: images, embeddings. */
  readonly promptTokens: number | undefined;
  /**
   * Those of them that the decode replica has hardly in its cache: all but the longest beginning that this process
   * sent there lately. Undefined as `promptTokens` is.
   */
  readonly uncachedTokens: number | undefined;
}

/** Makes contexts, and remembers which beginnings went where once somebody asks for uncached tokens. */
export class DisaggregationContexts {
  readonly #prefill: EnginePool;
  readonly #decode: EnginePool;
  readonly #clock: Clock;
  readonly #charsPerToken: number;
  readonly #sent: BoundedPrefixTree;
  #known: readonly Replica[] | undefined;

  constructor(pools: {
    readonly prefill: EnginePool;
    readonly decode: EnginePool;
    readonly clock: Clock;
    readonly charsPerToken: number;
  }) {
    this.#prefill = pools.prefill;
    this.#decode = pools.decode;
    this.#clock = pools.clock;
    this.#charsPerToken = pools.charsPerToken;
    this.#sent = new BoundedPrefixTree(defaultPrefixEviction, pools.clock.now());
    pools.decode.onCachesLost = (ids) => this.#sent.forget(ids, this.#clock.now());
  }

  of(request: LLMRequest, decode: Replica): DisaggregationContext {
    return new LazyContext(request, decode, {
      charsPerToken: this.#charsPerToken,
      prefill: () => loadOf(this.#prefill),
      cachedChars: (text) => this.#cachedChars(text, decode),
    });
  }

  /** Characters of a beginning that went to this replica before; this prompt will be there, too, from now on. */
  #cachedChars(text: string, { id }: Replica): number {
    const now = this.#clock.now();
    const { available } = this.#decode.replicas;
    if (this.#known !== available) {
      this.#known = available;
      this.#sent.setReplicas(new Set(available.map((replica) => replica.id)), now);
    }
    const { matchedLength } = this.#sent.match(text, [id]);
    this.#sent.sent(text, id, now);
    return matchedLength;
  }
}

interface LazyParts {
  readonly charsPerToken: number;
  readonly prefill: () => PrefillLoad;
  readonly cachedChars: (text: string) => number;
}

class LazyContext implements DisaggregationContext {
  readonly request: LLMRequest;
  readonly decode: ReplicaView;
  readonly #parts: LazyParts;
  #prompt: { readonly tokens: number | undefined; readonly text: string | undefined } | undefined;
  #uncached: { readonly tokens: number | undefined } | undefined;

  constructor(request: LLMRequest, decode: ReplicaView, parts: LazyParts) {
    this.request = request;
    this.decode = decode;
    this.#parts = parts;
  }

  get prefill(): PrefillLoad {
    return this.#parts.prefill();
  }

  get promptTokens(): number | undefined {
    return this.#read().tokens;
  }

  get uncachedTokens(): number | undefined {
    this.#uncached ??= { tokens: this.#countUncached() };
    return this.#uncached.tokens;
  }

  #countUncached(): number | undefined {
    const { tokens, text } = this.#read();
    if (tokens === undefined || text === undefined) return tokens;
    return Math.max(0, tokens - this.#parts.cachedChars(text) / this.#parts.charsPerToken);
  }

  #read(): { readonly tokens: number | undefined; readonly text: string | undefined } {
    this.#prompt ??= this.#readPrompt();
    return this.#prompt;
  }

  #readPrompt(): { readonly tokens: number | undefined; readonly text: string | undefined } {
    const { body, method } = this.request;
    if (method === "chat" && !isTextOnly(body.element("messages")))
      return { tokens: undefined, text: undefined };
    const prompt = body.value(method === "chat" ? "messages" : "prompt");
    if (method === "completions" && Array.isArray(prompt) && typeof prompt[0] === "number") {
      return { tokens: prompt.length, text: undefined };
    }
    // Embeddings instead of a text: how many tokens they stand for is not to be seen here.
    if (prompt === undefined || prompt === null) return { tokens: undefined, text: undefined };
    const text = promptText(method === "chat" ? { messages: prompt } : { prompt }) ?? "";
    return { tokens: codePointCount(text) / this.#parts.charsPerToken, text };
  }
}

function loadOf(pool: EnginePool): PrefillLoad {
  const { available } = pool.replicas;
  const { queued } = pool.handle;
  let onEngines = 0;
  for (const { inFlight, engineLoad } of available) {
    onEngines += Math.max(inFlight, engineLoad === undefined ? 0 : engineLoad.running + engineLoad.waiting);
  }
  return {
    replicas: available.length,
    queued,
    queuePerReplica:
      available.length === 0 ? Number.POSITIVE_INFINITY : (queued + onEngines) / available.length,
  };
}
