import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** What a request asks of the mock engine; see `native/engine.c`. */
export interface RequestKind {
  /** Bytes of the whole body, about. */
  readonly bytes: number;
  /** Absent: the answer is not streamed. */
  readonly stream?: { readonly events: number; readonly delayUs: number } | undefined;
  /** `escaped`: English with an escape every 20 bytes, the worst for a scanner; `cjk`: three bytes a character. */
  readonly text?: "escaped" | "cjk" | undefined;
}

const escaped = String.raw`The quick \"brown\" fox jumps\nover the lazy dog.\t`;
const cjk = "敏捷的棕色狐狸跳过了懒惰的狗";

/** A chat request as a client would send it. */
export function requestBody({ bytes, stream, text = "escaped" }: RequestKind): Buffer {
  const mode = stream === undefined ? "" : `events=${stream.events},delay=${stream.delayUs}`;
  const start =
    `{"model":"bench-model","user":"${mode}","stream":${stream !== undefined},"temperature":0.7,"max_tokens":64,` +
    `"messages":[{"role":"system","content":"You are a helpful assistant."},{"role":"user","content":"`;
  const end = `"}]}`;
  const unit = text === "cjk" ? cjk : escaped;
  const unitBytes = Buffer.byteLength(unit);
  const count = Math.max(0, Math.floor((bytes - start.length - end.length) / unitBytes));
  return Buffer.from(start + unit.repeat(count) + end);
}

/** The body in a file, for the load tool. */
export function bodyFile(directory: string, kind: RequestKind): string {
  const { bytes, stream, text = "escaped" } = kind;
  const name = `body-${bytes}-${text}-${stream === undefined ? "whole" : `${stream.events}x${stream.delayUs}`}.json`;
  mkdirSync(directory, { recursive: true });
  const file = join(directory, name);
  writeFileSync(file, requestBody(kind));
  return file;
}
