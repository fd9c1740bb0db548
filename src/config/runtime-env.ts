import * as z from "zod";

import { anything, report } from "./lax-schema.ts";

/**
 * A Python runtime environment. Remote engines bring their own: it is checked as Ray checks it, kept for export,
 * and never installed.
 */
export type RuntimeEnv = Readonly<Record<string, unknown>>;

const protocols = ["gcs", "conda", "pip", "uv", "https", "s3", "gs", "azure", "abfss", "file"];

/** Reads a `runtime_env`; keys below `envVars` and keys Ray does not know stay as they are. */
export const runtimeEnvSchema = z.looseObject({
  envVars: anything().optional(),
  workingDir: anything().optional(),
  pyModules: anything().optional(),
  imageUri: anything().optional(),
});

/** As {@link runtimeEnvSchema}; `working_dir` and `py_modules` must be remote, as in every Serve config file. */
export const remoteRuntimeEnvSchema = runtimeEnvSchema.check((context) => {
  const { pyModules, workingDir } = context.value;
  const modules: readonly unknown[] = Array.isArray(pyModules) ? pyModules : [];
  for (const uri of [...modules, workingDir]) {
    if (typeof uri !== "string") continue;
    const problem = uriProblem(uri);
    if (problem === undefined) continue;
    report(context, {
      type: "value_error",
      message:
        "runtime_envs in the Serve config support only remote URIs in working_dir and py_modules. " +
        `Got error when parsing URI: ${problem}`,
    });
    return;
  }
});

function uriProblem(uri: string): string | undefined {
  const protocol = /^([a-z][a-z0-9+.-]+):\/\//i.exec(uri)?.[1]?.toLowerCase();
  if (protocol === undefined) return `Expected URI but received path ${uri}`;
  if (protocols.includes(protocol)) return undefined;
  const names = protocols.map((name) => `'${name.toUpperCase()}'`).join(", ");
  return `Invalid protocol for runtime_env URI "${uri}". Supported protocols: [${names}].`;
}

/**
 * An application's environment below a deployment's: the deployment wins, and `envVars` are joined.
 * Ray's `override_runtime_envs_except_env_vars`.
 */
export function mergeRuntimeEnvs(application: RuntimeEnv, deployment: RuntimeEnv): RuntimeEnv {
  const merged: Record<string, unknown> = { ...application, ...deployment };
  const envVars = { ...asRecord(application["envVars"]), ...asRecord(deployment["envVars"]) };
  if (Object.keys(envVars).length > 0) merged["envVars"] = envVars;
  return merged;
}

function asRecord(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}
