// native/load.c in Node, for machines without a C compiler; the same arguments and answers.
import { readdirSync, readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import type { LoadResult, Percentiles } from "../load-run.ts";
import { MessageReader } from "./message-reader.ts";

const given = new Map(process.argv.slice(2).map((pair) => pair.split(/=(.*)/s, 2) as [string, string]));
const number = (name: string, otherwise: number): number => Number(given.get(name) ?? otherwise);
const port = number("port", 0);
const connectionCount = number("connections", 1);
const skipMs = number("skip", 0) * 1000;
const endMs = skipMs + number("seconds", 1) * 1000;
const rampMs = number("ramp", 0) * 1000;
const rate = number("rate", 0);
const hold = number("hold", 0) === 1;
const pids = (given.get("pids") ?? "").split(",").filter((pid) => pid !== "");
/** More than this many errors: the rest would be no different. */
const mostErrors = 1000;
/** Streams that open at once when they are held. */
const openingAtOnce = 32;

const body = readFileSync(given.get("body")!);
const request = Buffer.concat([
  Buffer.from(
    `POST ${given.get("path")} HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\nuser-agent: bench\r\naccept: */*\r\n` +
      `authorization: Bearer sk-bench-0123456789\r\ncontent-type: application/json\r\n` +
      `content-length: ${body.length}\r\n\r\n`,
  ),
  body,
]);

const beganMs = performance.now();
const connections: Connection[] = [];
const idle: Connection[] = [];
let counts = { requests: 0, errors: 0, unfinished: 0, events: 0, bodyBytes: 0 };
let firstByte: number[] = [];
let latency: number[] = [];
let eventDelay: number[] = [];
let markMs = 0;
let cpuAtMark = 0;
let opening = 0;
let started = 0;
let over = false;

class Connection {
  events = 0;
  #socket!: Socket;
  #startedMs = 0;
  #gotFirst = false;
  #sawDone = false;
  #isStream = false;
  #line = "";

  open(): void {
    const reader = new MessageReader({
      onHeader: (header) => {
        this.#isStream = /text\/event-stream/i.test(header);
        if (!header.startsWith("HTTP/1.1 200 ")) this.#fail(header);
      },
      onBody: (part) => this.#take(part),
      onEnd: () => this.#finish(),
    });
    const socket = connect({ host: "127.0.0.1", port, noDelay: true });
    this.#socket = socket;
    socket.on("data", (bytes) => {
      if (socket === this.#socket) reader.push(bytes);
    });
    socket.on("error", () => undefined);
    socket.on("close", () => {
      if (socket === this.#socket && !over) this.#fail("closed");
    });
  }

  start(): void {
    this.#gotFirst = this.#sawDone = false;
    this.#line = "";
    this.#startedMs = performance.now();
    this.#socket.write(request);
  }

  goOn(): void {
    if (rate > 0) idle.push(this);
    else this.start();
  }

  #take(part: Buffer): void {
    counts.bodyBytes += part.length;
    if (!this.#gotFirst) {
      this.#gotFirst = true;
      firstByte.push((performance.now() - this.#startedMs) * 1000);
      if (hold) opened();
    }
    if (!this.#isStream) return;
    const nowNs = process.hrtime.bigint();
    const lines = (this.#line + part.toString("latin1")).split("\n");
    this.#line = lines.pop()!;
    for (const line of lines) {
      if (!line.startsWith("data: ")) continue;
      if (line.startsWith("data: [DONE]")) {
        this.#sawDone = true;
        continue;
      }
      counts.events += 1;
      this.events += 1;
      const stamp = line.indexOf('"fp_');
      if (stamp >= 0)
        eventDelay.push(Number(nowNs - BigInt(`0x${line.slice(stamp + 4, stamp + 20)}`)) / 1000);
    }
  }

  #finish(): void {
    counts.requests += 1;
    if (this.#isStream && !this.#sawDone) counts.unfinished += 1;
    latency.push((performance.now() - this.#startedMs) * 1000);
    if (!hold && !over) this.goOn();
  }

  #fail(reason: string): void {
    counts.errors += 1;
    if (counts.errors <= 3) process.stderr.write(`load: ${reason}\n`);
    const socket = this.#socket;
    if (hold && !this.#gotFirst) opened();
    if (counts.errors > mostErrors) {
      finish();
    } else if (!hold) {
      this.open();
      this.goOn();
    }
    socket.destroy();
  }
}

function opened(): void {
  opening -= 1;
  openMore();
  if (opening === 0 && connections.length === connectionCount) {
    console.log(JSON.stringify({ ready: connectionCount - counts.errors }));
  }
}

function mayOpen(elapsedMs: number): boolean {
  if (connections.length >= connectionCount || (hold && opening >= openingAtOnce)) return false;
  return elapsedMs >= (rampMs * connections.length) / connectionCount;
}

function openMore(): void {
  const elapsedMs = performance.now() - beganMs;
  while (mayOpen(elapsedMs)) {
    const connection = new Connection();
    connections.push(connection);
    if (hold) opening += 1;
    connection.open();
    connection.goOn();
  }
}

function startDue(): void {
  const due = ((performance.now() - beganMs) / 1000) * rate;
  while (started < due && idle.length > 0) {
    started += 1;
    idle.pop()!.start();
  }
}

function mark(): void {
  counts = { requests: 0, errors: 0, unfinished: 0, events: 0, bodyBytes: 0 };
  firstByte = [];
  latency = [];
  eventDelay = [];
  for (const connection of connections) connection.events = 0;
  cpuAtMark = cpuNs();
  markMs = performance.now();
}

function cpuNs(): number {
  let total = 0;
  for (const pid of pids) {
    for (const task of readdirSync(`/proc/${pid}/task`)) {
      try {
        total += Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, "latin1").split(" ")[0]);
      } catch {
        // A thread that has just ended.
      }
    }
  }
  return total;
}

function percentiles(values: readonly number[]): Percentiles | null {
  if (values.length === 0) return null;
  const sorted = Float64Array.from(values).sort();
  const at = (share: number): number => Math.round(sorted[Math.floor(sorted.length * share)]! * 10) / 10;
  const max = Math.round(sorted[sorted.length - 1]! * 10) / 10;
  return { count: sorted.length, p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max };
}

function finish(): void {
  if (over) return;
  over = true;
  const seconds = (performance.now() - markMs) / 1000;
  const cpu = cpuNs() - cpuAtMark;
  const events = connections.map((connection) => connection.events);
  const result: LoadResult = {
    ...counts,
    seconds,
    cpuNs: cpu,
    fewestEvents: events.reduce((a, b) => Math.min(a, b), events[0] ?? 0),
    mostEvents: events.reduce((a, b) => Math.max(a, b), 0),
    firstByteUs: percentiles(firstByte),
    latencyUs: percentiles(latency),
    eventDelayUs: percentiles(eventDelay),
  };
  process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit());
}

process.stdin.on("end", finish).resume();
setTimeout(finish, endMs);
if (skipMs > 0) setTimeout(mark, skipMs);
else mark();
openMore();
if (rampMs > 0) setInterval(openMore, 2);
if (rate > 0) setInterval(startDue, 1);
