import { EngineConnectionError } from "../errors/engine-connection-error.ts";
import { EngineTimeoutError } from "../errors/engine-timeout-error.ts";
import type { CheckName } from "./finding.ts";

/** Why an engine could not be asked, in a person's words. */
export interface NetworkFailure {
  readonly check: Extract<
    CheckName,
    "dns" | "connection-refused" | "connect-timeout" | "tls" | "no-answer" | "connection-broken"
  >;
  readonly seen: string;
  readonly advice: string;
}

const certificateCodes = new Set([
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "EPROTO",
]);

/** Reads the error of a call to an engine. @param url the engine's base URL */
export function networkFailure(error: unknown, url: string): NetworkFailure {
  const { hostname, port, protocol } = new URL(url);
  if (error instanceof EngineTimeoutError) {
    return error.phase === "connect" ? noConnection(error.limitMs) : noAnswer(error.limitMs);
  }
  const cause = error instanceof EngineConnectionError ? error.cause : error;
  const code = codeOf(cause);
  const reason = cause instanceof Error && cause.message !== "" ? cause.message : (code ?? String(cause));
  if (code === "ENOTFOUND" || code === "EAI_AGAIN" || code === "EAI_NONAME") {
    return {
      check: "dns",
      seen: `The name ${hostname} does not resolve (${code}).`,
      advice:
        "Check the spelling and, in Kubernetes, the namespace of the service; names of pods resolve only with a headless service.",
    };
  }
  if (code === "ECONNREFUSED") {
    return {
      check: "connection-refused",
      seen: `Nobody listens on ${hostname}:${port === "" ? defaultPort(protocol) : port}.`,
      advice:
        "vLLM opens its port only when the model is loaded: wait, or read its log. Check the port, and that it listens on 0.0.0.0 (--host).",
    };
  }
  if (code === "EHOSTUNREACH" || code === "ENETUNREACH" || code === "ETIMEDOUT") {
    return {
      check: "connect-timeout",
      seen: `There is no route to ${hostname} (${code}).`,
      advice: "Check network policies, security groups and that this machine is in the engines' network.",
    };
  }
  if (code !== undefined && (certificateCodes.has(code) || /^(ERR_TLS|ERR_SSL|CERT_)/.test(code))) {
    return {
      check: "tls",
      seen: `TLS with ${hostname} fails: ${reason.split("\n")[0]?.trim() ?? code} (${code}).`,
      advice: /WRONG_VERSION|EPROTO/.test(`${code} ${reason}`)
        ? "The port does not speak TLS: use http://, or start vLLM with --ssl-certfile and --ssl-keyfile."
        : "Name the authority that signed the engine's certificate (client.tls.ca), or the name in it (client.tls.servername).",
    };
  }
  const notHttp = code?.startsWith("HPE_") === true;
  return {
    check: "connection-broken",
    seen: notHttp
      ? `What listens on ${hostname} does not answer with HTTP (${code}).`
      : `The connection broke before an answer came: ${reason}${code === undefined || reason.includes(code) ? "" : ` (${code})`}.`,
    advice:
      protocol === "http:"
        ? "Check that the port is vLLM's HTTP port and does not want https://; a proxy in between may cut connections."
        : "Check that the port is vLLM's HTTP port; a proxy in between may cut connections.",
  };
}

function noConnection(limitMs: number): NetworkFailure {
  return {
    check: "connect-timeout",
    seen: `No connection within ${limitMs} ms.`,
    advice:
      "Packets are dropped: check firewalls, network policies and security groups between here and the engine.",
  };
}

function noAnswer(limitMs: number): NetworkFailure {
  return {
    check: "no-answer",
    seen: `It takes connections but did not answer within ${limitMs} ms.`,
    advice:
      "The engine's process hangs or is overloaded: look at its log and at the GPU, and restart it if it does not recover.",
  };
}

function defaultPort(protocol: string): string {
  return protocol === "https:" ? "443" : "80";
}

function codeOf(cause: unknown): string | undefined {
  if (!(cause instanceof Error)) return undefined;
  const { code } = cause as { readonly code?: unknown };
  if (typeof code === "string") return code;
  // Several addresses were tried.
  if (cause instanceof AggregateError) return codeOf(cause.errors[0]);
  return cause.cause === undefined ? undefined : codeOf(cause.cause);
}
