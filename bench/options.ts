import { parseArgs } from "node:util";

/** What to measure, and how the result is told. */
export interface BenchOptions {
  /** Everything in less than a minute: fewer and shorter rounds, wide spread. */
  readonly quick: boolean;
  /** Names of workloads; all when empty. */
  readonly only: readonly string[];
  /** Print one JSON document instead of tables. */
  readonly json: boolean;
  /** Print Markdown instead of tables. */
  readonly markdown: boolean;
  /** Exit with 1 when a limit is missed. */
  readonly gate: boolean;
  /** Write CPU profiles of the three main workloads and list their costliest functions. */
  readonly cpuProfile: boolean;
  /** Use the load tools written in Node even when there is a C compiler. */
  readonly nodeTools: boolean;
  /** Do not use nginx even when it is installed. */
  readonly noNginx: boolean;
  /** A built `dist` to measure instead of this tree's. */
  readonly dist: string | undefined;
  /** CPUs for the proxy, and for engine and load. */
  readonly cpus: readonly [string, string];
}

export const usage = `npm run bench -- [options]

  --quick          less than a minute, for a first look
  --only NAME      this workload only; may be given several times
  --list           names of the workloads
  --json           one JSON document on stdout
  --markdown       the tables as Markdown, for bench/results.md
  --gate           exit code 1 when a limit ("must") is missed
  --cpu-prof       CPU profiles of the three main workloads, in bench/.out
  --node-tools     engine and load in Node, although there is a C compiler
  --no-nginx       the Node one-hop proxy as the yardstick, although nginx is installed
  --dist DIR       measure this build of the library instead of the tree's
  --cpus P,L       CPUs of the proxy, and of engine and load (default 0,1)`;

/** What the command line says, or `list`, `help` or what is wrong with it. */
export function readOptions(args: readonly string[], workloads: readonly string[]): BenchOptions | string {
  let values;
  try {
    ({ values } = parseArgs({
      args: [...args],
      options: {
        quick: { type: "boolean", default: false },
        only: { type: "string", multiple: true, default: [] },
        list: { type: "boolean", default: false },
        json: { type: "boolean", default: false },
        markdown: { type: "boolean", default: false },
        gate: { type: "boolean", default: false },
        "cpu-prof": { type: "boolean", default: false },
        "node-tools": { type: "boolean", default: false },
        "no-nginx": { type: "boolean", default: false },
        dist: { type: "string" },
        cpus: { type: "string", default: "0,1" },
        help: { type: "boolean", default: false },
      },
    }));
  } catch (error) {
    return `${(error as Error).message}\n\n${usage}`;
  }
  if (values.help) return "help";
  if (values.list) return "list";
  const unknown = values.only.find((name) => !workloads.includes(name));
  if (unknown !== undefined) return `There is no workload "${unknown}". There are: ${workloads.join(", ")}.`;
  const cpus = values.cpus.split(",");
  if (cpus.length !== 2 || !cpus.every((cpu) => /^\d+$/.test(cpu))) {
    return `--cpus is "${values.cpus}", expected two numbers, for example 0,1.`;
  }
  return {
    quick: values.quick,
    only: values.only,
    json: values.json,
    markdown: values.markdown,
    gate: values.gate,
    cpuProfile: values["cpu-prof"],
    nodeTools: values["node-tools"],
    noNginx: values["no-nginx"],
    dist: values.dist,
    cpus: [cpus[0]!, cpus[1]!],
  };
}
