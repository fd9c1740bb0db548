import type { GoldenCase } from "./golden-case.ts";

/**
 * A class of cases in which this library differs from Ray on purpose: a defect of Ray (found by the recording's own
 * words for it), or a place where this library's rules win (found by the shape of the input).
 */
export interface Deviation<Subject> {
  /** What this library does instead, and why. */
  readonly reason: string;
  applies(kase: GoldenCase): boolean;
  /** Throws when this library does not do that. */
  expect(subject: Subject, kase: GoldenCase): void | Promise<void>;
}

/** A deviation for every case whose `ray_defect` says one of these things. */
export function forDefect<Subject>(
  words: RegExp,
  reason: string,
  expect: Deviation<Subject>["expect"],
): Deviation<Subject> {
  return { reason, applies: (kase) => kase.ray_defect !== undefined && words.test(kase.ray_defect), expect };
}

/** The deviation that applies to a case, if any. A defect without a rule is a failure: nothing passes by default. */
export function deviationFor<Subject>(
  deviations: readonly Deviation<Subject>[],
  kase: GoldenCase,
): Deviation<Subject> | undefined {
  const deviation = deviations.find((each) => each.applies(kase));
  if (deviation === undefined && kase.ray_defect !== undefined) {
    throw new Error(`no rule for the defect "${kase.ray_defect}"`);
  }
  return deviation;
}

/**
 * Runs the deviation that applies to a case, if any.
 *
 * @returns whether one applied
 */
export function checkDeviation<Subject>(
  deviations: readonly Deviation<Subject>[],
  kase: GoldenCase,
  subject: Subject,
): boolean {
  const deviation = deviationFor(deviations, kase);
  if (deviation === undefined) return false;
  if (deviation.expect(subject, kase) !== undefined)
    throw new TypeError("await the rule found by deviationFor");
  return true;
}
