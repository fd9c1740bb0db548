import { ConfigurationError } from "../errors/configuration-error.ts";
import type { Random } from "../internal/random.ts";

/** How many tokens prompts or answers have. */
export type LengthDistribution =
  | { readonly kind: "fixed"; readonly tokens: number }
  /** Every whole number from `least` to `most` alike. */
  | { readonly kind: "uniform"; readonly least: number; readonly most: number }
  /** As lengths of real prompts: many short ones, a few very long ones, cut off at `most`. */
  | { readonly kind: "lognormal"; readonly median: number; readonly sigma: number; readonly most: number };

const whole = String.raw`(\d+)`;
const forms = {
  fixed: new RegExp(`^(?:fixed:)?${whole}$`),
  uniform: new RegExp(`^uniform:${whole}-${whole}$`),
  lognormal: new RegExp(`^lognormal:${whole},(\\d+(?:\\.\\d+)?)(?:,${whole})?$`),
};
const usualMost = 131_072;

/**
 * Reads `128`, `uniform:64-256` or `lognormal:256,0.8[,4096]` (median, sigma of the logarithm, most).
 *
 * @throws ConfigurationError
 */
export function parseLengthDistribution(text: string): LengthDistribution {
  const fixed = forms.fixed.exec(text);
  if (fixed !== null && Number(fixed[1]) >= 1) return { kind: "fixed", tokens: Number(fixed[1]) };
  const uniform = forms.uniform.exec(text);
  if (uniform !== null) {
    const [least, most] = [Number(uniform[1]), Number(uniform[2])];
    if (least >= 1 && most >= least) return { kind: "uniform", least, most };
  }
  const lognormal = forms.lognormal.exec(text);
  if (lognormal !== null) {
    const [median, sigma, most] = [
      Number(lognormal[1]),
      Number(lognormal[2]),
      Number(lognormal[3] ?? usualMost),
    ];
    if (median >= 1 && most >= median) return { kind: "lognormal", median, sigma, most };
  }
  throw new ConfigurationError("Length distribution", [
    {
      path: [],
      type: "value_error",
      message: "Input should be a distribution of tokens, 1 or more",
      expected: "128, uniform:64-256 or lognormal:256,0.8,4096 (median, sigma, most)",
      received: JSON.stringify(text),
    },
  ]);
}

/** Draws a number of tokens, 1 or more. */
export function drawLength(distribution: LengthDistribution, random: Random): number {
  if (distribution.kind === "fixed") return distribution.tokens;
  if (distribution.kind === "uniform") {
    return distribution.least + Math.floor(random.next() * (distribution.most - distribution.least + 1));
  }
  const { median, sigma, most } = distribution;
  return Math.min(most, Math.max(1, Math.round(median * Math.exp(sigma * drawNormal(random)))));
}

/** Milliseconds until the next arrival of a Poisson process. @param perSecond rate, > 0 */
export function drawInterval(perSecond: number, random: Random): number {
  return (-Math.log(1 - random.next()) * 1000) / perSecond;
}

/** Box and Muller; 1 - next() is never 0. */
function drawNormal(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next());
}
