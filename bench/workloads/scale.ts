import { type Bench, measurementsOf } from "../bench.ts";
import type { LoopDelay } from "../processes/control.ts";
import type { Measurement, WorkloadResult } from "../result.ts";
import { pairedRatios } from "../statistics.ts";
import { startServeLLM } from "../targets.ts";

/** 1,000 replicas in each pool: what a request costs, and what watching them costs. */
export async function pool(bench: Bench): Promise<WorkloadResult> {
  const { serveLLM } = await bench.targets();
  const replicas = 1000;
  const large = await startServeLLM(bench.built, bench.proxyCpu, bench.engines, { replicas });
  try {
    await bench.warmUp(large);
    const results = await bench.rounds(bench.pick(3, 1), [serveLLM, large], async (target) => {
      const options = { kind: { bytes: 1024 }, connections: 32, seconds: bench.pick(1, 0.6) };
      const { cpuNs, requests } = await bench.load(target, options);
      return cpuNs / 1000 / requests;
    });
    return {
      title: `${replicas} replicas in each pool`,
      measurements: measurementsOf("CPU per request, c=32", "us", results, (cpuUs) => cpuUs),
      ratios: [
        {
          key: "cpuPerRequestPool1000VsPool1",
          title: "CPU per request with 1,000 replicas in each pool, against one",
          unit: "x",
          values: pairedRatios(results.get(large)!, results.get(serveLLM)!),
        },
      ],
      notes: [
        "Health checks and load scrapes of 2,000 replicas are in it. Each replica has connections of its own, so that " +
          "more of them are opened and closed than with one.",
      ],
    };
  } finally {
    await large.child.stop();
  }
}

/** 100 MB of prompts a second, and what that does to the streams beside them. */
export async function throughput(bench: Bench): Promise<WorkloadResult> {
  const { serveLLM } = await bench.targets();
  const bytes = 512 * 1024;
  const wantedMb = 100;
  const seconds = bench.pick(3, 1);
  const results = await bench.rounds(bench.pick(2, 1), [serveLLM], async (target) => {
    await target.child.ask({ command: "watch-loop" });
    const rate = (wantedMb * 1e6) / bytes;
    const load = await bench.load(target, { kind: { bytes }, connections: 32, seconds, rate });
    return { load, delay: await target.child.ask<LoopDelay>({ command: "loop-delay" }) };
  });
  return {
    title: `${wantedMb} MB of prompts a second, 512 KB each`,
    measurements: [
      ...measurementsOf(
        "prompts taken",
        "MB/s",
        results,
        ({ load }) => (load.requests * bytes) / 1e6 / load.seconds,
      ),
      ...measurementsOf("CPU used", "%", results, ({ load }) => load.cpuNs / 1e7 / load.seconds),
      ...measurementsOf("latency p50", "ms", results, ({ load }) => load.latencyUs!.p50 / 1000),
      ...measurementsOf("latency p99", "ms", results, ({ load }) => load.latencyUs!.p99 / 1000),
      ...measurementsOf("event-loop delay p99", "ms", results, ({ delay }) => delay.p99),
    ],
    ratios: [],
    notes: ["Each prompt goes to prefill and to decode: the proxy writes twice what it takes."],
  };
}

/** 10,000 slow streams at once: delay of each token, fairness between streams, and the event loop. */
export async function slowStreams(bench: Bench): Promise<WorkloadResult> {
  const { built, proxyCpu, engines, fileLimit } = bench;
  const streams = Math.min(bench.pick(10_000, 2000), Math.floor((fileLimit - 300) / 2));
  const everyS = 2;
  const kind = { bytes: 1024, stream: { events: 1000, delayUs: everyS * 1e6 } };
  const target = await startServeLLM(built, proxyCpu, engines);
  try {
    await bench.warmUp(target, 0.5);
    const ramp = streams / bench.pick(1000, 800);
    const seconds = bench.pick(6, 4);
    await target.child.ask({ command: "watch-loop" });
    const load = await bench.load(target, { kind, connections: streams, ramp, skip: ramp + 2, seconds });
    const delay = await target.child.ask<LoopDelay>({ command: "loop-delay" });
    const event = load.eventDelayUs!;
    const row = (what: string, unit: string, value: number): Measurement => ({
      what,
      variant: target.name,
      unit,
      values: [value],
    });
    return {
      title: `${streams} streams at once, a token every ${everyS} s`,
      measurements: [
        row("CPU used", "%", load.cpuNs / 1e7 / load.seconds),
        row("CPU per event", "us", load.cpuNs / 1000 / load.events),
        row("from engine to client, p50", "us", event.p50),
        row("from engine to client, p99", "us", event.p99),
        row("from engine to client, max", "us", event.max),
        row("events of the stream with the fewest", "", load.fewestEvents),
        row("events of the stream with the most", "", load.mostEvents),
        row("event-loop delay p99", "ms", delay.p99),
      ],
      ratios: [],
      notes: ["The event loop's delay includes the opening of all streams."],
    };
  } finally {
    await target.child.stop();
  }
}
