import type * as z from "zod";

import { reading, type SchemaProblem } from "./lax-schema.ts";
import { suggestion } from "./nearest-name.ts";

/** A class given directly. */
export type ClassValue = abstract new (...parameters: never[]) => unknown;

/**
 * A class, or Ray's import path of one of the classes this library provides, for example
 * `ray.serve.llm.deployment:PDProxyServer`. Paths of user classes can't be imported: pass the class itself.
 */
export type ClassReference = ClassValue | string;

const serverClasses = ["LLMServer", "PDProxyServer", "PDDecodeServer", "PDPrefillServer", "DPServer"];
const ingressClasses = ["OpenAiIngress"];

/** Modules whose classes this library mirrors. */
const modules: ReadonlyMap<string, readonly string[]> = new Map([
  ["ray.serve.llm.deployment", serverClasses],
  ["ray.serve.llm.ingress", ingressClasses],
  ["ray.serve.llm", ["LLMServer"]],
  ["ray.llm._internal.serve.core.server.llm_server", ["LLMServer"]],
  ["ray.llm._internal.serve.core.ingress.ingress", ingressClasses],
  ["ray.llm._internal.serve.serving_patterns.prefill_decode.pd_server", serverClasses.slice(1, 4)],
  ["ray.llm._internal.serve.serving_patterns.data_parallel.dp_server", ["DPServer"]],
  ["serve-llm", [...serverClasses, ...ingressClasses]],
]);

/** Where Ray 2.58 keeps its default classes: what `model_dump()` shows for a class that was not chosen. */
export const defaultClassPaths = {
  ingress: "ray.llm._internal.serve.core.ingress.ingress.OpenAiIngress",
  proxy: "ray.llm._internal.serve.serving_patterns.prefill_decode.pd_server.PDProxyServer",
  callback: "ray.llm._internal.common.callbacks.base.CallbackBase",
} as const;

/** The last part of a class path, `PDProxyServer`, or the name of a class given directly. */
export function className(reference: ClassReference): string {
  if (typeof reference === "function") return reference.name;
  return reference.slice(Math.max(reference.lastIndexOf("."), reference.lastIndexOf(":")) + 1);
}

/** Reads a class or the path of a known class; paths come out with dots, as Ray stores them. */
export function classReference(): z.ZodType<ClassReference> {
  return reading<ClassReference>((input) => {
    if (typeof input === "function") return { value: input as ClassValue };
    if (typeof input === "string") return readClassPath(input);
    return {
      type: "string_type",
      message: "Input should be a valid string",
      expected: "a class, or the import path of one",
    };
  });
}

/** As {@link classReference} for a string; used where other values are let through. */
export function readClassPath(path: string): { readonly value: string } | SchemaProblem {
  const separator = path.includes(":") ? path.lastIndexOf(":") : path.lastIndexOf(".");
  if (separator <= 0 || separator === path.length - 1) {
    return {
      type: "value_error",
      message: `Got invalid import path "${path}". It must name a module and a class, like "module.Class" or "module:Class"`,
    };
  }
  const module = path.slice(0, separator);
  const name = path.slice(separator + 1);
  const classes = modules.get(module);
  if (classes === undefined) {
    return {
      type: "import_error",
      message: `Could not import ${module}. Only this library's own classes have a path here; pass your class itself`,
    };
  }
  if (!classes.includes(name)) {
    return {
      type: "import_error",
      message: `Could not import ${name} from ${module}${suggestion(name, classes)}`,
    };
  }
  return { value: `${module}.${name}` };
}
