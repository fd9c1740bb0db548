import { toCamelCase } from "../config/casing.ts";
import type { EndpointsInit } from "../config/endpoint.ts";
import { LLMConfig } from "../config/llm-config.ts";
import { parseYaml, readConfigFile } from "../config/read-yaml.ts";
import { ConfigurationError } from "../errors/configuration-error.ts";

/** Where the engines of a config file are, when the file itself does not say. They win over what the file says. */
export interface EngineSources {
  /** Prefill engines of the file's prefill/decode application. */
  readonly prefill?: EndpointsInit | undefined;
  /** Decode engines of the file's prefill/decode application. */
  readonly decode?: EndpointsInit | undefined;
  /** Engines of models that are not split: of the only one, or by model id. */
  readonly endpoints?: EndpointsInit | Readonly<Record<string, EndpointsInit>> | undefined;
  /** API key for every engine that has none of its own in the file. */
  readonly apiKey?: string | undefined;
}

type Role = "prefill" | "decode" | "model";

const roleByField: Readonly<Record<string, Role>> = {
  prefillConfig: "prefill",
  decodeConfig: "decode",
  llmConfigs: "model",
  llmConfig: "model",
};

/** Puts endpoints, an API key and a time limit into the arguments of builders, and sees that each is used once. */
export class BuilderArguments {
  readonly #sources: EngineSources;
  readonly #requestTimeoutS: number | null;
  readonly #used = new Map<string, number>();

  /** @param requestTimeoutS Ray's `http_options.request_timeout_s`: seconds for a whole request, null for no limit */
  constructor(sources: EngineSources, requestTimeoutS: number | null) {
    this.#sources = sources;
    this.#requestTimeoutS = requestTimeoutS;
  }

  /** The arguments of one application; the given ones stay as they are. */
  prepare(args: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
    return Object.fromEntries(
      Object.entries(args).map(([key, value]) => {
        const role = roleByField[toCamelCase(key)];
        if (role === undefined) return [key, value];
        return [
          key,
          Array.isArray(value) ? value.map((each) => this.#edit(each, role)) : this.#edit(value, role),
        ];
      }),
    );
  }

  /** @throws ConfigurationError when endpoints were given that no application, or more than one, would use */
  refuseUnused(): void {
    const { prefill, decode, endpoints } = this.#sources;
    const given = [
      ...(prefill === undefined ? [] : ["prefill"]),
      ...(decode === undefined ? [] : ["decode"]),
      ...(endpoints === undefined ? [] : isEndpoints(endpoints) ? ["endpoints"] : Object.keys(endpoints)),
    ];
    const problems = given.flatMap((name) => {
      const uses = this.#used.get(name) ?? 0;
      if (uses === 1) return [];
      const message =
        uses === 0
          ? "Endpoints were given that no application of the config uses"
          : `${uses} applications or models of the config would use these endpoints; write endpoints into their LLM configs instead`;
      return [{ path: [name], message, type: "value_error" }];
    });
    if (problems.length > 0) throw new ConfigurationError("The engines of the Serve config", problems);
  }

  #edit(config: unknown, role: Role): unknown {
    // A path is read here, since nothing can be put into it.
    const read = typeof config === "string" ? parseYaml(readConfigFile(config), config) : config;
    if (typeof read !== "object" || read === null) return read;
    const own = read as Readonly<Record<string, unknown>>;
    const endpoints = this.#endpointsOf(own, role);
    const client = this.#clientOf(own);
    const changes = {
      ...(endpoints === undefined ? {} : { endpoints }),
      ...(client === undefined ? {} : { client }),
    };
    return read instanceof LLMConfig ? read.with(changes) : { ...own, ...changes };
  }

  #endpointsOf(config: Readonly<Record<string, unknown>>, role: Role): EndpointsInit | undefined {
    const { endpoints } = this.#sources;
    if (role !== "model") return this.#use(role, this.#sources[role]);
    if (endpoints === undefined || isEndpoints(endpoints)) return this.#use("endpoints", endpoints);
    const id = modelIdOf(config);
    return id === undefined || !Object.hasOwn(endpoints, id) ? undefined : this.#use(id, endpoints[id]);
  }

  #use(name: string, endpoints: EndpointsInit | undefined): EndpointsInit | undefined {
    this.#used.set(name, (this.#used.get(name) ?? 0) + 1);
    return endpoints;
  }

  #clientOf(config: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> | undefined {
    const { apiKey } = this.#sources;
    const own = config["client"];
    if (apiKey === undefined && this.#requestTimeoutS === null) return undefined;
    if (own !== undefined && (typeof own !== "object" || own === null)) return undefined;
    const given = (own ?? {}) as Readonly<Record<string, unknown>>;
    const names = new Set(Object.keys(given).map(toCamelCase));
    return {
      ...given,
      ...(apiKey === undefined || names.has("apiKey") ? {} : { apiKey }),
      ...(this.#requestTimeoutS === null || names.has("totalTimeoutMs")
        ? {}
        : { totalTimeoutMs: this.#requestTimeoutS * 1000 }),
    };
  }
}

function isEndpoints(value: EndpointsInit | Readonly<Record<string, EndpointsInit>>): value is EndpointsInit {
  return typeof value === "function" || Array.isArray(value);
}

function modelIdOf(config: Readonly<Record<string, unknown>>): string | undefined {
  const loading = (config["modelLoadingConfig"] ?? config["model_loading_config"]) as
    | Readonly<Record<string, unknown>>
    | undefined;
  const id = loading?.["modelId"] ?? loading?.["model_id"];
  return typeof id === "string" ? id : undefined;
}
