import { connect } from "node:net";
import type { Clock } from "../internal/clock.ts";
import type { EngineQuestions } from "./engine-questions.ts";
import type { FindingList, FindingSubject } from "./finding.ts";
import type { HandleFacts } from "./probe-handle.ts";

const loopbackName = /^(localhost|127(\.\d+){3}|\[?::1\]?|\[?::ffff:127(\.\d+){3}\]?)$/i;
/** "Every address": fine to listen on, no place to go to. */
const anyAddress = /^(0\.0\.0\.0|\[?::\]?)$/;

/** True for a host that means "this machine" to whoever reads it. */
export function isLoopback(host: string): boolean {
  return loopbackName.test(host) || anyAddress.test(host);
}

/** Checks that decode engines on other machines can find the host that prefill's handles name. */
export function judgeSideChannelHost(
  { engine, host }: HandleFacts,
  decodes: readonly EngineQuestions[],
  findings: FindingList,
): void {
  if (host === undefined) return;
  const about: FindingSubject = { side: engine.side, engines: [engine.url] };
  const own = new URL(engine.url).hostname;
  const elsewhere = decodes.filter(({ url }) => {
    const { hostname } = new URL(url);
    return hostname !== own && !(isLoopback(hostname) && isLoopback(own));
  });
  const advice =
    "Set VLLM_NIXL_SIDE_CHANNEL_HOST on prefill to an address that decode engines can reach, such as the pod's IP.";
  if (isLoopback(host) && elsewhere.length > 0) {
    const [first] = elsewhere;
    findings.problem(
      "side-channel-host",
      about,
      `Tells decode to fetch KV from ${host}, but decode runs elsewhere (${first!.url}): each would ask itself.`,
      advice,
    );
  } else if (isLoopback(host) && !isLoopback(own)) {
    findings.warning(
      "side-channel-host",
      about,
      `Tells decode to fetch KV from ${host}, which works only while both run on ${own} without containers in between.`,
      advice,
    );
  } else findings.ok("side-channel-host", about, `Tells decode to fetch KV from ${host}.`);
}

/** Tries the port that decode will fetch KV from, as far as that can be told from here. */
export async function judgeSideChannelPort(
  { engine, host, port }: HandleFacts,
  options: { readonly clock: Clock; readonly timeoutMs: number },
  findings: FindingList,
): Promise<void> {
  if (host === undefined || port === undefined) return;
  // From here a loopback name would mean this machine, not the engine's.
  const target = isLoopback(host) ? new URL(engine.url).hostname.replaceAll(/[[\]]/g, "") : host;
  const about: FindingSubject = { side: engine.side, engines: [engine.url] };
  const problem = await tryConnect(target, port, options);
  if (problem === undefined) {
    findings.ok("side-channel-port", about, `The side channel listens on ${target}:${port}.`);
    return;
  }
  findings.warning(
    "side-channel-port",
    about,
    `The side channel at ${target}:${port} can't be reached from here: ${problem}.`,
    "Only decode engines have to reach it. If they can't either, open the port (VLLM_NIXL_SIDE_CHANNEL_PORT, 5600 by default, plus the rank).",
  );
}

/** @returns what went wrong, or undefined */
function tryConnect(
  host: string,
  port: number,
  { clock, timeoutMs }: { readonly clock: Clock; readonly timeoutMs: number },
): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const settle = (problem: string | undefined): void => {
      timer.cancel();
      socket.destroy();
      resolve(problem);
    };
    const timer = clock.setTimer(() => settle(`no connection within ${timeoutMs} ms`), timeoutMs, {
      keepAlive: true,
    });
    socket.once("connect", () => settle(undefined));
    socket.once("error", (error: NodeJS.ErrnoException) => settle(error.code ?? error.message));
  });
}

/** One engine behind two URLs: what looks like two is loaded twice, and fails once. */
export function judgeDuplicateEngines(handles: readonly HandleFacts[], findings: FindingList): void {
  const byId = new Map<string, string[]>();
  for (const { engineId, engine } of handles) {
    if (engineId === undefined) continue;
    const urls = byId.get(engineId);
    if (urls === undefined) byId.set(engineId, [engine.url]);
    else urls.push(engine.url);
  }
  for (const [engineId, urls] of byId) {
    if (urls.length < 2) continue;
    findings.warning(
      "duplicate-engine",
      { side: "prefill", engines: urls },
      `These URLs lead to one and the same engine (${engineId}).`,
      "Name each engine once. If they are two engines with the same engine_id set by hand, give each its own: decode tells them apart by it.",
    );
  }
}

/** Checks that a URL still leads to the engine it led to at the start. */
export function judgeEngineId(first: HandleFacts, again: HandleFacts, findings: FindingList): void {
  const about: FindingSubject = { side: first.engine.side, engines: [first.engine.url] };
  if (first.engineId === undefined || again.engineId === undefined) return;
  if (first.engineId === again.engineId) {
    findings.ok("engine-id", about, "Is the same engine at each call.");
    return;
  }
  findings.problem(
    "engine-id",
    about,
    `Was engine ${first.engineId} at first and ${again.engineId} later.`,
    "Either it restarted while it was examined (read its log), or the URL is a load balancer: name each engine behind it instead.",
  );
}
