import { readFileSync } from "node:fs";
import { basename } from "node:path";

/** Part of a `.cpuprofile`, as V8's profiler writes it. */
interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

const listed = 15;

/** Lists the functions that a profile spent most time in, what they called not counted; idle time is left out. */
export function printTopFunctions(file: string, print: (line: string) => void): void {
  const profile = JSON.parse(readFileSync(file, "utf8")) as CpuProfile;
  const names = new Map(
    profile.nodes.map(({ id, callFrame }) => {
      const { functionName, url, lineNumber } = callFrame;
      const where = url === "" ? "" : ` ${url.startsWith("node:") ? url : basename(url)}:${lineNumber + 1}`;
      return [id, `${functionName || "(anonymous)"}${where}`];
    }),
  );
  const selfTime = new Map<string, number>();
  let busy = 0;
  for (const [index, id] of profile.samples.entries()) {
    const name = names.get(id)!;
    if (name === "(idle)") continue;
    const time = profile.timeDeltas[index]!;
    busy += time;
    selfTime.set(name, (selfTime.get(name) ?? 0) + time);
  }
  print(`\n${file}: ${(busy / 1e6).toFixed(2)} s busy; self time:`);
  const top = [...selfTime].sort(([, a], [, b]) => b - a).slice(0, listed);
  for (const [name, time] of top) print(`  ${((time / busy) * 100).toFixed(1).padStart(5)} %  ${name}`);
}
