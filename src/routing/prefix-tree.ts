import { codePointCount, ownCopy, sharedPrefix } from "./text-prefix.ts";

/** What a text has in common with the tree. */
export interface PrefixMatch {
  /** Code points of the text that were matched. */
  readonly matchedLength: number;
  /** UTF-16 code units of the text that were matched: `text.slice(0, matchedUnits)` is what matched. */
  readonly matchedUnits: number;
  /** Who has it, in the order asked for (duplicates kept); undefined when nobody asked for is known. */
  readonly tenants: readonly string[] | undefined;
}

/** One tenant's visit of one node, and its place among that tenant's visits by age. */
class Visit {
  readonly node: TreeNode;
  time: number;
  newer: Visit | undefined;
  older: Visit | undefined;

  constructor(node: TreeNode, time: number) {
    this.node = node;
    this.time = time;
  }
}

class TreeNode {
  /** Never begins or ends within a surrogate pair; memory of its own, or a whole prompt would stay alive for it. */
  text: string;
  /** Code points in `text`. */
  length: number;
  parent: TreeNode | undefined;
  /** By first code point. */
  readonly children = new Map<number, TreeNode>();
  readonly visits = new Map<string, Visit>();

  constructor(text: string, parent: TreeNode | undefined) {
    this.text = ownCopy(text);
    this.length = codePointCount(text);
    this.parent = parent;
  }
}

interface Tenant {
  /** The root's visit: the newest end of the list. */
  readonly head: Visit;
  tail: Visit;
  charCount: number;
}

/** A node of the tree as plain data, for tests. */
export interface PrefixTreeSnapshot {
  readonly text: string;
  readonly tenants: Readonly<Record<string, number>>;
  readonly children: readonly PrefixTreeSnapshot[];
}

/**
 * A radix tree over texts that remembers which tenants (replicas) have seen which prefix, and when. Lengths are
 * Unicode code points. Mirrors Ray's `PrefixTree`.
 */
export class PrefixTree {
  readonly #root = new TreeNode("", undefined);
  readonly #tenants = new Map<string, Tenant>();

  /** Makes tenants known; those that are already keep what they have. */
  addTenants(tenants: Iterable<string>, time: number): void {
    for (const name of tenants) {
      if (this.#tenants.has(name)) continue;
      const head = new Visit(this.#root, time);
      this.#root.visits.set(name, head);
      this.#tenants.set(name, { head, tail: head, charCount: 0 });
    }
  }

  /** Records that a tenant has this text. An unknown tenant is ignored: it was removed meanwhile. */
  insert(text: string, name: string, time: number): void {
    const tenant = this.#tenants.get(name);
    if (tenant === undefined) return;
    tenant.head.time = time;
    let node = this.#root;
    let offset = 0;
    while (offset < text.length) {
      const label = text.codePointAt(offset) as number;
      let child = node.children.get(label);
      if (child === undefined) {
        child = new TreeNode(text.slice(offset), node);
        node.children.set(label, child);
      }
      const shared = sharedPrefix(child.text, text, offset);
      if (shared < child.text.length) child = this.#split(child, shared, label);
      this.#touch(child, name, tenant, time);
      offset += shared;
      node = child;
    }
  }

  /**
   * The longest prefix of a text that some of the tenants asked for have.
   *
   * @param available tenants to consider; undefined or empty: all
   */
  match(text: string, available?: readonly string[]): PrefixMatch {
    const wanted = available === undefined || available.length === 0 ? this.tenants : available;
    let node = this.#root;
    let offset = 0;
    let length = 0;
    while (offset < text.length) {
      const child = node.children.get(text.codePointAt(offset) as number);
      if (child === undefined || !wanted.some((name) => child.visits.has(name))) break;
      const shared = sharedPrefix(child.text, text, offset);
      const isWhole = shared === child.text.length;
      length += isWhole ? child.length : codePointCount(child.text.slice(0, shared));
      offset += shared;
      node = child;
      if (!isWhole) break;
    }
    // The root was visited by everybody who is known.
    const tenants = wanted.filter((name) => node.visits.has(name));
    return {
      matchedLength: length,
      matchedUnits: offset,
      tenants: tenants.length === 0 ? undefined : tenants,
    };
  }

  /** Forgets tenants. Returns how many code points each had; 0 for an unknown one. */
  removeTenants(names: Iterable<string>): Readonly<Record<string, number>> {
    const removed: Record<string, number> = {};
    for (const name of names) {
      const tenant = this.#tenants.get(name);
      let total = 0;
      if (tenant !== undefined) {
        for (let visit: Visit | undefined = tenant.tail; visit !== undefined; visit = visit.newer) {
          total += visit.node.length;
          dropVisit(visit.node, name);
        }
        this.#tenants.delete(name);
      }
      removed[name] = total;
    }
    return removed;
  }

  /**
   * Forgets a tenant's least recently seen texts until at least so many code points are gone. Nodes of the same
   * time go together, so that no node outlives its parent.
   *
   * @returns code points forgotten
   */
  evict(name: string, minRemoved: number): number {
    const tenant = this.#tenants.get(name);
    if (tenant === undefined) return 0;
    let removed = 0;
    while (removed < minRemoved && tenant.tail !== tenant.head) {
      const { time } = tenant.tail;
      while (tenant.tail !== tenant.head && tenant.tail.time === time) {
        const visit: Visit = tenant.tail;
        removed += visit.node.length;
        tenant.charCount -= visit.node.length;
        unlink(visit, tenant);
        dropVisit(visit.node, name);
      }
    }
    return removed;
  }

  /** Tenants with the fewest code points, of those asked for (default all), in order; empty when none is known. */
  smallestTenants(available?: readonly string[]): readonly string[] {
    let smallest: string[] = [];
    let fewest = Number.POSITIVE_INFINITY;
    for (const name of available ?? this.#tenants.keys()) {
      const count = this.#tenants.get(name)?.charCount;
      if (count === undefined || count > fewest) continue;
      if (count < fewest) smallest = [];
      fewest = count;
      smallest.push(name);
    }
    return smallest;
  }

  /** Code points a tenant has; undefined when it is unknown. */
  charCount(name: string): number | undefined {
    return this.#tenants.get(name)?.charCount;
  }

  get tenants(): readonly string[] {
    return [...this.#tenants.keys()];
  }

  /** The whole tree as plain data, for tests. */
  snapshot(): PrefixTreeSnapshot {
    return snapshotOf(this.#root);
  }

  /** Texts of a tenant's nodes from newest to oldest, the root's first, for tests. */
  recency(name: string): readonly string[] {
    const texts: string[] = [];
    for (let visit = this.#tenants.get(name)?.head; visit !== undefined; visit = visit.older) {
      texts.push(visit.node.text);
    }
    return texts;
  }

  /** Cuts a node in two. Returns the new upper half, which everybody who had the node has as recently. */
  #split(node: TreeNode, at: number, label: number): TreeNode {
    const upper = new TreeNode(node.text.slice(0, at), node.parent);
    node.parent?.children.set(label, upper);
    node.text = ownCopy(node.text.slice(at));
    node.length -= upper.length;
    node.parent = upper;
    upper.children.set(firstCodePoint(node), node);
    for (const [name, visit] of node.visits) {
      const copy = new Visit(upper, visit.time);
      upper.visits.set(name, copy);
      // Next to the lower half, on its newer side. There always is one: the root's visit is the newest.
      copy.older = visit;
      copy.newer = visit.newer;
      if (visit.newer !== undefined) visit.newer.older = copy;
      visit.newer = copy;
    }
    return upper;
  }

  #touch(node: TreeNode, name: string, tenant: Tenant, time: number): void {
    let visit = node.visits.get(name);
    if (visit === undefined) {
      visit = new Visit(node, time);
      node.visits.set(name, visit);
      tenant.charCount += node.length;
    } else {
      visit.time = time;
      unlink(visit, tenant);
    }
    const { head } = tenant;
    visit.newer = head;
    visit.older = head.older;
    if (head.older === undefined) tenant.tail = visit;
    else head.older.newer = visit;
    head.older = visit;
  }
}

function unlink(visit: Visit, tenant: Tenant): void {
  if (tenant.tail === visit) tenant.tail = visit.newer ?? tenant.head;
  if (visit.newer !== undefined) visit.newer.older = visit.older;
  if (visit.older !== undefined) visit.older.newer = visit.newer;
}

function dropVisit(node: TreeNode, name: string): void {
  node.visits.delete(name);
  if (node.visits.size === 0) node.parent?.children.delete(firstCodePoint(node));
}

function snapshotOf(node: TreeNode): PrefixTreeSnapshot {
  return {
    text: node.text,
    tenants: Object.fromEntries([...node.visits].map(([name, visit]) => [name, visit.time])),
    children: Array.from(node.children.values(), snapshotOf),
  };
}

function firstCodePoint(node: TreeNode): number {
  return node.text.codePointAt(0) as number;
}
