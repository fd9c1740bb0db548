import { ConfigurationError } from "../errors/configuration-error.ts";

/** Runs `build`, and puts `path` before the paths of the problems it finds in the configuration of `subject`. */
export function within<Result>(
  subject: string,
  path: readonly (string | number)[],
  build: () => Result,
): Result {
  try {
    return build();
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    const issues = error.issues.map((issue) => ({ ...issue, path: [...path, ...issue.path] }));
    throw new ConfigurationError(subject, issues, { cause: error });
  }
}
