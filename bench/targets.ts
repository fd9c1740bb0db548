import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { get } from "node:http";
import { createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import type { Built } from "./build.ts";
import { Child } from "./child.ts";
import type { ServeLLMProxyOptions } from "./processes/serve-llm-proxy.ts";

/** Something that answers chat requests on a port, and whose cost is measured. */
export interface Target {
  readonly name: string;
  readonly port: number;
  readonly child: Child;
}

/** What the engines were asked since they started. */
export interface EngineCounters {
  readonly prefills: number;
  readonly decodes: number;
  /** Decode requests that carried prefill's handle. */
  readonly handedOver: number;
  /** Requests of targets that know no prefill. */
  readonly direct: number;
  readonly streamsCut: number;
}

interface EnginePorts {
  readonly prefillPort: number;
  readonly decodePort: number;
  readonly directPort: number;
}

/** One mock process that is every engine: prefill, decode, and one for those who go past prefill. */
export class Engines implements EnginePorts {
  readonly child: Child;
  readonly prefillPort: number;
  readonly decodePort: number;
  readonly directPort: number;

  private constructor(child: Child, { prefillPort, decodePort, directPort }: EnginePorts) {
    this.child = child;
    this.prefillPort = prefillPort;
    this.decodePort = decodePort;
    this.directPort = directPort;
  }

  /** @param lifetimeS seconds after which it ends by itself */
  static async start(built: Built, cpu: string, lifetimeS: number): Promise<Engines> {
    const child = new Child([...built.tool("engine"), String(lifetimeS)], { cpu });
    return new Engines(child, await child.nextJson());
  }

  counters(): Promise<EngineCounters> {
    return getJson(this.decodePort, "/counters");
  }
}

export function startEcho(built: Built, cpu: string): Promise<Target> {
  return startNode("echo", built, cpu, "echo-server", []);
}

export function startOneHop(built: Built, cpu: string, engines: Engines): Promise<Target> {
  return startNode("one-hop", built, cpu, "one-hop-proxy", [`http://127.0.0.1:${engines.directPort}`]);
}

/** The two calls of a disaggregated request and nothing else. */
export function startTwoHop(
  built: Built,
  cpu: string,
  { prefillPort, decodePort }: Engines,
): Promise<Target> {
  const urls = [prefillPort, decodePort].map((port) => `http://127.0.0.1:${port}`);
  return startNode("two-hop", built, cpu, "two-hop-proxy", urls);
}

/** @param replicas how many replicas each pool has; all of them are the one mock engine, under paths of its own */
export function startServeLLM(
  built: Built,
  cpu: string,
  engines: Engines,
  { door = "handler", replicas = 1 }: { door?: "handler" | "fetch"; replicas?: number } = {},
): Promise<Target> {
  const urls = (port: number): string[] =>
    Array.from({ length: replicas }, (_, index) =>
      replicas === 1 ? `http://127.0.0.1:${port}` : `http://127.0.0.1:${port}/replica-${index}`,
    );
  const options: ServeLLMProxyOptions = {
    library: built.library,
    door,
    prefill: urls(engines.prefillPort),
    decode: urls(engines.decodePort),
  };
  const name =
    (door === "fetch" ? "serve-llm (fetch)" : "serve-llm") + (replicas === 1 ? "" : ` x${replicas}`);
  return startNode(name, built, cpu, "serve-llm-proxy", [JSON.stringify(options)]);
}

/** Version of the installed nginx, or undefined. */
export function nginxVersion(): string | undefined {
  try {
    // It writes its version to stderr.
    const text = execFileSync("sh", ["-c", "nginx -v 2>&1"], { encoding: "utf8" });
    return /nginx\/(\S+)/.exec(text)?.[1];
  } catch {
    return undefined;
  }
}

/** One nginx process without buffering of answers, as one sets it up before vLLM. */
export async function startNginx(
  built: Built,
  cpu: string,
  engines: Engines,
  fileLimit: number,
): Promise<Target> {
  const port = await freePort();
  const prefix = join(built.directory, "nginx");
  mkdirSync(prefix, { recursive: true });
  const file = join(prefix, `nginx-${port}.conf`);
  writeFileSync(file, nginxConfig(port, engines.directPort, fileLimit));
  const child = new Child(["nginx", "-p", prefix, "-c", file, "-e", "stderr"], { cpu });
  // Other children end when their stdin closes. nginx does not look at it, so that somebody has to for it.
  const watchdog = new Child(["sh", "-c", `cat > /dev/null; kill -9 ${child.pid}`], { cpu });
  void child.exited.then(() => watchdog.kill());
  for (let attempt = 0; ; attempt += 1) {
    try {
      await getText(port, "/health");
      break;
    } catch (error) {
      if (attempt === 100) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
  return { name: "nginx", port, child };
}

function nginxConfig(port: number, enginePort: number, fileLimit: number): string {
  return `daemon off;
master_process off;
pid nginx-${port}.pid;
error_log stderr error;
worker_rlimit_nofile ${fileLimit};
# More than files: nginx closes connections when a sixteenth of them is left.
events { worker_connections ${fileLimit * 2}; }
http {
  access_log off;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  keepalive_requests 1000000000;
  keepalive_timeout 600s;
  client_max_body_size 64m;
  client_body_buffer_size 8m;
  upstream engine {
    server 127.0.0.1:${enginePort};
    keepalive 1024;
    keepalive_requests 1000000000;
  }
  server {
    listen 127.0.0.1:${port} backlog=4096;
    location / {
      proxy_pass http://engine;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_read_timeout 600s;
    }
  }
}
`;
}

async function startNode(
  name: string,
  built: Built,
  cpu: string,
  file: string,
  args: readonly string[],
): Promise<Target> {
  const command = [process.execPath, "--expose-gc", built.process(file), ...args];
  const child = new Child(command, { cpu, control: true });
  const { port } = await child.nextJson<{ readonly port: number }>(60_000);
  return { name, port, child };
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

async function getJson<Value>(port: number, path: string): Promise<Value> {
  return JSON.parse(await getText(port, path)) as Value;
}

function getText(port: number, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    get({ host: "127.0.0.1", port, path, agent: false }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => (text += chunk));
      response.on("end", () => resolve(text));
    }).on("error", reject);
  });
}
