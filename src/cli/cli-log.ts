/** What the command says while it works: sentences for people, or one JSON object a line for machines. */
export class CliLog {
  readonly #json: boolean;

  constructor(json: boolean) {
    this.#json = json;
  }

  /** True when machines read along. */
  get json(): boolean {
    return this.#json;
  }

  /**
   * Something happened, as it should.
   *
   * @param event stable name for machines, for example `listening`
   * @param text the same for people
   * @param fields details for machines
   */
  info(event: string, text: string, fields: Readonly<Record<string, unknown>> = {}): void {
    process.stdout.write(this.#json ? line("info", event, text, fields) : `${text}\n`);
  }

  /** Something a person should look at; the command goes on. */
  warn(text: string, fields: Readonly<Record<string, unknown>> = {}): void {
    process.stderr.write(this.#json ? line("warn", "warning", text, fields) : `Warning: ${text}\n`);
  }

  /** The command can't go on. */
  error(text: string, fields: Readonly<Record<string, unknown>> = {}): void {
    process.stderr.write(this.#json ? line("error", "failed", text, fields) : `Error: ${text}\n`);
  }
}

function line(
  level: string,
  event: string,
  message: string,
  fields: Readonly<Record<string, unknown>>,
): string {
  return `${JSON.stringify({ time: new Date().toISOString(), level, event, message, ...fields })}\n`;
}
