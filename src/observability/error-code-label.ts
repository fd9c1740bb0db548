/** Every code that a request can end with, as docs/errors.md lists them. */
const knownCodes: ReadonlySet<string> = new Set([
  "invalid_json",
  "invalid_form",
  "missing_field",
  "invalid_parameter",
  "invalid_request",
  "field_not_allowed",
  "limit_exceeded",
  "media_not_allowed",
  "model_not_found",
  "unknown_route",
  "method_not_allowed",
  "body_timeout",
  "body_too_large",
  "unsupported_media_type",
  "client_closed_request",
  "queue_full",
  "queue_timeout",
  "no_healthy_replica",
  "shutting_down",
  "engine_error",
  "engine_connection_error",
  "engine_response_error",
  "connect_timeout",
  "prefill_timeout",
  "check_timeout",
  "handoff_timeout",
  "decode_timeout",
  "stream_timeout",
  "total_timeout",
  "stream_truncated",
  "stream_swallowed",
  "stream_disconnected",
  "stream_malformed",
  "kv_missing",
  "kv_invalid",
  "kv_host_not_allowed",
  "kv_lease_expired",
  "invalid_config",
  "not_disaggregable",
  "no_ingress",
  "router_failed",
  "body_already_consumed",
  "admin_forbidden",
  "deployment_not_found",
  "engine_command_failed",
  "internal_error",
]);

/**
 * An error code as the label of a metric: the code itself when it is this library's, else `other`, so that codes made
 * up at run time add no series. Empty when there was no error.
 */
export function errorCodeLabel(code: string | undefined): string {
  if (code === undefined) return "";
  return knownCodes.has(code) ? code : "other";
}

/** @internal For the test that compares them with the documentation. */
export const errorCodeLabels: readonly string[] = [...knownCodes];
