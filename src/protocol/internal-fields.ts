/** Fields of an engine's answer that are between engines and never a client's business. */
export const internalFields = ["kv_transfer_params", "ec_transfer_params"] as const;

/**
 * Where in a text one of {@link internalFields} may be, from an offset on; -1 when it certainly has none: neither what
 * their names have in common, nor an escape in place of an underscore. Searched for is what is rare.
 */
export function internalFieldAt(text: string, from: number): number {
  const name = text.indexOf("_transfer_params", from);
  const escape = text.indexOf("\\u005", from);
  return name === -1 || (escape !== -1 && escape < name) ? escape : name;
}

/** False when a text certainly has none of {@link internalFields}. */
export function mayHaveInternalField(text: string): boolean {
  return internalFieldAt(text, 0) !== -1;
}
