import { Command, InvalidArgumentError, Option } from "commander";

import { readBaseUrl } from "../config/endpoint.ts";

/** Reads `URL,URL`. @throws InvalidArgumentError naming the part that is no URL */
export function urlList(value: string): readonly string[] {
  const parts = value
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "");
  if (parts.length === 0)
    throw new InvalidArgumentError("Give at least one URL, for example http://10.0.0.1:8000.");
  return parts.map((part) => {
    const url = readBaseUrl(part);
    if ("value" in url) return url.value;
    throw new InvalidArgumentError(
      `"${part}": ${url.message}. Give a base URL, for example http://10.0.0.1:8000.`,
    );
  });
}

/** Reads a port. @throws InvalidArgumentError */
export function port(value: string): number {
  const number = Number(value);
  if (/^\d+$/.test(value) && number <= 65_535) return number;
  throw new InvalidArgumentError("Give a port from 0 to 65535; 0 takes any free one.");
}

/** A reader of whole numbers from `least`. */
export function wholeNumber(least: number): (value: string) => number {
  return (value) => {
    const number = Number(value);
    if (/^\d+$/.test(value) && Number.isSafeInteger(number) && number >= least) return number;
    throw new InvalidArgumentError(`Give a whole number of ${least} or more.`);
  };
}

/** Reads a number of 0 or more. @throws InvalidArgumentError */
export function nonNegative(value: string): number {
  const number = Number(value);
  if (value.trim() !== "" && Number.isFinite(number) && number >= 0) return number;
  throw new InvalidArgumentError("Give a number of 0 or more.");
}

/** Reads a number from 0 to 1. @throws InvalidArgumentError */
export function fraction(value: string): number {
  const number = nonNegative(value);
  if (number <= 1) return number;
  throw new InvalidArgumentError("Give a number from 0 to 1.");
}

/** Reads a time in milliseconds above 0. @throws InvalidArgumentError */
export function milliseconds(value: string): number {
  const number = nonNegative(value);
  if (number > 0) return number;
  throw new InvalidArgumentError("Give a number of milliseconds above 0.");
}

/** Where a command that serves HTTP listens. */
export function portOption(usual?: number): Option {
  const option = new Option("-p, --port <number>", "port to listen on; 0 takes any free one").argParser(port);
  return usual === undefined ? option : option.default(usual);
}

/** See {@link portOption}. */
export function hostOption(): Option {
  return new Option("--host <address>", "address to listen on; 0.0.0.0 for all").default("127.0.0.1");
}

/** Logs for machines. */
export function jsonOption(): Option {
  return new Option("--json", "log one JSON object a line, for machines").default(false);
}

/** The value of an environment variable that a user named; undefined when it is not set or empty. */
export function environmentValue(name: string): string | undefined {
  const reader = new Command().addOption(new Option("--value <value>").env(name));
  const { value } = reader.parse([], { from: "user" }).opts<{ readonly value?: string | undefined }>();
  return value === "" ? undefined : value;
}
