import { CliError } from "./cli-error.ts";
import { environmentValue } from "./option-values.ts";

/**
 * The API key in an environment variable that a user named with `--api-key-env`: keys belong on no command line.
 *
 * @throws CliError when it is not set
 */
export function apiKeyFrom(name: string): string {
  const value = environmentValue(name);
  if (value !== undefined) return value;
  throw new CliError(`The environment variable ${name} (--api-key-env) is not set.`);
}
