import { EngineResponseError } from "../errors/engine-response-error.ts";
import type { RawJson } from "../protocol/raw-json.ts";
import type { Replica } from "../replicas/replica.ts";
import { isTextOnly } from "./text-only.ts";
import type { LLMRequest } from "./llm-request.ts";

/** What an engine was seen to do with token ids. */
type Seen = "uses" | "lacks" | "refuses";

/** The first minor version of vLLM 0.x whose chat route reads token ids from `kv_transfer_params` (#48145). */
const firstChatVersion = 27;

/**
 * Decides which requests are tokenised once: prefill is asked for the prompt's token ids, and decode gets them instead
 * of doing the work again. Mirrors Ray's `pd_tokenize_once`.
 *
 * Engines of one version do the same, so what one of them did counts for all; without a known version each engine
 * counts for itself. One that refuses the extra fields, or answers without ids, is not asked again, and the request
 * that found out goes on without them.
 */
export class TokenizeOnce {
  readonly #warn: (message: string) => void;
  readonly #byVersion = new Map<string, Seen>();
  readonly #byReplica = new WeakMap<Replica, Map<string, Seen>>();

  constructor(warn: (message: string) => void) {
    this.#warn = warn;
  }

  /** True when prefill should be asked for the token ids of this request, because decode can take them. */
  wants(request: LLMRequest, prefill: Replica, decode: Replica): boolean {
    const seenOfPrefill = this.#seen(prefill, "prefill");
    if (seenOfPrefill === "lacks" || seenOfPrefill === "refuses") return false;
    if (this.#seen(decode, request.method) === "refuses") return false;
    return request.method === "chat"
      ? // Ids say nothing of images and sounds, which decode has to read itself.
        readsChatIds(decode.version) && isTextOnly(request.body.element("messages"))
      : request.body.kind("prompt") === "string" && !request.body.has("prompt_embeds");
  }

  /** Prefill has answered a request for ids. */
  prefillAnswered(replica: Replica, ids: RawJson | undefined): void {
    if (this.#seen(replica, "prefill") !== undefined) return;
    this.#note(replica, "prefill", ids === undefined ? "lacks" : "uses");
    if (ids === undefined) this.#tell(replica, "does not return token ids");
  }

  /** True when prefill may have refused a request because ids were asked for: it is worth asking without. */
  mayRefuse(prefill: Replica, error: unknown): boolean {
    return isRefusal(error) && this.#seen(prefill, "prefill") === undefined;
  }

  /** Prefill refused a request with the question for ids, and answered it without. */
  prefillRefused(replica: Replica): void {
    this.#note(replica, "prefill", "refuses");
    this.#tell(replica, "refuses return_token_ids");
  }

  /** Decode has produced a token of a request with ids. */
  decodeAnswered(replica: Replica, method: LLMRequest["method"]): void {
    if (this.#seen(replica, method) === undefined) this.#note(replica, method, "uses");
  }

  /** True when decode may have refused a request because of its ids: it is worth another try without. */
  mayRefuseIds(decode: Replica, method: LLMRequest["method"], error: unknown): boolean {
    return isRefusal(error) && this.#seen(decode, method) === undefined;
  }

  /** Decode refused a request with ids, and answered it without. */
  decodeRefused(replica: Replica, method: LLMRequest["method"]): void {
    this.#note(replica, method, "refuses");
    this.#tell(replica, `refuses ${method} requests with token ids`);
  }

  #seen(replica: Replica, what: string): Seen | undefined {
    return replica.version === undefined
      ? this.#byReplica.get(replica)?.get(what)
      : this.#byVersion.get(`${what} ${replica.version}`);
  }

  #note(replica: Replica, what: string, seen: Seen): void {
    if (replica.version !== undefined) {
      this.#byVersion.set(`${what} ${replica.version}`, seen);
      return;
    }
    const known = this.#byReplica.get(replica) ?? new Map<string, Seen>();
    this.#byReplica.set(replica, known.set(what, seen));
  }

  #tell({ fullName, version }: Replica, what: string): void {
    const who = version === undefined ? fullName : `${fullName}, as every engine of version ${version},`;
    this.#warn(`pd_tokenize_once: ${who} ${what}; decode tokenises those prompts itself.`);
  }
}

/** A version that is not known, or not written as vLLM's are, may read them; one that does not ignores them. */
function readsChatIds(version: string | undefined): boolean {
  const minor = /^0\.(\d+)/.exec(version ?? "")?.[1];
  return minor === undefined || Number(minor) >= firstChatVersion;
}

function isRefusal(error: unknown): boolean {
  return error instanceof EngineResponseError && (error.engineStatus === 400 || error.engineStatus === 422);
}
