import { measureSizes } from "./measure.ts";

const sizes = await measureSizes();
for (const { what, bytes, budget } of sizes) {
  const kilobytes = (count: number): string => `${Math.round(count / 1000)} kB`.padStart(8);
  console.log(`${kilobytes(bytes)} of ${kilobytes(budget)}  ${what}${bytes > budget ? "  TOO LARGE" : ""}`);
}
if (sizes.some(({ bytes, budget }) => bytes > budget)) process.exitCode = 1;
