import type { LLMConfig } from "../config/llm-config.ts";
import { adapterFolder, type AdapterMetadata } from "../config/model-card.ts";
import { describeValue } from "../config/describe-value.ts";
import { baseModelId, modelIdFromPath } from "../config/model-id.ts";
import { ConfigurationError } from "../errors/configuration-error.ts";
import { RequestError } from "../errors/request-error.ts";
import { isModelServer, type LLMServerProtocol } from "../llm/llm-server-protocol.ts";
import type { ListLoraAdapters } from "../llm/lora-listing.ts";
import { servedModelCard, type ServedModelCard } from "../llm/model-card.ts";
import type { DeploymentContext } from "../serve/deployment-context.ts";

/** Models to serve: deployments, or deployments by model id. */
export type ServedModels = readonly LLMServerProtocol[] | Readonly<Record<string, LLMServerProtocol>>;

/** How long a list of adapters is believed. Ray: 30 s for what was missing, 300 s for the rest. */
const adaptersFreshMs = 30_000;
const longestShownName = 200;

interface AdapterList {
  readonly sinceMs: number;
  readonly adapters: Promise<readonly AdapterMetadata[]>;
}

/** The models of an ingress: which deployment serves a name, and the cards that tell of them. */
export class ModelCatalog {
  readonly #servers: ReadonlyMap<string, LLMServerProtocol>;
  readonly #cards: ReadonlyMap<string, ServedModelCard>;
  readonly #context: Pick<DeploymentContext, "clock" | "warn">;
  readonly #listAdapters: ListLoraAdapters | undefined;
  readonly #createdS: number;
  readonly #adapters = new Map<string, AdapterList>();

  /** @throws ConfigurationError when there is no model, or two have one id */
  constructor(
    models: ServedModels,
    listAdapters: ListLoraAdapters | undefined,
    context: Pick<DeploymentContext, "clock" | "warn">,
  ) {
    this.#servers = serversById(models);
    this.#listAdapters = listAdapters;
    this.#context = context;
    this.#createdS = Math.floor(context.clock.wallNow() / 1000);
    this.#cards = new Map(
      [...this.#servers].map(([id, { llmConfig }]) => [id, servedModelCard(id, llmConfig, this.#createdS)]),
    );
  }

  get servers(): readonly LLMServerProtocol[] {
    return [...this.#servers.values()];
  }

  /**
   * The deployment of a model; without a name that of the only model.
   *
   * @param name a model id, or `model:adapter`
   * @throws RequestError 404 for an unknown model, 400 when none was named and there are several
   */
  serverFor(name: string | undefined): LLMServerProtocol {
    if (name === undefined) return this.#onlyServer();
    const server = this.#servers.get(name);
    if (server !== undefined) return server;
    const base = baseModelId(name);
    const ofBase = this.#servers.get(base);
    if (ofBase !== undefined) return ofBase;
    throw notFound(`Got request for model ${shown(name)}. Could not find base model with ID ${shown(base)}.`);
  }

  /** Cards of all models, each followed by those of its adapters. */
  async list(): Promise<readonly ServedModelCard[]> {
    const cards = await Promise.all([...this.#cards.keys()].map((id) => this.#cardsOf(id)));
    return cards.flat();
  }

  /**
   * The card of one model or adapter.
   *
   * @param id Ray reads `--` in it as `/`, for clients that can't send a slash within a path; an id that really has
   *   `--` is found as well
   * @throws RequestError 404
   */
  async card(id: string): Promise<ServedModelCard> {
    const readAsSlash = modelIdFromPath(id);
    for (const candidate of new Set([id, readAsSlash])) {
      const own = this.#cards.get(candidate);
      if (own !== undefined) return own;
      const cards = this.#cards.has(baseModelId(candidate))
        ? await this.#cardsOf(baseModelId(candidate))
        : [];
      const found = cards.find((card) => card.id === candidate);
      if (found !== undefined) return found;
    }
    const name = readAsSlash.slice(0, longestShownName);
    throw notFound(`Unable to find ${name}. Please ensure that the model exists and you have permission.`);
  }

  #onlyServer(): LLMServerProtocol {
    const names = [...this.#servers.keys()];
    if (names.length === 1) return this.#servers.get(names[0]!)!;
    const available = names.map((name) => `'${name}'`).join(", ");
    throw new RequestError(
      `Model parameter is required when multiple models are configured. Available models: [${available}]`,
      { param: "model", code: "missing_field" },
    );
  }

  async #cardsOf(id: string): Promise<readonly ServedModelCard[]> {
    const base = this.#cards.get(id)!;
    const adapters = await this.#adaptersOf(id);
    const server = this.#servers.get(id)!;
    const { llmConfig } = server;
    const listed = new Set(adapters.map((adapter) => adapter.model_id));
    const known = (server.adapterIds?.() ?? []).filter((adapterId) => !listed.has(adapterId));
    return [
      base,
      ...adapters.map((adapter) => servedModelCard(adapter.model_id, llmConfig, this.#createdS, adapter)),
      ...known.map((adapterId) =>
        servedModelCard(adapterId, llmConfig, this.#createdS, knownAdapter(adapterId, llmConfig)),
      ),
    ];
  }

  /** One listing at a time and for a while; models stay visible while it fails. */
  #adaptersOf(id: string): Promise<readonly AdapterMetadata[]> {
    const { llmConfig } = this.#servers.get(id)!;
    const list = this.#listAdapters;
    if (list === undefined || llmConfig.loraConfig === undefined) return Promise.resolve([]);
    const now = this.#context.clock.now();
    const known = this.#adapters.get(id);
    if (known !== undefined && now - known.sinceMs < adaptersFreshMs) return known.adapters;
    const adapters = list(llmConfig).catch((error: unknown) => {
      this.#context.warn(`The LoRA adapters of "${id}" could not be listed: ${String(error)}`);
      return [];
    });
    this.#adapters.set(id, { sinceMs: now, adapters });
    return adapters;
  }
}

/** What is known of an adapter that an engine has and nobody listed. */
function knownAdapter(adapterId: string, { modelId, loraConfig }: LLMConfig): AdapterMetadata {
  const folder = loraConfig?.dynamicLoraLoadingPath;
  return {
    model_id: adapterId,
    base_model_id: modelId,
    max_request_context_length: null,
    bucket_uri: folder === undefined ? "" : adapterFolder(folder, adapterId),
  };
}

function shown(name: string): string {
  return JSON.stringify(name.slice(0, longestShownName));
}

function notFound(message: string): RequestError {
  return new RequestError(message, { status: 404, code: "model_not_found", param: "model" });
}

function serversById(models: ServedModels): ReadonlyMap<string, LLMServerProtocol> {
  if (typeof models !== "object" || models === null || isModelServer(models)) {
    throw invalid("Should be a list of deployments that serve models, or deployments by model id.");
  }
  const strange = Object.entries(models).filter(([, server]) => !isModelServer(server));
  if (strange.length > 0) {
    throw new ConfigurationError(
      "OpenAiIngress",
      strange.map(([key, server]) => ({
        path: ["llmDeployments", Array.isArray(models) ? Number(key) : key],
        type: "value_error",
        message: "It serves no model",
        expected: "what PDProxyServer, LLMServer or DPServer are bound to",
        received: describeValue(server, ["llmDeployments", key]),
      })),
    );
  }
  const entries = Array.isArray(models)
    ? (models as readonly LLMServerProtocol[]).map((server) => [server.llmConfig.modelId, server] as const)
    : Object.entries(models as Readonly<Record<string, LLMServerProtocol>>);
  const servers = new Map(entries);
  if (servers.size !== entries.length)
    throw invalid("Duplicate models found. Make sure model ids are unique.");
  if (servers.size === 0) throw invalid("List of models is empty.");
  return servers;
}

function invalid(message: string): ConfigurationError {
  return new ConfigurationError("OpenAiIngress", [
    { path: ["llmDeployments"], message, type: "value_error" },
  ]);
}
