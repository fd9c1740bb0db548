/** Fields of an engine's answer that are between engines and never a client's business. */
export const internalFields = ["kv_transfer_params", "ec_transfer_params"] as const;

/**
 * False when a text certainly has none of {@link internalFields}: neither what their names have in common, nor an escape
 * in place of an underscore. Searched for is what is rare.
 */
export function mayHaveInternalField(text: string): boolean {
  return text.indexOf("_transfer_params") !== -1 || text.indexOf("\\u005") !== -1;
}
