import type { EngineErrorOrigin } from "../errors/engine-error.ts";
import type { ServeLLMError } from "../errors/serve-llm-error.ts";
import type { CancelToken } from "../internal/cancel-token.ts";
import type { Clock } from "../internal/clock.ts";
import type { CallOutcome } from "../replicas/replica-health.ts";
import type { DecodeTimeouts } from "./call-watchdog.ts";
import type { PromptDetails } from "./prompt-usage.ts";

/** What a `DecodeCall` works with. */
export interface DecodeCallInit {
  readonly origin: EngineErrorOrigin;
  readonly stream: boolean;
  readonly expectedChoices: number;
  readonly clock: Clock;
  readonly cancel: CancelToken;
  readonly timeouts: DecodeTimeouts;
  /** What prefill said of the prompt, as far as it has; left out when this engine computes the prompt itself. */
  readonly promptDetails?: (() => PromptDetails) | undefined;
  /** The engine's first token is here. Called at most once, before the answer is returned. */
  readonly onFirstOutput: () => void;
  /** The engine is done with this call, however it went. Called exactly once; with the error if there was one. */
  readonly onSettled: (outcome: CallOutcome, error: ServeLLMError | undefined) => void;
}
