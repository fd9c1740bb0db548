/** Places weights and adapters can be fetched from, as Ray knows them; `pyarrow-` may stand before each. */
const remotePrefixes = ["s3://", "gs://", "abfss://", "azure://"] as const;
const pyarrowPrefix = "pyarrow-";

/** Words Ray uses for the list of prefixes. */
export const remotePrefixWords = `"s3://", "gs://", "abfss://", or "azure://"`;

/** True for a URI of cloud storage, such as `s3://bucket/key`. Ray's `is_remote_path`. */
export function isRemoteUri(path: string): boolean {
  return storageType(path) !== undefined;
}

/** Which storage a URI points to, or undefined for a local path. Ray's `CloudMirrorConfig.storage_type`. */
export function storageType(path: string): "s3" | "gcs" | "abfss" | "azure" | undefined {
  const bare = path.startsWith(pyarrowPrefix) ? path.slice(pyarrowPrefix.length) : path;
  const prefix = remotePrefixes.find((each) => bare.startsWith(each));
  if (prefix === undefined) return undefined;
  if (prefix === "gs://") return "gcs";
  return prefix.slice(0, -"://".length) as "s3" | "abfss" | "azure";
}

/** True when a remote URI names nothing but its scheme (`s3://`, `s3:///`). */
export function lacksBucket(uri: string): boolean {
  return /^[a-z0-9-]+:\/*$/.test(uri);
}
