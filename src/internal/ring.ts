/**
 * A link of a ring: of those that come and go all the time, and are never looked for. A set would be rebuilt again and
 * again.
 *
 * A link of its own, which stands for nothing, is where a ring begins and ends.
 */
export class RingLink {
  previous: RingLink = this;
  next: RingLink = this;

  insertBefore(next: RingLink): void {
    this.next = next;
    this.previous = next.previous;
    this.previous.next = this;
    next.previous = this;
  }

  /** Safe to call when it is in no ring. */
  remove(): void {
    this.previous.next = this.next;
    this.next.previous = this.previous;
    this.previous = this;
    this.next = this;
  }
}
