import type { Replica } from "./replica.ts";

/** Why a group of data-parallel ranks is out of service. */
export interface BrokenGroup {
  readonly group: string;
  /** For people: which ranks are not well, or how many are missing. */
  readonly reason: string;
}

/** Which replicas may serve as far as their groups go, and which groups may not. */
export interface GroupVerdict {
  readonly inService: readonly Replica[];
  readonly broken: readonly BrokenGroup[];
}

/**
 * A group of data-parallel ranks serves as a whole or not at all: ranks step together, so that without one of them the
 * others hang. It is out while a rank is missing, starting, suspended, or unhealthy by its checks, and comes back when all are
 * well. Ray restarts such a gang (`RESTART_GANG`); here whoever runs the engines does.
 *
 * A rank that requests alone found failing (`ejected`) leaves on its own: a few bad answers are no proof of death.
 *
 * @param started replicas that are not starting and not leaving
 */
export function judgeGroups(started: readonly Replica[]): GroupVerdict {
  const groups = new Map<string, Replica[]>();
  for (const replica of started) {
    const group = replica.place?.group;
    if (group === undefined) continue;
    const members = groups.get(group);
    if (members === undefined) groups.set(group, [replica]);
    else members.push(replica);
  }
  if (groups.size === 0) return { inService: started, broken: [] };
  const broken = new Map<string, BrokenGroup>();
  for (const [group, members] of groups) {
    const reason = whyBroken(members, members[0]!.place!.groupSize);
    if (reason !== undefined) broken.set(group, { group, reason });
  }
  return {
    inService: started.filter(({ place }) => place === undefined || !broken.has(place.group)),
    broken: [...broken.values()],
  };
}

function whyBroken(members: readonly Replica[], size: number): string | undefined {
  const ill = members.filter(({ health }) => health === "unhealthy");
  if (ill.length > 0) return `${ranksIn(ill)} unhealthy`;
  const idle = members.filter(({ suspension }) => suspension.state !== undefined);
  if (idle.length > 0) return `${ranksIn(idle)} ${idle[0]!.suspension.state}`;
  return members.length >= size ? undefined : `${members.length} of ${size} ranks are ready`;
}

function ranksIn(members: readonly Replica[]): string {
  const names = members.map(({ rank, id }) => `${rank} (${id})`).join(", ");
  return `${members.length === 1 ? "rank" : "ranks"} ${names}`;
}

/**
 * Replicas by the server they are behind: what is asked of a server as such is asked once, of the first of them, and
 * holds for all. Ranks behind one URL share a server; any other replica has one of its own.
 */
export function ranksByServer(replicas: readonly Replica[]): ReadonlyMap<Replica, readonly Replica[]> {
  const byUrl = new Map<string, Replica[]>();
  const byFirst = new Map<Replica, Replica[]>();
  for (const replica of replicas) {
    const { url } = replica.endpoint;
    const known = replica.place?.localRank === undefined ? undefined : byUrl.get(url);
    if (known !== undefined) {
      known.push(replica);
      continue;
    }
    const ranks = [replica];
    byFirst.set(replica, ranks);
    if (replica.place?.localRank !== undefined) byUrl.set(url, ranks);
  }
  return byFirst;
}
