import type { ServerResponse } from "node:http";
import type { Dispatcher } from "undici";

/** Sends an engine's answer to the client untouched; what comes in one turn goes out in one write. */
export class Relay implements Dispatcher.DispatchHandler {
  readonly #response: ServerResponse;
  #resume: (() => void) | undefined;
  #abort: (() => void) | undefined;
  #corked = false;

  constructor(response: ServerResponse) {
    this.#response = response;
    response.on("drain", () => this.#resume?.());
    response.on("close", () => {
      if (!response.writableFinished) this.#abort?.();
    });
  }

  onConnect(abort: () => void): void {
    this.#abort = abort;
  }

  onHeaders(status: number, headers: Buffer[], resume: () => void): boolean {
    this.#resume = resume;
    this.#response.statusCode = status;
    for (let index = 0; index + 1 < headers.length; index += 2) {
      const name = headers[index]!.toString("latin1").toLowerCase();
      if (name === "content-type" || name === "content-length") {
        this.#response.setHeader(name, headers[index + 1]!.toString("latin1"));
      }
    }
    return true;
  }

  onData(chunk: Buffer): boolean {
    if (!this.#corked) {
      this.#corked = true;
      this.#response.cork();
      process.nextTick(this.#uncork);
    }
    return this.#response.write(chunk);
  }

  onComplete(): void {
    this.#response.end();
  }

  onError(): void {
    this.#response.destroy();
  }

  readonly #uncork = (): void => {
    this.#corked = false;
    this.#response.uncork();
  };
}
