/** How bad a finding is: `problem` keeps prefill/decode from working, `warning` deserves a look. */
export type Severity = "ok" | "warning" | "problem";

/**
 * What the doctor looks at. Each name has a paragraph in `docs/doctor.md`; names are stable, so that scripts may
 * match them.
 */
export const checkNames = [
  // The configuration.
  "configuration",
  "kv-role",
  "duplicate-endpoint",
  // Reaching an engine.
  "dns",
  "connection-refused",
  "connect-timeout",
  "tls",
  "no-answer",
  "connection-broken",
  "keep-alive",
  "redirect",
  "health",
  "authentication",
  "content-type",
  // What an engine says of itself.
  "version",
  "model",
  "weights",
  "max-model-len",
  "lora",
  "metrics",
  "block-size",
  "kv-dtype",
  "prefix-caching",
  "clock",
  "load",
  "sleeping",
  // A prefill of our own.
  "prefill-request",
  "connector",
  "handle",
  "side-channel-host",
  "side-channel-port",
  "duplicate-engine",
  "engine-id",
  // A request through the library.
  "pd-request",
  "pd-mode",
  "kv-moved",
  "kv-transfer-failures",
  "decode-request",
  "text",
] as const;

/** See {@link checkNames}. */
export type CheckName = (typeof checkNames)[number];

/** The two sides of a pair. */
export type SideName = "prefill" | "decode";

/** What a finding is about. */
export interface FindingSubject {
  /** Undefined: both sides, or neither. */
  readonly side?: SideName | undefined;
  /** Base URLs of the engines; empty when it is about no engine in particular. */
  readonly engines?: readonly string[] | undefined;
}

/** One thing the doctor looked at. */
export interface Finding {
  readonly check: CheckName;
  readonly severity: Severity;
  readonly side: SideName | undefined;
  readonly engines: readonly string[];
  /** What was seen, a sentence. Holds no API key. */
  readonly seen: string;
  /** What to do about it; undefined when there is nothing to do. */
  readonly advice: string | undefined;
}

/** Collects findings, in the order they were made. */
export class FindingList {
  readonly #findings: Finding[] = [];

  get all(): readonly Finding[] {
    return this.#findings;
  }

  ok(check: CheckName, subject: FindingSubject, seen: string): void {
    this.#add("ok", check, subject, seen, undefined);
  }

  warning(check: CheckName, subject: FindingSubject, seen: string, advice: string): void {
    this.#add("warning", check, subject, seen, advice);
  }

  problem(check: CheckName, subject: FindingSubject, seen: string, advice: string): void {
    this.#add("problem", check, subject, seen, advice);
  }

  /** How many there are of one severity. */
  count(severity: Severity): number {
    return this.#findings.filter((finding) => finding.severity === severity).length;
  }

  #add(
    severity: Severity,
    check: CheckName,
    { side, engines = [] }: FindingSubject,
    seen: string,
    advice: string | undefined,
  ): void {
    this.#findings.push({ check, severity, side, engines, seen, advice });
  }
}
