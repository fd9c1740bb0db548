import type { ByteSink, ByteSource } from "../internal/byte-stream.ts";

const encoder = new TextEncoder();

/** Server-sent events to one page. Holds back nothing: whoever sends looks at {@link isReady} first. */
export class PageStream implements ByteSource {
  /** Messages were left out because the page did not read; it needs everything anew. */
  missed = false;
  #sink: ByteSink | undefined;
  #full = false;
  #ended = false;
  /** What was sent before anybody asked for bytes. */
  #first: Uint8Array | undefined;

  /** False while the page has not read what it was sent. */
  get isReady(): boolean {
    return this.#sink !== undefined && !this.#full;
  }

  /** @param data one line */
  send(data: string): void {
    const event = encoder.encode(`data: ${data}\n\n`);
    if (this.#sink === undefined) this.#first = event;
    else this.#full = !this.#sink.write(event);
  }

  end(): void {
    this.#ended = true;
    this.#sink?.end();
  }

  pipe(sink: ByteSink): void {
    this.#sink = sink;
    if (this.#first !== undefined) this.#full = !sink.write(this.#first);
    this.#first = undefined;
    if (this.#ended) sink.end();
  }

  resume(): void {
    this.#full = false;
  }
}
