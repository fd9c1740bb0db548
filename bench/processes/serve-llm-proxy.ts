// serve-llm as its users run it: the built package in a plain Node process, everything it does switched on.
import { subscribe } from "node:diagnostics_channel";
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import { pathToFileURL } from "node:url";
import type * as ServeLLM from "../../src/index.ts";
import { serveControl } from "./control.ts";

/** First argument of the process, as JSON. */
export interface ServeLLMProxyOptions {
  /** The built `dist/index.js`. */
  readonly library: string;
  readonly door: "handler" | "fetch";
  readonly prefill: readonly string[];
  readonly decode: readonly string[];
}

const options = JSON.parse(process.argv[2]!) as ServeLLMProxyOptions;
const { buildPdOpenaiApp } = (await import(pathToFileURL(options.library).href)) as typeof ServeLLM;

// What a metrics exporter does: it makes the library write the trace of every request and publish it.
const outcomes = new Map<string, number>();
subscribe("serve-llm:request", (message) => {
  const outcome = (message as { readonly outcome?: string }).outcome ?? "";
  outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
});

const config: ServeLLM.LLMConfigInit = {
  modelLoadingConfig: { modelId: "bench-model" },
  engineKwargs: { kv_transfer_config: { kv_connector: "NixlConnector", kv_role: "kv_both" } },
};
const app = buildPdOpenaiApp({
  prefillConfig: { ...config, endpoints: [...options.prefill] },
  decodeConfig: { ...config, endpoints: [...options.decode] },
});

const server = createServer(options.door === "handler" ? app.handler : fetchListener(app));
server.requestTimeout = 0;
server.keepAliveTimeout = 0;
await app.start();
server.listen(0, "127.0.0.1", 4096, () => serveControl((server.address() as AddressInfo).port));

/** The shortest bridge from node:http to a fetch handler; frameworks' own do the same, and more. */
function fetchListener({ fetch }: ServeLLM.Application): RequestListener {
  const bridge = async (incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> => {
    const controller = new AbortController();
    outgoing.on("close", () => controller.abort());
    const request = new Request(`http://${incoming.headers.host}${incoming.url}`, {
      method: incoming.method!,
      headers: incoming.headers as Record<string, string>,
      body: Readable.toWeb(incoming) as ReadableStream<Uint8Array>,
      duplex: "half",
      signal: controller.signal,
    });
    const response = await fetch(request);
    outgoing.writeHead(response.status, Object.fromEntries(response.headers));
    for await (const chunk of response.body ?? []) {
      if (outgoing.destroyed) return;
      if (!outgoing.write(chunk)) {
        await new Promise<void>((resolve) => {
          outgoing.once("drain", resolve).once("close", resolve);
        });
      }
    }
    outgoing.end();
  };
  return (incoming, outgoing) => void bridge(incoming, outgoing).catch(() => outgoing.destroy());
}
