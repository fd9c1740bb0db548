/** Something that works, but that its author should know of. Ray's `warnings.warn` and `logger.warning`. */
export interface ConfigWarning {
  /** Python's warning category, or `log` for what Ray only logs. */
  readonly category: "DeprecationWarning" | "FutureWarning" | "log";
  /** Ray's words where Ray has some. */
  readonly message: string;
}
