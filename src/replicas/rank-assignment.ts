import type { Endpoint } from "../config/endpoint.ts";
import type { ConfigIssue } from "../errors/configuration-error.ts";

/** Where one data-parallel rank is: in which group, and where behind its URL. */
export interface RankPlace {
  /** Its group, unique in its deployment: all of it serves, or none of it. Ray's gang. */
  readonly group: string;
  /** Ranks in the group when it is whole. */
  readonly groupSize: number;
  /** What `X-data-parallel-rank` must say to reach it; undefined: its URL has no other rank. */
  readonly localRank: number | undefined;
  /** Ranks behind its URL. */
  readonly localSize: number;
}

/** An endpoint that stands for one rank. Without `place` it is no rank of a group. */
export interface RankEndpoint extends Endpoint {
  readonly place?: RankPlace | undefined;
}

/** How the ranks of a deployment lie on its endpoints. */
export interface RankLayout {
  /** Ranks in a group: Ray's `gang_size`, vLLM's `data_parallel_size`. */
  readonly size: number;
  /** Ranks behind each URL that does not say it (`dp_size_per_node`); undefined: it follows from the endpoints. */
  readonly perNode: number | undefined;
}

/** A run of ranks that one endpoint has. */
interface Run {
  readonly group: number;
  readonly start: number;
  readonly count: number;
}

/** What {@link RankAssignment.assign} found. */
export interface AssignedRanks {
  /** One for each rank, in the order of the endpoints. */
  readonly endpoints: readonly RankEndpoint[];
  /** Endpoints that have no place, and why; they are not among `endpoints`. */
  readonly issues: readonly ConfigIssue[];
}

/**
 * Gives every data-parallel rank of a deployment its number and its address.
 *
 * An endpoint that names its `rank` keeps it (vLLM's start rank, when it has several); the others get the lowest
 * ones that are free, in order, and keep them as long as they are there. When one group is full the next begins.
 *
 * Ray's ranks are handed out by its gang scheduler (`DPServer.__init__`), before that by its `DPRankAssigner`.
 */
export class RankAssignment {
  readonly #layout: RankLayout | undefined;
  #runs = new Map<string, Run>();

  /** @param layout undefined: only the ranks behind one URL belong together */
  constructor(layout: RankLayout | undefined) {
    this.#layout = layout;
  }

  /**
   * Assigns a complete snapshot.
   *
   * @param complete all ranks are known to be there, so that their number tells how many each endpoint has; false for
   *   what discovery found so far
   */
  assign(endpoints: readonly Endpoint[], complete: boolean): AssignedRanks {
    const byUrl = new Map<string, Endpoint[]>();
    for (const endpoint of endpoints) {
      const sharing = byUrl.get(endpoint.url);
      if (sharing === undefined) byUrl.set(endpoint.url, [endpoint]);
      else sharing.push(endpoint);
    }
    return this.#layout === undefined
      ? { endpoints: endpoints.flatMap((endpoint) => this.#alone(endpoint, byUrl)), issues: [] }
      : this.#grouped(endpoints, byUrl, this.#layout, complete);
  }

  /** The ranks behind one URL are a group of their own. */
  #alone(endpoint: Endpoint, byUrl: ReadonlyMap<string, readonly Endpoint[]>): readonly RankEndpoint[] {
    const { dpRanks, url, rank = 0 } = endpoint;
    if (dpRanks !== undefined && dpRanks > 1) {
      return ranksOf(endpoint, { start: rank, count: dpRanks, group: url, groupSize: dpRanks });
    }
    const sharing = byUrl.get(url) ?? [];
    if (sharing.length === 1) return [endpoint];
    // Written out one by one.
    return [sharedRank(endpoint, rank, sharing, url, sharing.length)];
  }

  #grouped(
    endpoints: readonly Endpoint[],
    byUrl: ReadonlyMap<string, readonly Endpoint[]>,
    layout: RankLayout,
    complete: boolean,
  ): AssignedRanks {
    const counts = countRanks(endpoints, layout, complete);
    const groups = new Groups(layout.size);
    const runs = new Map<string, Run>();
    const issues: ConfigIssue[] = [];
    const take = (index: number, find: (endpoint: Endpoint, count: number) => Run | undefined): void => {
      const endpoint = endpoints[index]!;
      const run = runs.has(keyOf(endpoint)) ? undefined : find(endpoint, counts[index]!);
      if (run === undefined) return;
      groups.take(run);
      runs.set(keyOf(endpoint), run);
    };
    const each = (find: (endpoint: Endpoint, count: number) => Run | undefined): void => {
      for (const index of endpoints.keys()) take(index, find);
    };
    each((endpoint, count) => {
      const before = this.#runs.get(keyOf(endpoint));
      return before?.count === count && groups.isFree(before) ? before : undefined;
    });
    each(({ rank }, count) => (rank === undefined ? undefined : groups.firstAt(rank, count)));
    each(({ rank }, count) => (rank === undefined ? groups.first(count) : undefined));
    for (const [index, endpoint] of endpoints.entries()) {
      if (runs.has(keyOf(endpoint))) continue;
      const { rank } = endpoint;
      issues.push({
        path: [index],
        type: "value_error",
        message: "It has no place in a group of data-parallel ranks",
        expected: `ranks from 0 to ${layout.size - 1}`,
        received: `${counts[index]} ranks${rank === undefined ? "" : ` from ${rank}`}`,
      });
    }
    this.#runs = runs;
    const ranked = endpoints.flatMap((endpoint) => {
      const run = runs.get(keyOf(endpoint));
      if (run === undefined) return [];
      const group = String(run.group);
      const sharing = byUrl.get(endpoint.url) ?? [];
      return sharing.length === 1
        ? ranksOf(endpoint, { ...run, group, groupSize: layout.size })
        : [sharedRank(endpoint, run.start, sharing, group, layout.size)];
    });
    return { endpoints: ranked, issues };
  }
}

/** Which ranks of which group are taken. */
class Groups {
  readonly #size: number;
  readonly #taken: boolean[][] = [];

  constructor(size: number) {
    this.#size = size;
  }

  isFree({ group, start, count }: Run): boolean {
    const taken = this.#taken[group];
    if (start + count > this.#size) return false;
    for (let rank = start; rank < start + count; rank += 1) if (taken?.[rank] === true) return false;
    return true;
  }

  take({ group, start, count }: Run): void {
    const taken = (this.#taken[group] ??= []);
    for (let rank = start; rank < start + count; rank += 1) taken[rank] = true;
  }

  /** The first group in which these very ranks are free. */
  firstAt(start: number, count: number): Run | undefined {
    if (start + count > this.#size) return undefined;
    for (let group = 0; ; group += 1) {
      const run = { group, start, count };
      if (this.isFree(run)) return run;
    }
  }

  /** The lowest ranks that are free side by side. */
  first(count: number): Run | undefined {
    if (count > this.#size) return undefined;
    for (let group = 0; ; group += 1) {
      for (let start = 0; start + count <= this.#size; start += 1) {
        const run = { group, start, count };
        if (this.isFree(run)) return run;
      }
    }
  }
}

/**
 * How many ranks each endpoint has: what it says itself (`dpRanks`), else `perNode`, else one. When all are there,
 * their number tells: as many as ranks are one each, and a single one has all.
 */
function countRanks(
  endpoints: readonly Endpoint[],
  { size, perNode }: RankLayout,
  complete: boolean,
): readonly number[] {
  const silent = endpoints.filter(({ dpRanks }) => dpRanks === undefined).length;
  const said = endpoints.reduce((sum, { dpRanks = 0 }) => sum + dpRanks, 0);
  const usual = !complete
    ? (perNode ?? 1)
    : said + silent === size
      ? 1
      : (perNode ?? (endpoints.length === 1 && endpoints[0]!.rank === undefined ? size : 1));
  return endpoints.map(({ dpRanks = usual }) => dpRanks);
}

/** An endpoint with several ranks, written out. */
function ranksOf(
  endpoint: Endpoint,
  {
    start,
    count,
    group,
    groupSize,
  }: { readonly start: number; readonly count: number; readonly group: string; readonly groupSize: number },
): readonly RankEndpoint[] {
  const { dpRanks: _dpRanks, ...rest } = endpoint;
  if (count === 1) {
    return [{ ...rest, rank: start, place: { group, groupSize, localRank: undefined, localSize: 1 } }];
  }
  return Array.from({ length: count }, (_, localRank) =>
    addressed(
      {
        ...rest,
        rank: start + localRank,
        ...(rest.name === undefined ? {} : { name: `${rest.name}/${start + localRank}` }),
      },
      { group, groupSize, localRank, localSize: count },
    ),
  );
}

/** One of several endpoints with the same URL: its rank there is its rank, counted from the lowest of them. */
function sharedRank(
  endpoint: Endpoint,
  rank: number,
  sharing: readonly Endpoint[],
  group: string,
  groupSize: number,
): RankEndpoint {
  const { dpRanks: _dpRanks, ...rest } = endpoint;
  const lowest = Math.min(...sharing.map((other) => other.rank ?? 0));
  return addressed(
    { ...rest, rank },
    { group, groupSize, localRank: rank - lowest, localSize: sharing.length },
  );
}

function addressed(endpoint: Endpoint, place: RankPlace): RankEndpoint {
  const headers = { ...endpoint.headers, "x-data-parallel-rank": String(place.localRank) };
  return { ...endpoint, headers, place };
}

function keyOf({ url, rank }: Endpoint): string {
  return `${url} ${rank ?? ""}`;
}
