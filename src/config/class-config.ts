import type * as z from "zod";

import { snakeCased } from "./casing.ts";
import { type ClassReference, className, classReference, defaultClassPaths } from "./class-reference.ts";
import { isPlainObject, objectOf, opaqueMap, optional, reading, withDefault } from "./lax-schema.ts";
import type { LLMDeploymentOptions } from "./llm-config-init.ts";
import { deploymentOptionsShape, readDeploymentOptions } from "./llm-config-schema.ts";
import { nested } from "./parse-config.ts";

/** Which ingress to build. Ray's `IngressClsConfig`. */
export interface IngressClsConfig {
  /** @default undefined: `OpenAiIngress` */
  readonly ingressCls?: ClassReference | undefined;
  /** Arguments of its constructor, names as they are. @default {} */
  readonly ingressExtraKwargs?: Readonly<Record<string, unknown>> | null | undefined;
}

/** Which PD proxy to build. Ray's `ProxyClsConfig`; Ray 2.58 ignores it, here it is honoured. */
export interface ProxyClsConfig {
  /** @default undefined: `PDProxyServer` */
  readonly proxyCls?: ClassReference | undefined;
  /** Arguments of its constructor, names as they are. @default {} */
  readonly proxyExtraKwargs?: Readonly<Record<string, unknown>> | null | undefined;
}

/** Schema of {@link IngressClsConfig}. */
export const ingressClsConfigSchema = objectOf("IngressClsConfig", {
  ingressCls: classReference().optional(),
  ingressExtraKwargs: withDefault(opaqueMap().nullable(), {}),
}) as unknown as z.ZodType<IngressClsConfig>;

/** Schema of {@link ProxyClsConfig}. */
export const proxyClsConfigSchema = objectOf("ProxyClsConfig", {
  proxyCls: classReference().optional(),
  proxyExtraKwargs: withDefault(opaqueMap().nullable(), {}),
}) as unknown as z.ZodType<ProxyClsConfig>;

/**
 * Deployment options that are merged over defaults later, and checked then, as Ray does: kept as given, keys in
 * camelCase.
 */
export function deploymentOverrides(): z.ZodType<LLMDeploymentOptions> {
  return reading((input) =>
    isPlainObject(input)
      ? nested(() => readDeploymentOptions(input) as LLMDeploymentOptions)
      : { type: "dict_type", message: "Input should be a valid dictionary" },
  );
}

/** As {@link deploymentOverrides}; null is none. */
export function optionalDeploymentOverrides(): z.ZodType<LLMDeploymentOptions | undefined> {
  return optional(deploymentOverrides());
}

/** Ray's `model_dump()` of an {@link IngressClsConfig}. */
export function ingressClsToPython(config: IngressClsConfig): Readonly<Record<string, unknown>> {
  return {
    ingress_cls: classPath(config.ingressCls, defaultClassPaths.ingress),
    ingress_extra_kwargs: config.ingressExtraKwargs ?? null,
  };
}

/** Ray's `model_dump()` of a {@link ProxyClsConfig}. */
export function proxyClsToPython(config: ProxyClsConfig): Readonly<Record<string, unknown>> {
  return {
    proxy_cls: classPath(config.proxyCls, defaultClassPaths.proxy),
    proxy_extra_kwargs: config.proxyExtraKwargs ?? null,
  };
}

/** Deployment options in Ray's spelling; null for none. */
export function deploymentOverridesToPython(options: LLMDeploymentOptions | undefined): unknown {
  return options === undefined ? null : snakeCased(deploymentOptionsShape, options);
}

function classPath(reference: ClassReference | undefined, fallback: string): string {
  if (reference === undefined) return fallback;
  return typeof reference === "string" ? reference : className(reference);
}
