import { type IncomingMessage, type OutgoingHttpHeaders, request as httpRequest } from "node:http";
import { type RequestOptions, request as httpsRequest } from "node:https";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import type { KubeConfig } from "@kubernetes/client-node";

import type { Clock } from "../internal/clock.ts";
import { ConfigurationError } from "../errors/configuration-error.ts";

/** An answer of the API server that is no success. */
export class KubernetesApiError extends Error {
  /** HTTP status, or the code of an `ERROR` event of a watch; 410: what was asked for is too old. */
  readonly status: number;

  constructor(method: string, path: string, status: number, message: string) {
    super(`${method} ${path} answered ${status}${message === "" ? "" : `: ${message}`}`);
    this.name = "KubernetesApiError";
    this.status = status;
  }
}

/** What a call sends and how long it may take. */
export interface KubernetesCall {
  readonly signal: AbortSignal;
  /** Sent as JSON merge patch. */
  readonly mergePatch?: unknown;
}

const callTimeoutMs = 30_000;
const maxAnswerBytes = 64 * 1024 * 1024;

/**
 * The API server of one cluster. Who we are, and whom we trust, is the business of `@kubernetes/client-node`; its own
 * watch drops lines that it can't read, which would leave a list wrong for good, so that bytes are read here.
 */
export class KubernetesApi {
  readonly #config: KubeConfig;
  readonly #clock: Clock;

  constructor(config: KubeConfig, clock: Clock) {
    this.#config = config;
    this.#clock = clock;
  }

  /** Namespace of the current context, or of the pod we run in. */
  get namespace(): string {
    return this.#config.getContextObject(this.#config.currentContext)?.namespace ?? "default";
  }

  /**
   * One call, answered with JSON.
   *
   * @throws KubernetesApiError for another status than 2xx; Error when there is no answer, or no JSON in it
   */
  async call(
    method: "GET" | "PATCH",
    path: string,
    { signal, mergePatch }: KubernetesCall,
  ): Promise<unknown> {
    const body = mergePatch === undefined ? undefined : JSON.stringify(mergePatch);
    const late = new AbortController();
    const timer = this.#clock.setTimer(() => {
      late.abort(new Error(`${method} ${path} was not answered within ${callTimeoutMs / 1000} s`));
    }, callTimeoutMs);
    try {
      const response = await this.#send(method, path, body, AbortSignal.any([signal, late.signal]));
      const answer = await readAll(response);
      this.#check(method, path, response, answer);
      return JSON.parse(answer);
    } catch (error) {
      throw late.signal.aborted ? late.signal.reason : error;
    } finally {
      timer.cancel();
    }
  }

  /**
   * Lines of a watch, each parsed. Ends when the server ends it.
   *
   * @throws as {@link call}; SyntaxError for a line that is no JSON
   */
  async *watch(path: string, signal: AbortSignal): AsyncGenerator<unknown, void, undefined> {
    const response = await this.#send("GET", path, undefined, signal);
    if (response.statusCode !== 200) this.#check("GET", path, response, await readAll(response));
    response.socket.setKeepAlive(true, 30_000);
    // An error of the stream ends the lines without a word.
    let failure: Error | undefined;
    response.once("error", (error) => (failure = error));
    const lines = createInterface(response);
    response.once("close", () => lines.close());
    try {
      for await (const line of lines) if (line.trim() !== "") yield JSON.parse(line);
      if (failure !== undefined) throw failure;
    } finally {
      lines.close();
      response.destroy();
    }
  }

  async #send(
    method: string,
    path: string,
    body: string | undefined,
    signal: AbortSignal,
  ): Promise<IncomingMessage> {
    const cluster = this.#config.getCurrentCluster();
    if (cluster === null) throw noCluster();
    const url = new URL(cluster.server.replace(/\/+$/, "") + path);
    const options: RequestOptions = { method, signal };
    // Reads tokens that are renewed, and runs the plugins of kubeconfig files.
    await this.#config.applyToHTTPSOptions(options);
    options.headers = {
      ...(options.headers as OutgoingHttpHeaders | undefined),
      accept: "application/json",
      ...(body === undefined ? {} : { "content-type": "application/merge-patch+json" }),
    };
    return new Promise((resolve, reject) => {
      const send = url.protocol === "https:" ? httpsRequest : httpRequest;
      const sent = send(url, options, resolve);
      sent.once("error", reject);
      sent.end(body);
    });
  }

  #check(method: string, path: string, { statusCode = 0 }: IncomingMessage, answer: string): void {
    if (statusCode >= 200 && statusCode < 300) return;
    let message = "";
    try {
      const status = JSON.parse(answer) as { readonly message?: unknown };
      if (typeof status.message === "string") message = status.message;
    } catch {
      message = answer.slice(0, 200);
    }
    throw new KubernetesApiError(method, path.replace(/\?.*/, ""), statusCode, message);
  }
}

/**
 * The cluster of a kubeconfig, or of the one that is found as `kubectl` finds it, or that this pod runs in.
 *
 * @throws ConfigurationError when the optional peer is not installed, or names no cluster
 */
export async function connectKubernetes(given: KubeConfig | undefined, clock: Clock): Promise<KubernetesApi> {
  if (given !== undefined) return new KubernetesApi(given, clock);
  const peer = await import("@kubernetes/client-node").catch((cause: unknown) => {
    throw new ConfigurationError(
      "Kubernetes",
      [
        {
          path: [],
          type: "import_error",
          message: 'The optional peer is not installed: npm install "@kubernetes/client-node@1"',
        },
      ],
      { cause },
    );
  });
  const config = new peer.KubeConfig();
  config.loadFromDefault();
  if (config.getCurrentCluster() === null) throw noCluster();
  return new KubernetesApi(config, clock);
}

function noCluster(): ConfigurationError {
  return new ConfigurationError("Kubernetes", [
    { path: [], type: "value_error", message: "The kubeconfig has no current cluster" },
  ]);
}

async function readAll(response: IncomingMessage): Promise<string> {
  let size = 0;
  response.on("data", (chunk: Buffer) => {
    size += chunk.length;
    if (size > maxAnswerBytes)
      response.destroy(new Error(`The answer has more than ${maxAnswerBytes} bytes`));
  });
  return text(response);
}
