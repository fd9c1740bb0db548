import { ServeLLMError } from "./serve-llm-error.ts";

/** A deployment's queue is full: `maxQueuedRequests` are waiting already. Mirrors Ray's `BackPressureError`. */
export class BackPressureError extends ServeLLMError {
  override readonly name = "BackPressureError";

  constructor(fields: {
    readonly deployment: string;
    readonly queued: number;
    readonly maxQueuedRequests: number;
    /** 503 or 429, from `backpressureConfig`. */
    readonly status: number;
    readonly retryAfterS?: number | undefined;
  }) {
    super(
      `Request dropped: ${fields.queued} requests are queued for deployment "${fields.deployment}" ` +
        `(max_queued_requests=${fields.maxQueuedRequests}).`,
      {
        code: "queue_full",
        status: fields.status,
        type: "overloaded_error",
        retryAfterS: fields.retryAfterS,
      },
    );
  }
}
