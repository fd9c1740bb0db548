/** What a {@link MessageReader} finds. */
export interface MessageListener {
  /** The start line and headers of a message, without the blank line. */
  onHeader(header: string): void;
  /** A part of the body, chunk framing taken off. */
  onBody(part: Buffer): void;
  onEnd(): void;
}

const blankLine = "\r\n\r\n";
const lineFeed = 0x0a;

/** Reads HTTP/1.1 messages of peers that are trusted to speak it: just enough for the mock engine and the load tool. */
export class MessageReader {
  readonly #listener: MessageListener;
  #stage: "header" | "body" | "chunk-size" | "chunk" | "after-chunk" | "after-last" = "header";
  #held: Buffer = Buffer.alloc(0);
  #left = 0;

  constructor(listener: MessageListener) {
    this.#listener = listener;
  }

  push(received: Buffer): void {
    let bytes = this.#held.length === 0 ? received : Buffer.concat([this.#held, received]);
    this.#held = bytes.subarray(0, 0);
    while (bytes.length > 0) {
      const used = this.#step(bytes);
      if (used === 0) {
        this.#held = bytes;
        return;
      }
      bytes = bytes.subarray(used);
    }
  }

  /** Takes what it can from the front; 0: it needs more. */
  #step(bytes: Buffer): number {
    if (this.#stage === "header") return this.#takeHeader(bytes);
    return this.#stage === "body" || this.#stage === "chunk" ? this.#takeBody(bytes) : this.#takeLine(bytes);
  }

  #takeHeader(bytes: Buffer): number {
    const end = bytes.indexOf(blankLine);
    if (end < 0) return 0;
    this.#begin(bytes.toString("latin1", 0, end));
    return end + blankLine.length;
  }

  #takeBody(bytes: Buffer): number {
    const used = Math.min(bytes.length, this.#left);
    this.#listener.onBody(used === bytes.length ? bytes : bytes.subarray(0, used));
    this.#left -= used;
    if (this.#left > 0) return used;
    if (this.#stage === "chunk") this.#stage = "after-chunk";
    else this.#end();
    return used;
  }

  #takeLine(bytes: Buffer): number {
    const end = bytes.indexOf(lineFeed);
    if (end < 0) return 0;
    if (this.#stage === "chunk-size") {
      this.#left = Number.parseInt(bytes.toString("latin1", 0, end), 16);
      this.#stage = this.#left > 0 ? "chunk" : "after-last";
    } else if (this.#stage === "after-chunk") {
      this.#stage = "chunk-size";
    } else {
      this.#end();
    }
    return end + 1;
  }

  #begin(header: string): void {
    this.#listener.onHeader(header);
    const length = /\r\ncontent-length: *(\d+)/i.exec(header);
    if (length !== null) {
      this.#left = Number(length[1]);
      this.#stage = "body";
      if (this.#left === 0) this.#end();
    } else if (/\r\ntransfer-encoding: *chunked/i.test(header)) {
      this.#stage = "chunk-size";
    } else {
      this.#end();
    }
  }

  #end(): void {
    this.#stage = "header";
    this.#listener.onEnd();
  }
}
