/** The bytes are not one valid JSON document of the expected kind, or go beyond a limit. */
export class JsonScanError extends Error {
  override readonly name = "JsonScanError";
  /** Byte at which the document stopped being acceptable, from 0. */
  readonly offset: number;

  constructor(message: string, offset: number) {
    super(`${message} at byte ${offset}`);
    this.offset = offset;
  }
}

/** The error for anything but `expected` at `position`. */
export function unexpected(bytes: Uint8Array, expected: string, position: number): JsonScanError {
  const byte = bytes[position];
  const got =
    byte === undefined
      ? "the end of input"
      : byte > 0x20 && byte < 0x7f
        ? JSON.stringify(String.fromCharCode(byte))
        : `byte 0x${byte.toString(16).padStart(2, "0")}`;
  return new JsonScanError(`Expected ${expected}, got ${got}`, position);
}
