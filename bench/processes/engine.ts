// native/engine.c in Node, for machines without a C compiler. Slower than what it serves: read figures with care.
import { type AddressInfo, createServer, type Socket } from "node:net";
import { MessageReader } from "./message-reader.ts";

type Role = "prefill" | "decode" | "direct";

const edgeBytes = 1024;
const id = "chatcmpl-0123456789abcdef0123456789abcdef";
const counters = { prefills: 0, decodes: 0, handedOver: 0, direct: 0, streamsCut: 0 };

const usage = { prompt_tokens: 250, completion_tokens: 64, total_tokens: 314 };
const common = { id, object: "chat.completion", created: 1_700_000_000, model: "bench-model" };
const prefillAnswer = answer("application/json", {
  ...common,
  choices: [{ index: 0, message: { role: "assistant", content: "A" }, finish_reason: "length" }],
  usage,
  kv_transfer_params: {
    do_remote_prefill: true,
    do_remote_decode: false,
    remote_block_ids: [[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]],
    remote_engine_id: "a1b2c3d4-e5f6-7890-abcd-ef0123456789",
    remote_request_id: id,
    remote_host: "127.0.0.1",
    remote_port: 5600,
    tp_size: 1,
    remote_num_tokens: 250,
  },
});
const decodeAnswer = answer("application/json", {
  ...common,
  choices: [
    {
      index: 0,
      message: { role: "assistant", content: "wonderful ".repeat(28) },
      logprobs: null,
      finish_reason: "stop",
    },
  ],
  usage,
});
const gauges = ["num_requests_running", "num_requests_waiting", "kv_cache_usage_perc"]
  .map((name) => `# TYPE vllm:${name} gauge\nvllm:${name}{engine="0",model_name="bench-model"} 0.0\n`)
  .join("");
const pages: Readonly<Record<string, () => string>> = {
  health: () => answer("text/plain", ""),
  version: () => answer("application/json", { version: "0.14.0" }),
  models: () =>
    answer("application/json", {
      object: "list",
      data: [
        { id: "bench-model", object: "model", created: 1_700_000_000, owned_by: "vllm", root: "bench-model" },
      ],
    }),
  metrics: () => answer("text/plain; version=0.0.4; charset=utf-8", gauges),
  counters: () => answer("application/json", counters),
};

const streamHeader =
  "HTTP/1.1 200 OK\r\nserver: uvicorn\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n";
const streamEnd = `${chunk("data: [DONE]\n\n")}0\r\n\r\n`;

function answer(type: string, body: unknown): string {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return `HTTP/1.1 200 OK\r\ncontent-type: ${type}\r\ncontent-length: ${Buffer.byteLength(text)}\r\n\r\n${text}`;
}

function chunk(text: string): string {
  return `${text.length.toString(16)}\r\n${text}\r\n`;
}

function event(delta: string, finishReason: string): string {
  const madeNs = process.hrtime.bigint().toString(16).padStart(16, "0");
  return chunk(
    `data: {"id":"${id}","object":"chat.completion.chunk","created":1700000000,"model":"bench-model",` +
      `"system_fingerprint":"fp_${madeNs}","choices":[{"index":0,"delta":{${delta}},"logprobs":null,` +
      `"finish_reason":${finishReason}}]}\n\n`,
  );
}

function content(isLast: boolean): string {
  return event('"content":" wonderful"', isLast ? '"length"' : "null");
}

function stream(socket: Socket, head: string): void {
  const events = Number(/events=(\d+)/.exec(head)?.[1] ?? 64);
  const delayUs = Number(/delay=(-?\d+)/.exec(head)?.[1] ?? 0);
  const first = streamHeader + event('"role":"assistant","content":""', "null") + content(events === 1);
  let left = events - 1;
  if (delayUs < 0) {
    let all = first;
    for (; left > 0; left -= 1) all += content(left === 1);
    socket.write(all + streamEnd);
    return;
  }
  socket.write(first);
  if (delayUs === 0) {
    for (; left > 0; left -= 1) socket.write(content(left === 1));
    socket.write(streamEnd);
    return;
  }
  // Due times, so that a late timer does not slow the stream down.
  let due = performance.now();
  const next = (): void => {
    due += delayUs / 1000;
    timer = setTimeout(send, due - performance.now());
  };
  const onClose = (): void => {
    counters.streamsCut += 1;
    clearTimeout(timer);
  };
  const send = (): void => {
    left -= 1;
    socket.write(content(left === 0));
    if (left > 0) {
      next();
      return;
    }
    socket.off("close", onClose);
    socket.write(streamEnd);
  };
  let timer: NodeJS.Timeout | undefined;
  socket.once("close", onClose);
  next();
}

function serve(role: Role, socket: Socket): void {
  let header = "";
  let head = "";
  let tail = "";
  socket.setNoDelay(true);
  socket.on("error", () => socket.destroy());
  const reader = new MessageReader({
    onHeader: (text) => {
      header = text;
      head = tail = "";
    },
    onBody: (part) => {
      if (head.length < edgeBytes) head += part.toString("latin1", 0, edgeBytes - head.length);
      tail = (tail + part.toString("latin1", Math.max(0, part.length - edgeBytes))).slice(-edgeBytes);
    },
    onEnd: () => {
      if (header.startsWith("GET ")) {
        const name = /^GET \S*\/([a-z]+) /.exec(header)?.[1] ?? "";
        socket.write(pages[name]?.() ?? "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n");
      } else if (role === "prefill") {
        counters.prefills += 1;
        socket.write(prefillAnswer);
      } else {
        if (role === "decode") counters.decodes += 1;
        else counters.direct += 1;
        if (tail.includes('"do_remote_prefill":true')) counters.handedOver += 1;
        if (head.includes('"stream":true')) stream(socket, head);
        else socket.write(decodeAnswer);
      }
    },
  });
  socket.on("data", (bytes) => reader.push(bytes));
}

function listen(role: Role): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer((socket) => serve(role, socket));
    server.listen(0, "127.0.0.1", 4096, () => resolve((server.address() as AddressInfo).port));
  });
}

process.stdin.on("end", () => process.exit()).resume();
setTimeout(() => process.exit(), Number(process.argv[2] ?? 60) * 1000);
console.log(
  JSON.stringify({
    prefillPort: await listen("prefill"),
    decodePort: await listen("decode"),
    directPort: await listen("direct"),
  }),
);
