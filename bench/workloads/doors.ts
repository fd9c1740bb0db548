import { type Bench, measurementsOf } from "../bench.ts";
import type { WorkloadResult } from "../result.ts";
import { pairedRatios } from "../statistics.ts";
import { startServeLLM } from "../targets.ts";

/** What `app.fetch` costs beside `app.handler`. */
export async function doors(bench: Bench): Promise<WorkloadResult> {
  const { serveLLM } = await bench.targets();
  const fetchDoor = await startServeLLM(bench.built, bench.proxyCpu, bench.engines, { door: "fetch" });
  try {
    await bench.warmUp(fetchDoor, 0.5);
    const load = { connections: 32, seconds: bench.pick(0.8, 0.5) };
    const whole = await bench.rounds(bench.pick(2, 1), [serveLLM, fetchDoor], async (target) => {
      const { cpuNs, requests } = await bench.load(target, { ...load, kind: { bytes: 1024 } });
      return cpuNs / 1000 / requests;
    });
    const stream = { events: 1000, delayUs: 20_000 };
    const paced = await bench.rounds(bench.pick(2, 1), [serveLLM, fetchDoor], async (target) => {
      const options = { connections: 200, ramp: 0.4, skip: 0.7, seconds: bench.pick(1, 0.5) };
      const { cpuNs, events } = await bench.load(target, { ...options, kind: { bytes: 1024, stream } });
      return cpuNs / 1000 / events;
    });
    return {
      title: "The fetch door",
      measurements: [
        ...measurementsOf("CPU per request, c=32", "us", whole, (cpuUs) => cpuUs),
        ...measurementsOf("CPU per event, 200 streams", "us", paced, (cpuUs) => cpuUs),
      ],
      ratios: [
        {
          key: "fetchDoorCpuPerRequestVsHandler",
          title: "CPU per request through app.fetch, against app.handler",
          unit: "x",
          values: pairedRatios(whole.get(fetchDoor)!, whole.get(serveLLM)!),
        },
        {
          key: "fetchDoorCpuPerEventVsHandler",
          title: "CPU per SSE event through app.fetch, against app.handler",
          unit: "x",
          values: pairedRatios(paced.get(fetchDoor)!, paced.get(serveLLM)!),
        },
      ],
      notes: [
        "The bridge from node:http to Request and Response is in it; servers built on fetch have one, too.",
      ],
    };
  } finally {
    await fetchDoor.child.stop();
  }
}
