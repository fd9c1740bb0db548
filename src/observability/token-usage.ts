/** Tokens of one request, from the `usage` of an engine's answer. */
export interface TokenUsage {
  readonly promptTokens: number;
  readonly completionTokens: number;
  /** Prompt tokens that were in a cache; undefined when the engine does not say. */
  readonly cachedTokens: number | undefined;
}

/** Reads a `usage` object; undefined when it is none, or its counts are no whole numbers of at least 0. */
export function tokenUsageOf(value: unknown): TokenUsage | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { prompt_tokens, completion_tokens, prompt_tokens_details } = value as Readonly<
    Record<string, unknown>
  >;
  const promptTokens = countOf(prompt_tokens);
  if (promptTokens === undefined) return undefined;
  const details = prompt_tokens_details as { readonly cached_tokens?: unknown } | null | undefined;
  return {
    promptTokens,
    completionTokens: countOf(completion_tokens) ?? 0,
    cachedTokens: countOf(details?.cached_tokens),
  };
}

function countOf(value: unknown): number | undefined {
  const count = typeof value === "bigint" ? Number(value) : value;
  return typeof count === "number" && Number.isSafeInteger(count) && count >= 0 ? count : undefined;
}
