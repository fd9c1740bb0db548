import type { Timer } from "../internal/clock.ts";
import { EngineRefusal } from "./engine-refusal.ts";
import { isTokenFault, type Fault, type TokenFault } from "./fault-plan.ts";
import type { Generation } from "./generation.ts";
import type { Reply } from "./mock-answer.ts";
import { doneFrame } from "./reply-format.ts";

const fillerPiece = "filler ".repeat(2340);
const brokenFrame = 'data: {"id":"broken","choices":[{"index":0,"delta":{"content":"bro\n\n';

/**
 * Sends a reply whose tokens are known: all at once, or step by step with the engine's delays and at the pace of
 * the client. Faults that are about tokens strike here.
 */
export class TokenSender {
  readonly #generation: Generation;
  readonly #fault: Fault | undefined;
  readonly #tokensPerStep: number;
  readonly #interTokenMs: number;
  readonly #tokensInReply: number;
  #sent = 0;
  #struck = false;
  #cancelled = false;
  #timer: Timer | undefined;

  constructor(generation: Generation) {
    const { core, request, fault, replies } = generation;
    this.#generation = generation;
    this.#fault = fault;
    this.#tokensPerStep = Math.max(core.options.tokensPerFrame, request.streamInterval ?? 1);
    this.#interTokenMs =
      (fault?.kind === "slow" ? fault.interTokenMs : undefined) ?? core.options.latency.interTokenMs;
    this.#tokensInReply = Math.max(...replies.map((reply) => reply.tokens.length));
  }

  /** Tokens of each choice that were sent, or for a whole answer produced. */
  get sentTokens(): number {
    return this.#sent;
  }

  start(): void {
    const { core, request, writer } = this.#generation;
    if (this.#fault?.kind === "pings") {
      if (!request.stream) writer.head(200, { "content-type": "text/event-stream; charset=utf-8" });
      this.#ping(this.#fault.everyMs);
      return;
    }
    if (request.stream) {
      this.#step();
      return;
    }
    const delayMs = core.jittered((this.#tokensInReply - 1) * this.#interTokenMs);
    if (delayMs <= 0) this.#answer();
    else this.#timer = core.clock.setTimer(() => this.#answer(), delayMs, { keepAlive: true });
  }

  /** Sends nothing more. */
  cancel(): void {
    this.#cancelled = true;
    this.#timer?.cancel();
  }

  #step(): void {
    const { core, writer } = this.#generation;
    for (;;) {
      if (this.#cancelled || writer.closed || this.#strikes()) return;
      if (this.#sent >= this.#tokensInReply) break;
      const room = this.#sendStep();
      if (this.#sent >= this.#tokensInReply) continue;
      const delayMs = core.jittered(this.#interTokenMs * this.#tokensPerStep);
      if (delayMs > 0) {
        this.#timer = core.clock.setTimer(() => this.#step(), delayMs, { keepAlive: true });
        return;
      }
      if (!room) {
        writer.onDrain(() => this.#step());
        return;
      }
    }
    this.#finishStream();
  }

  #sendStep(): boolean {
    const { format, replies, request, writer } = this.#generation;
    const from = this.#sent;
    const to = Math.min(from + this.#tokensPerStep, this.#tokensInReply);
    const usageAfter = (tokens: number): ReturnType<Generation["usage"]> | undefined =>
      request.continuousUsage ? this.#generation.usage(tokens) : undefined;
    let room = true;
    if (from === 0) {
      for (const choice of replies.keys()) writer.write(format.opening(choice, usageAfter(0)));
    }
    const keepsFinish = this.#fault?.kind !== "truncated" || this.#fault.keepFinish === true;
    for (const [choice, reply] of replies.entries()) {
      if (from >= reply.tokens.length) continue;
      const isLast = to >= reply.tokens.length;
      room = writer.write(
        format.frame({
          choice,
          tokens: reply.tokens.slice(from, to),
          texts: reply.texts.slice(from, to),
          first: from === 0,
          end: isLast && keepsFinish ? reply : undefined,
          usage: usageAfter(this.#produced(to)),
        }),
      );
    }
    this.#sent = to;
    writer.entry.tokens = to;
    return room;
  }

  #finishStream(): void {
    const { core, format, request, writer } = this.#generation;
    const total = this.#produced(this.#tokensInReply);
    core.metrics.generationTokens += total;
    this.#generation.complete();
    if (this.#fault?.kind !== "truncated") {
      if (request.includeUsage) writer.write(format.usageFrame(this.#generation.usage(total)));
      writer.write(doneFrame);
    }
    writer.end();
  }

  #answer(): void {
    const { core, format, replies, writer } = this.#generation;
    if (this.#cancelled || this.#strikes()) return;
    this.#sent = this.#tokensInReply;
    writer.entry.tokens = this.#sent;
    const total = this.#produced(this.#tokensInReply);
    core.metrics.generationTokens += total;
    const kvTransferParams = this.#generation.complete();
    const choices = replies.map((reply) => ({ ...reply, end: reply }));
    const body = format.body(choices, this.#generation.usage(total), kvTransferParams);
    const fault = this.#fault;
    if (fault === undefined || !isTokenFault(fault)) writer.json(200, body);
    else this.#answerBroken(fault, body);
  }

  #answerBroken(fault: TokenFault, body: string): void {
    const { writer } = this.#generation;
    const headers = { "content-type": "application/json" };
    if (fault.kind === "truncated") {
      writer.head(200, { ...headers, "content-length": String(Buffer.byteLength(body)) });
      writer.write(body.slice(0, body.length / 2));
      writer.reset();
    } else if (fault.kind === "malformedSse") {
      writer.head(200, headers);
      writer.write(fault.bytes ?? body.slice(0, body.length / 2));
      writer.end();
    } else if (fault.kind === "hugeAnswer") {
      writer.head(200, headers);
      writer.write('{"filler":"');
      this.#fill(fault.bytes, fillerPiece, () => {
        writer.write(`",${body.slice(1)}`);
        writer.end();
      });
    } else {
      // A stall that is over.
      writer.json(200, body);
    }
  }

  /** Tokens of all choices once each had so many. */
  #produced(tokensEach: number): number {
    return this.#generation.replies.reduce(
      (sum, reply: Reply) => sum + Math.min(tokensEach, reply.tokens.length),
      0,
    );
  }

  /** Strikes if it is time to. True: nothing is to be sent any more, or not now. */
  #strikes(): boolean {
    const fault = this.#fault;
    if (fault === undefined || this.#struck || !isTokenFault(fault)) return false;
    const { core, request, writer } = this.#generation;
    if (request.stream && this.#sent < strikesAfter(fault)) return false;
    this.#struck = true;
    switch (fault.kind) {
      case "stallAfterTokens":
        if (fault.forMs !== undefined) {
          const resume = (): void => (request.stream ? this.#step() : this.#answer());
          this.#timer = core.clock.setTimer(resume, fault.forMs, { keepAlive: true });
        }
        return true;
      case "sseError": {
        const { message = "Internal server error", status = 500, type = "InternalServerError" } = fault;
        this.#generation.fail(new EngineRefusal(status, type, message));
        return true;
      }
      case "swallowedError":
        this.#generation.swallow();
        return true;
      case "engineDeath":
        core.onDeath();
        return true;
      case "crash":
        core.onCrash();
        return true;
      case "truncated":
        if (!request.stream) return false;
        this.#generation.close("error");
        writer.end();
        return true;
      case "malformedSse":
        if (request.stream) writer.write(fault.bytes ?? brokenFrame);
        return false;
      case "hugeAnswer":
        if (!request.stream) return false;
        this.#fill(fault.bytes, this.#fillerFrame(), () => this.#step());
        return true;
    }
    return false;
  }

  #fillerFrame(): string {
    const { format } = this.#generation;
    return format.frame({
      choice: 0,
      tokens: [],
      texts: [fillerPiece],
      first: false,
      end: undefined,
      usage: undefined,
    });
  }

  /** Writes so many bytes, no faster than the client reads. */
  #fill(bytes: number, piece: string, onDone: () => void): void {
    const { writer } = this.#generation;
    let left = bytes;
    while (left > 0) {
      if (writer.closed) return;
      left -= piece.length;
      if (!writer.write(piece) && left > 0) {
        writer.onDrain(() => this.#fill(left, piece, onDone));
        return;
      }
    }
    onDone();
  }

  #ping(everyMs: number): void {
    const { core, writer } = this.#generation;
    if (this.#cancelled || writer.closed) return;
    writer.write(": ping\n\n");
    this.#timer = core.clock.setTimer(() => this.#ping(everyMs), everyMs, { keepAlive: true });
  }
}

/** Tokens delivered before a fault strikes a stream. */
function strikesAfter(fault: TokenFault): number {
  if (fault.kind === "stallAfterTokens") return fault.tokens;
  const after = "afterTokens" in fault ? fault.afterTokens : undefined;
  return after ?? (fault.kind === "truncated" ? Number.POSITIVE_INFINITY : 0);
}
