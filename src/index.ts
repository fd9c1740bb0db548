// The public surface: everything a user may rely on. Mock engines and the fake clock are in `serve-llm/testing`.

// Ray's `serve` and `ray.serve.llm`.
export { serve, type Serve } from "./builders/serve.ts";
export { buildPdOpenaiApp } from "./builders/build-pd-openai-app.ts";
export { buildOpenaiApp } from "./builders/build-openai-app.ts";
export { buildLlmDeployment } from "./builders/build-llm-deployment.ts";
export { buildDpDeployment } from "./builders/build-dp-deployment.ts";
export { buildDpOpenaiApp } from "./builders/build-dp-openai-app.ts";
export type { BuildDeploymentOptions, LLMServerClass } from "./builders/server-application.ts";
export type { LoadConfigOptions, LoadedApplication, LoadedConfig } from "./builders/load-config.ts";
export type { RunConfigOptions, RunningConfig } from "./builders/run-config.ts";
export { PDProxyServer, type PDProxyServerArguments } from "./llm/pd-proxy-server.ts";
export type { MissingKvPolicy, PDProxyOptions, StrandedKvPolicy } from "./llm/pd-proxy-options.ts";
export { DPServer } from "./llm/dp-server.ts";
export { LLMServer, type LLMServerArguments } from "./llm/llm-server.ts";
export type { OpenAiIngressArguments } from "./ingress/ingress-options.ts";
export type { IngressRequest } from "./ingress/ingress-request.ts";
export { OpenAiIngress } from "./ingress/openai-ingress.ts";
export { makeIngress, type IngressClass } from "./ingress/make-ingress.ts";
export type { AdminOptions } from "./ingress/admin-calls.ts";
export type { Route, RouteMap, RouteTarget } from "./ingress/routes.ts";

// Configuration.
export { LLMConfig, type CheckpointConfig, type MultiplexConfig } from "./config/llm-config.ts";
export type {
  CallbackConfigInit,
  ExperimentalConfigsInit,
  LLMConfigInit,
  LLMDeploymentOptions,
  LoraConfigInit,
  RayActorOptions,
  RayLLMConfigInit,
} from "./config/llm-config-init.ts";
export type { LLMConfigSource } from "./config/config-source.ts";
export type { VllmCommandOptions } from "./config/vllm-command.ts";
export { VllmCommand } from "./config/vllm-command-line.ts";
export type { IngressClsConfig, ProxyClsConfig } from "./config/class-config.ts";
export type { PDServingArgsInit, RayPDServingArgsInit } from "./config/pd-serving-args.ts";
export type { DPOpenAiServingArgsInit, LLMServingArgsInit } from "./config/serving-args.ts";
export type { AcceleratorConfig } from "./config/accelerators.ts";
export type { AutoscalingOptions } from "./config/autoscaling-config.ts";
export type { ClassReference } from "./config/class-reference.ts";
export type {
  ClientConfig,
  ClientConfigInit,
  ClientTlsConfig,
  LoraAdapterPath,
  ProbeGenerationInit,
} from "./config/client-config.ts";
export type { DeploymentOptions } from "./config/deployment-options.ts";
export {
  parseEndpoints,
  type Discovery,
  type DiscoveryContext,
  type Endpoint,
  type EndpointInit,
  type EndpointsInit,
} from "./config/endpoint.ts";
export type { EndpointSource } from "./config/endpoint-source.ts";
export type { ScalingTargetSource } from "./config/scaling-target-source.ts";
export type { NamedOptions } from "./config/named-source.ts";
export type {
  EngineTemplate,
  EngineQuestion,
  EngineReply,
  ScalingContext,
  ScalingTarget,
} from "./config/scaling-target.ts";
export type { ModelLoadingConfig } from "./config/model-loading-config.ts";
export type { PlacementGroupConfig, ResourceBundle } from "./config/placement-group-config.ts";
export type { RayCase } from "./config/ray-case.ts";
export type { RequestRouterOptions } from "./config/request-router-config.ts";
export {
  parseServeConfig,
  type BuilderName,
  type ServeApplication,
  type ServeConfig,
} from "./config/serve-config.ts";
export type { HttpOptions, ServeApplicationConfig, ServeDeployConfig } from "./config/serve-deploy-schema.ts";
export {
  callbackDiscovery,
  type CallbackDiscoveryOptions,
  type ListEndpoints,
} from "./discovery/callback-discovery.ts";
export { dnsDiscovery, type DnsDiscoveryOptions } from "./discovery/dns-discovery.ts";
export type { DnsRecord, DnsRecordType, DnsResolver } from "./discovery/dns-resolver.ts";
export { fileDiscovery, type FileDiscoveryOptions } from "./discovery/file-discovery.ts";
export { mutableDiscovery, type MutableDiscovery } from "./discovery/mutable-discovery.ts";
export { staticDiscovery } from "./discovery/static-discovery.ts";
export {
  callbackTarget,
  type CallbackTargetOptions,
  type ScaleCallback,
  type ScaleRequest,
} from "./scaling-targets/callback-target.ts";
export { sleepWakeTarget, type SleepWakeOptions } from "./scaling-targets/sleep-wake-target.ts";
export {
  vllmProcesses,
  type EngineLine,
  type StartingEngine,
  type VllmProcessesOptions,
} from "./scaling-targets/vllm-processes.ts";

// Applications, and what they are made of.
export { Application } from "./serve/application.ts";
export type { HandleOf } from "./serve/application-part.ts";
export type {
  ApplicationStatus,
  ApplicationStatusOverview,
  ShutdownOptions,
} from "./serve/application-status.ts";
export { Deployment, type BindArguments, type DeploymentInit } from "./serve/deployment.ts";
export type {
  Exportable,
  ExportedEngines,
  ServeApplicationDocument,
  ServeConfigDocument,
  ServeConfigOptions,
} from "./serve/serve-export.ts";
export type { RayService, RayServiceOptions, WorkerGroup } from "./serve/ray-service.ts";
export type {
  ApplicationEnvironment,
  DeployableClass,
  DeploymentContext,
  DeploymentControl,
  DeploymentInstance,
  DeploymentStatus,
  DeploymentStatusDetails,
  DeploymentStatusTrigger,
  ReplicaStatus,
} from "./serve/deployment-context.ts";
export type { RunningApplication, RunOptions } from "./serve/run.ts";
export type { ApplicationReference } from "./builders/get-deployment-handle.ts";
export { LLMHandle, type CallOptions } from "./llm/llm-handle.ts";
export type {
  EngineCommandInit,
  EngineCommandName,
  EngineCommandOption,
  EngineCommandResult,
} from "./llm/engine-commands.ts";
export { editRequest, type RequestFieldEdits } from "./llm/edit-request.ts";
export type { LLMRequest } from "./llm/llm-request.ts";
export type { CompleteResponse, LLMResponse, StreamingResponse } from "./llm/llm-response.ts";
export type { LLMServerProtocol } from "./llm/llm-server-protocol.ts";
export type { DisaggregationContext, PrefillLoad } from "./llm/disaggregation-context.ts";
export type { DecodeOnlyReason, DisaggregationDecision } from "./llm/disaggregation-decision.ts";
export type { ConditionalDisaggregation, DecideFunction } from "./llm/disaggregation-policy.ts";
export type { SessionKeyOptions } from "./ingress/session-key.ts";
export type { PairingOptions } from "./routing/pair-policy.ts";
export type { HttpRequest, HttpResponse } from "./adapters/http-exchange.ts";
export type { NodeHandler } from "./adapters/node-handler.ts";
export type { FetchHandler } from "./adapters/fetch-handler.ts";
export type { Clock, Timer } from "./internal/clock.ts";
export type { Random } from "./internal/random.ts";
export type { CancelToken } from "./internal/cancel-token.ts";
export type { ByteSink, ByteSource } from "./internal/byte-stream.ts";

// Seams: routing, KV connectors, what happens inside.
export type {
  EngineLoad,
  PendingRequest,
  ReplicaView,
  RequestRouter,
  RequestRouterContext,
  RequestRouterFactory,
} from "./routing/request-router.ts";
export {
  createRequestRouter,
  isRequestRouterRegistered,
  registerRequestRouter,
  unregisterRequestRouter,
} from "./routing/router-registry.ts";
export type {
  ConnectorRequest,
  GenerateMethod,
  KvConnector,
  KvConnectorContext,
  PeerMetadata,
  PrefillResponse,
  RequestEdits,
} from "./kv-transfer/kv-connector.ts";
export {
  createKvConnector,
  isKvConnectorRegistered,
  registerKvConnector,
  unregisterKvConnector,
  type KvConnectorFactory,
} from "./kv-transfer/kv-connector-registry.ts";
export { setupKvTransfer } from "./kv-transfer/setup-kv-transfer.ts";
export type { KvSetupInput, KvSetupResult } from "./kv-transfer/kv-setup-context.ts";
export { RawJson } from "./protocol/raw-json.ts";
export {
  channels,
  type EndpointRestartedEvent,
  type LegEndEvent,
  type LegStartEvent,
  type PDDegradedEvent,
  type RequestStartEvent,
} from "./observability/channels.ts";
export type { Logger, LoggerOptions } from "./observability/logger.ts";
export type { MetricsRegistry } from "./observability/metric-set.ts";
export type { RequestPhases } from "./observability/request-phases.ts";
export type { TokenUsage } from "./observability/token-usage.ts";
export type { MetricsOptions, RequestExplanation } from "./serve/application-observer.ts";
export type { PDHealth, PDPairHealth } from "./observability/pd-health-report.ts";
export type { LegTrace, RequestOutcome, RequestTrace, RetryCause } from "./observability/request-trace.ts";

// Errors.
export { ServeLLMError, type ServeLLMErrorFields } from "./errors/serve-llm-error.ts";
export { BackPressureError } from "./errors/back-pressure-error.ts";
export { ConfigurationError, type ConfigIssue } from "./errors/configuration-error.ts";
export { DeploymentUnavailableError } from "./errors/deployment-unavailable-error.ts";
export { EngineError, type EngineErrorOrigin, type EnginePhase } from "./errors/engine-error.ts";
export { EngineConnectionError } from "./errors/engine-connection-error.ts";
export { EngineResponseError, type EngineErrorBody } from "./errors/engine-response-error.ts";
export { EngineStreamError, type StreamFault } from "./errors/engine-stream-error.ts";
export { EngineTimeoutError } from "./errors/engine-timeout-error.ts";
export { KvTransferError, type KvTransferFault } from "./errors/kv-transfer-error.ts";
export { RequestCancelledError } from "./errors/request-cancelled-error.ts";
export { RequestError, type RequestErrorFields } from "./errors/request-error.ts";

// OpenAI's wire types, with what vLLM adds.
export type {
  ChatCompletion,
  ChatCompletionChoice,
  ChatCompletionChunk,
  ChatCompletionChunkChoice,
  ChatCompletionDelta,
  ChatCompletionMessage,
  ChatCompletionRequest,
  ChatContentPart,
  ChatMessage,
  ChatTool,
  ChatToolCall,
  Completion,
  CompletionChoice,
  CompletionChunk,
  CompletionRequest,
  FinishReason,
  GenerationRequest,
  GenerationResponse,
  ModelCard,
  ModelList,
  OpenAIErrorBody,
  StreamOptions,
  Usage,
} from "./protocol/openai-types.ts";
export type {
  AudioRequest,
  AudioTranscription,
  AudioTranscriptionChunk,
  DetokenizeRequest,
  DetokenizeResponse,
  EmbeddingRequest,
  EmbeddingResponse,
  ForwardedRequest,
  MessagesEvent,
  MessagesRequest,
  MessagesResponse,
  MessageTokenCount,
  RerankRequest,
  RerankResponse,
  ResponsesEvent,
  ResponsesRequest,
  ResponsesResponse,
  ScoreRequest,
  ScoreResponse,
  TokenizeRequest,
  TokenizeResponse,
} from "./protocol/forwarded-types.ts";
