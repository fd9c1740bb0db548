import type { ClientConfig } from "../config/client-config.ts";
import type { Endpoint } from "../config/endpoint.ts";
import { EngineConnectionError } from "../errors/engine-connection-error.ts";
import type { Clock } from "../internal/clock.ts";
import { callBuffered } from "../replicas/buffered-call.ts";
import { EndpointClient } from "../replicas/endpoint-client.ts";
import type { EngineHeaders } from "../replicas/engine-headers.ts";
import type { SideName } from "./finding.ts";
import { type NetworkFailure, networkFailure } from "./network-failure.ts";

/** A complete answer of an engine. */
export interface EngineAnswer {
  readonly status: number;
  readonly headers: EngineHeaders;
  readonly text: string;
  /** Milliseconds from question to last byte. */
  readonly tookMs: number;
}

/** An answer, or why there is none. */
export type AskResult = EngineAnswer | { readonly failure: NetworkFailure };

/** More than any metrics page with thousands of adapters. */
const maxAnswerBytes = 16 * 1024 * 1024;

/** An engine that is examined, and the connection to it. */
export class EngineQuestions {
  readonly side: SideName;
  readonly endpoint: Endpoint;
  readonly #http: EndpointClient;
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  #answers = 0;
  #cutOffReused = false;

  /** @param timeoutMs milliseconds a question may take that generates nothing */
  constructor(side: SideName, endpoint: Endpoint, client: ClientConfig, clock: Clock, timeoutMs: number) {
    this.side = side;
    this.endpoint = endpoint;
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
    const connectTimeoutMs = Math.min(client.connectTimeoutMs, timeoutMs);
    this.#http = new EndpointClient(endpoint, { ...client, connectTimeoutMs }, endpoint.url);
  }

  get url(): string {
    return this.endpoint.url;
  }

  /** True when a connection was closed on its second request, which then worked on a fresh one. */
  get cutOffReused(): boolean {
    return this.#cutOffReused;
  }

  /** Asks for a page. */
  get(path: string): Promise<AskResult> {
    return this.#ask("GET", path, [], undefined, this.#timeoutMs);
  }

  /** Sends JSON. @param timeoutMs milliseconds until the last byte of the answer */
  post(path: string, json: Uint8Array, headers: readonly string[], timeoutMs: number): Promise<AskResult> {
    return this.#ask("POST", path, ["content-type", "application/json", ...headers], json, timeoutMs);
  }

  /** Closes every connection. */
  close(): Promise<void> {
    return this.#http.destroy();
  }

  async #ask(
    method: "GET" | "POST",
    path: string,
    headers: readonly string[],
    json: Uint8Array | undefined,
    timeoutMs: number,
  ): Promise<AskResult> {
    const attempt = async (): Promise<EngineAnswer> => {
      // A connection is free for the next request a turn after its answer; otherwise another one would be opened.
      await new Promise<void>((resolve) => this.#clock.setTimer(resolve, 0, { keepAlive: true }));
      const began = this.#clock.now();
      const {
        status,
        headers: answered,
        body,
      } = await callBuffered(
        this.#http,
        { method, path, headers, phase: "check", ...(json === undefined ? {} : { body: [json] }) },
        {
          clock: this.#clock,
          cancel: undefined,
          replica: this.url,
          timeoutMs,
          timeoutOption: "timeoutMs",
          maxBytes: maxAnswerBytes,
        },
      );
      this.#answers += 1;
      return { status, headers: answered, text: body.toString(), tookMs: this.#clock.now() - began };
    };
    try {
      return await attempt();
    } catch (error) {
      const broken = error instanceof EngineConnectionError && !error.neverSent;
      if (!broken || this.#answers === 0 || method !== "GET")
        return { failure: networkFailure(error, this.url) };
      try {
        const answer = await attempt();
        this.#cutOffReused = true;
        return answer;
      } catch (again) {
        return { failure: networkFailure(again, this.url) };
      }
    }
  }
}
