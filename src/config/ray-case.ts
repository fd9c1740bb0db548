/** `minReplicas` -> `min_replicas`, for types. */
export type SnakeCase<Name extends string> = Name extends `${infer Head}${infer Tail}`
  ? Tail extends Uncapitalize<Tail>
    ? `${Uncapitalize<Head>}${SnakeCase<Tail>}`
    : `${Uncapitalize<Head>}_${SnakeCase<Tail>}`
  : Name;

/** A configuration type in Ray's spelling. Functions, classes, configuration objects and maps of the user's own keys are left alone. */
export type RayCase<T> = T extends ((...parameters: never[]) => unknown) | { toPython(): unknown }
  ? T
  : T extends abstract new (...parameters: never[]) => unknown
    ? T
    : T extends readonly (infer Item)[]
      ? readonly RayCase<Item>[]
      : T extends object
        ? string extends keyof T
          ? T
          : { readonly [Key in keyof T as Key extends string ? SnakeCase<Key> : Key]: RayCase<T[Key]> }
        : T;
