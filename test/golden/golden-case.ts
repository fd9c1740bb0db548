/** One line of a corpus; the format is described in README.md. */
export interface GoldenCase {
  readonly id: string;
  readonly note?: string;
  readonly input: unknown;
  readonly expect: unknown;
  /** Set when Ray's behaviour is a defect: what is recorded is then not what is expected of this library. */
  readonly ray_defect?: string;
}

/** Why a case can't be run here. The closed list is in README.md. */
export type SkipReason = "python-only";

/** Checks one case: throws on a mismatch, returns a reason when it can't be run here. */
export type Check = (kase: GoldenCase) => void | SkipReason | Promise<void | SkipReason>;
