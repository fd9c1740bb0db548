import { EngineConnectionError } from "../errors/engine-connection-error.ts";
import { EngineResponseError } from "../errors/engine-response-error.ts";
import { EngineTimeoutError } from "../errors/engine-timeout-error.ts";
import type { LoraConfig } from "../config/lora-config.ts";
import type { CancelToken } from "../internal/cancel-token.ts";
import type { Clock } from "../internal/clock.ts";
import { pauseUnlessCancelled } from "../internal/pause.ts";
import { type BufferedResponse, callBuffered } from "../replicas/buffered-call.ts";
import type { Replica } from "../replicas/replica.ts";
import { engineErrorResponse } from "./engine-error-response.ts";

const firstPauseMs = 1_000;
/** Ray's. */
const longestPauseMs = 32_000;
const maxAnswerBytes = 64 * 1024;
/** What timers can do at most; stands for "for ever". */
const forEverMs = 2 ** 31 - 1;

/** What loading and unloading work with. */
export interface AdapterLoaderInit {
  readonly limits: Pick<LoraConfig, "downloadTimeoutS" | "maxDownloadTries">;
  readonly clock: Clock;
  /** Stops everything. */
  readonly cancel: CancelToken;
}

/**
 * Makes an engine load an adapter from where it lies; the engine fetches it. Tried again after 1, 2, 4 ... 32 seconds
 * as Ray's download is, unless the engine says that it can't be.
 *
 * @param lora what the engine is told: the name requests use, and a path it understands
 * @throws EngineResponseError (404 for an adapter that is not there), EngineTimeoutError, EngineConnectionError
 */
export async function loadAdapter(
  replica: Replica,
  lora: { readonly name: string; readonly path: string },
  init: AdapterLoaderInit,
): Promise<void> {
  const { limits, clock, cancel } = init;
  for (let tries = 1; ; tries += 1) {
    try {
      const body = { lora_name: lora.name, lora_path: lora.path };
      const answer = await post(replica, "/v1/load_lora_adapter", body, init);
      if (answer.status === 200 || isLoadedAlready(answer)) return;
      throw errorOf(replica, answer);
    } catch (error) {
      if (cancel.cancelled || tries >= limits.maxDownloadTries || !mayHelp(error)) throw error;
      await pauseUnlessCancelled(clock, Math.min(firstPauseMs * 2 ** (tries - 1), longestPauseMs), cancel);
    }
  }
}

/** Makes an engine forget an adapter; one it does not know is forgotten already. @throws as {@link loadAdapter} */
export async function unloadAdapter(replica: Replica, name: string, init: AdapterLoaderInit): Promise<void> {
  const answer = await post(replica, "/v1/unload_lora_adapter", { lora_name: name }, init);
  if (answer.status !== 200 && answer.status !== 404) throw errorOf(replica, answer);
}

function post(
  replica: Replica,
  path: string,
  body: object,
  { limits, clock, cancel }: AdapterLoaderInit,
): Promise<BufferedResponse> {
  return callBuffered(
    replica.http,
    {
      method: "POST",
      path,
      headers: ["content-type", "application/json"],
      body: [Buffer.from(JSON.stringify(body))],
      phase: "check",
    },
    {
      clock,
      cancel,
      replica: replica.fullName,
      timeoutMs:
        limits.downloadTimeoutS === null ? forEverMs : Math.min(limits.downloadTimeoutS * 1000, forEverMs),
      timeoutOption: "downloadTimeoutS",
      maxBytes: maxAnswerBytes,
    },
  );
}

/** Somebody else loaded it, or this process did before it was restarted. */
function isLoadedAlready({ status, body }: BufferedResponse): boolean {
  return status === 400 && body.toString().includes("already been loaded");
}

function errorOf(replica: Replica, { status, headers, body }: BufferedResponse): Error {
  return engineErrorResponse({ phase: "check", replica: replica.fullName }, status, headers, body);
}

function mayHelp(error: unknown): boolean {
  if (error instanceof EngineResponseError) return !error.isClientFault;
  return error instanceof EngineConnectionError || error instanceof EngineTimeoutError;
}
