import type { LegTrace, RequestTrace, RoutingCandidate, RoutingChoice } from "./request-trace.ts";

/** Traces that share one piece of memory. */
const blockSize = 256;
const maxLegs = 2;
const maxCandidates = 4;
const maxScores = 4;
const legTexts = 6;
const legNumbers = 7;
/** Values of one trace: the places of all that an ordinary one can have. */
const valuesPerTrace = 8 + maxLegs * (legTexts + 3 * maxCandidates);
const numbersPerTrace = 10 + maxLegs * (legNumbers + (1 + maxScores) * maxCandidates);

interface Block {
  /** Texts, and objects that many traces share. */
  readonly values: unknown[];
  /** NaN stands for undefined. */
  readonly numbers: Float64Array;
}

type Names = readonly string[];

/**
 * Traces as rows of texts and numbers, in numbered places.
 *
 * An object that outlives the next collection is copied by it, twice, and looked at by every full collection after
 * that. A trace is about forty objects: kept as such, a thousand of them cost a sixth of a small request.
 */
export class PackedTraces {
  readonly #blocks: (Block | undefined)[] = [];
  /** Names of scores, which are the same for every choice of a router. */
  readonly #names: Names[] = [];
  #block: Block | undefined;
  #value = 0;
  #number = 0;

  /**
   * Keeps a trace in a place, instead of what was there.
   *
   * @returns false when it is not an ordinary one (one that was tried again, for one), which is then not kept
   */
  set(place: number, trace: RequestTrace): boolean {
    if (!isOrdinary(trace)) return false;
    this.#go(place);
    this.#writeValue(trace.requestId);
    this.#writeValue(trace.deployment);
    this.#writeValue(trace.model);
    this.#writeValue(trace.method);
    this.#writeValue(trace.mode);
    this.#writeValue(trace.reason);
    this.#writeValue(trace.outcome);
    this.#writeValue(trace.errorCode);
    this.#writeNumber(trace.stream ? 1 : 0);
    this.#writeNumber(trace.startedWallMs);
    this.#writeNumber(trace.leasedMs);
    this.#writeNumber(trace.firstTokenMs);
    this.#writeNumber(trace.endMs);
    this.#writeNumber(trace.events);
    this.#writeNumber(trace.usage?.promptTokens);
    this.#writeNumber(trace.usage?.completionTokens);
    this.#writeNumber(trace.usage?.cachedTokens);
    this.#writeNumber(trace.legs.length);
    for (const leg of trace.legs) this.#writeLeg(leg);
    return true;
  }

  /** The trace in a place, made anew. The place must have one. */
  get(place: number): RequestTrace {
    this.#go(place);
    const requestId = this.#readValue() as string;
    const deployment = this.#readValue() as string;
    const model = this.#readValue() as string;
    const method = this.#readValue() as string;
    const mode = this.#readValue() as RequestTrace["mode"];
    const reason = this.#readValue() as RequestTrace["reason"];
    const outcome = this.#readValue() as RequestTrace["outcome"];
    const errorCode = this.#readValue() as RequestTrace["errorCode"];
    const stream = this.#readNumber() === 1;
    const startedWallMs = this.#readNumber()!;
    const leasedMs = this.#readNumber();
    const firstTokenMs = this.#readNumber();
    const endMs = this.#readNumber();
    const events = this.#readNumber();
    const promptTokens = this.#readNumber();
    const completionTokens = this.#readNumber()!;
    const cachedTokens = this.#readNumber();
    const usage = promptTokens === undefined ? undefined : { promptTokens, completionTokens, cachedTokens };
    const legs = Array.from({ length: this.#readNumber()! }, () => this.#readLeg());
    return {
      requestId,
      deployment,
      model,
      method,
      stream,
      startedWallMs,
      mode,
      reason,
      leasedMs,
      firstTokenMs,
      endMs,
      retries: 0,
      retryCauses: [],
      legs,
      events,
      usage,
      outcome,
      errorCode,
    };
  }

  /** Of the trace in a place. */
  requestId(place: number): unknown {
    const block = this.#blocks[Math.floor(place / blockSize)];
    return block?.values[(place % blockSize) * valuesPerTrace];
  }

  #writeLeg(leg: LegTrace): void {
    this.#writeValue(leg.leg);
    this.#writeValue(leg.deployment);
    this.#writeValue(leg.replica);
    this.#writeValue(leg.publicName);
    this.#writeValue(leg.engineRequestId);
    this.#writeValue(leg.failure);
    this.#writeNumber(leg.sentMs);
    this.#writeNumber(leg.answeredMs);
    this.#writeNumber(leg.endMs);
    this.#writeNumber(leg.clientFault ? 1 : 0);
    this.#writeNumber(leg.choice?.ranked.length);
    if (leg.choice === undefined) return;
    this.#writeNumber(leg.choice.considered);
    this.#writeNumber(leg.choice.queuedMs);
    for (const { replica, inFlight, engineLoad, scores } of leg.choice.ranked) {
      this.#writeValue(replica);
      this.#writeValue(engineLoad);
      this.#writeValue(scores === undefined ? undefined : this.#namesOf(scores));
      this.#writeNumber(inFlight);
      for (const name in scores) this.#writeNumber(scores[name]);
    }
  }

  #readLeg(): LegTrace {
    const leg = this.#readValue() as LegTrace["leg"];
    const deployment = this.#readValue() as string;
    const replica = this.#readValue() as string;
    const publicName = this.#readValue() as string;
    const engineRequestId = this.#readValue() as string;
    const failure = this.#readValue() as LegTrace["failure"];
    const sentMs = this.#readNumber()!;
    const answeredMs = this.#readNumber();
    const endMs = this.#readNumber();
    const clientFault = this.#readNumber() === 1;
    const choice = this.#readChoice(this.#readNumber());
    return {
      leg,
      deployment,
      replica,
      publicName,
      engineRequestId,
      choice,
      sentMs,
      answeredMs,
      endMs,
      failure,
      clientFault,
    };
  }

  #readChoice(candidates: number | undefined): RoutingChoice | undefined {
    if (candidates === undefined) return undefined;
    const considered = this.#readNumber()!;
    const queuedMs = this.#readNumber()!;
    return {
      considered,
      ranked: Array.from({ length: candidates }, () => this.#readCandidate()),
      queuedMs,
    };
  }

  #readCandidate(): RoutingCandidate {
    const replica = this.#readValue() as string;
    const engineLoad = this.#readValue() as RoutingCandidate["engineLoad"];
    const names = this.#readValue() as Names | undefined;
    const inFlight = this.#readNumber()!;
    const scores = names && Object.fromEntries(names.map((name) => [name, this.#readNumber()!]));
    return { replica, inFlight, engineLoad, scores };
  }

  #namesOf(scores: Readonly<Record<string, number>>): Names {
    for (const known of this.#names) if (hasNames(scores, known)) return known;
    const names = Object.keys(scores);
    if (this.#names.length < 16) this.#names.push(names);
    return names;
  }

  #go(place: number): void {
    const index = Math.floor(place / blockSize);
    this.#block = this.#blocks[index] ??= {
      values: Array.from({ length: blockSize * valuesPerTrace }, () => undefined),
      numbers: new Float64Array(blockSize * numbersPerTrace),
    };
    this.#value = (place % blockSize) * valuesPerTrace;
    this.#number = (place % blockSize) * numbersPerTrace;
  }

  #writeValue(value: unknown): void {
    this.#block!.values[this.#value] = value;
    this.#value += 1;
  }

  #readValue(): unknown {
    this.#value += 1;
    return this.#block!.values[this.#value - 1];
  }

  #writeNumber(value: number | undefined): void {
    this.#block!.numbers[this.#number] = value ?? NaN;
    this.#number += 1;
  }

  #readNumber(): number | undefined {
    const value = this.#block!.numbers[this.#number]!;
    this.#number += 1;
    return Number.isNaN(value) ? undefined : value;
  }
}

function isOrdinary({ retries, retryCauses, legs }: RequestTrace): boolean {
  return retries === 0 && retryCauses.length === 0 && legs.length <= maxLegs && legs.every(hasOrdinaryChoice);
}

function hasOrdinaryChoice({ choice }: LegTrace): boolean {
  return choice === undefined || (choice.ranked.length <= maxCandidates && choice.ranked.every(hasFewScores));
}

/** Routers of users may tell anything. */
function hasFewScores({ scores }: RoutingCandidate): boolean {
  let count = 0;
  for (const name in scores) {
    count += 1;
    if (count > maxScores || !Number.isFinite(scores[name])) return false;
  }
  return true;
}

function hasNames(scores: Readonly<Record<string, number>>, names: Names): boolean {
  let count = 0;
  for (const name in scores) {
    if (names[count] !== name) return false;
    count += 1;
  }
  return count === names.length;
}
