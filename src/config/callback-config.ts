import type * as z from "zod";

import type { ClassReference } from "./class-reference.ts";
import { boolean, isPlainObject, objectOf, opaqueMap, reading, withDefault } from "./lax-schema.ts";

/** Hooks around an engine's start. Ray's `CallbackConfig`; kept for export, engines here are remote. */
export interface CallbackConfig {
  /** A class, or the path of a Python class. @default Ray's `CallbackBase`, which does nothing */
  readonly callbackClass?: ClassReference | undefined;
  /** Arguments of the class. @default {} */
  readonly callbackKwargs: Readonly<Record<string, unknown>>;
  /** Whether a failing hook fails the start. @default true */
  readonly raiseErrorOnCallback: boolean;
}

/** Schema of {@link CallbackConfig}. Ray has a dataclass here, whose errors have names of their own. */
export const callbackConfigSchema: z.ZodType<CallbackConfig> = reading<unknown>((input) =>
  isPlainObject(input)
    ? { value: input }
    : { type: "dataclass_type", message: "Input should be a dictionary or an instance of CallbackConfig" },
).pipe(
  objectOf("CallbackConfig", {
    callbackClass: reading<ClassReference>((input) =>
      typeof input === "string" || typeof input === "function"
        ? { value: input as ClassReference }
        : { type: "string_type", message: "Input should be a valid string" },
    ).optional(),
    callbackKwargs: withDefault(opaqueMap(), {}),
    raiseErrorOnCallback: withDefault(boolean(), true),
  }),
);
