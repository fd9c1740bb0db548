/** A failure whose message tells a person what to do; shown without a stack. */
export class CliError extends Error {
  override readonly name = "CliError";
  /** 1: it did not work; 2: the command was not understood. */
  readonly exitCode: 1 | 2;

  constructor(message: string, options: { readonly exitCode?: 1 | 2; readonly cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.exitCode = options.exitCode ?? 1;
  }
}

/** An error of the network in a person's words: the cause that matters, without a stack. */
export function reasonOf(error: unknown): string {
  let reason = error;
  while (reason instanceof Error && reason.cause !== undefined) reason = reason.cause;
  if (!(reason instanceof Error)) return String(reason);
  const { code } = reason as { readonly code?: unknown };
  return reason.message === "" && typeof code === "string" ? code : reason.message;
}

/** What `listen` threw, as a {@link CliError} that names the way out. */
export function listenError(error: unknown, host: string, port: number): unknown {
  const code = error instanceof Error ? (error as { readonly code?: unknown }).code : undefined;
  switch (code) {
    case "EADDRINUSE":
      return new CliError(
        `Port ${port} on ${host} is in use by another process. Choose another with --port, or --port 0 for any free one.`,
        { cause: error },
      );
    case "EACCES":
      return new CliError(
        `Port ${port} on ${host} may not be used by this user. Choose one above 1023 with --port.`,
        {
          cause: error,
        },
      );
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
      return new CliError(`${host} is no address of this machine. Choose another with --host.`, {
        cause: error,
      });
    default:
      return error;
  }
}
