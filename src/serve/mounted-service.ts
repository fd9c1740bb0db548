import type { HttpService } from "../adapters/http-exchange.ts";

/** Something that answers HTTP beside an application's own routes, for example `dashboard(app)`. */
export interface MountedService {
  /** It answers this path and every path below; begins with a slash, and does not end with one. */
  readonly prefix: string;
  readonly service: HttpService;
}

/** What is mounted on an application, the longest prefix first. */
export class MountTable {
  #mounted: readonly MountedService[] = [];

  /** @throws TypeError when it would hide the application itself, or something is mounted under its prefix already */
  add(mounted: MountedService): void {
    const { prefix } = mounted;
    if (prefix === "")
      throw new TypeError('Mounted under "/", it would hide the application; give it a path.');
    if (this.#mounted.some((each) => each.prefix === prefix)) {
      throw new TypeError(`Something is mounted under "${prefix}" already.`);
    }
    this.#mounted = [...this.#mounted, mounted].toSorted(
      (one, other) => other.prefix.length - one.prefix.length,
    );
  }

  /** Who answers a path; undefined when the application itself does. */
  find(path: string): MountedService | undefined {
    if (this.#mounted.length === 0) return undefined;
    return this.#mounted.find(({ prefix }) => isUnder(path, prefix));
  }
}

/** True for the prefix itself and for every path below it. */
export function isUnder(path: string, prefix: string): boolean {
  return path.startsWith(prefix) && (path.length === prefix.length || path[prefix.length] === "/");
}
