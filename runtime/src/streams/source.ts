/** Where the chunks of a readable stream come from. */
import { MathTrunc } from "../internal/primordials.ts";
import { toDictionary } from "../internal/webidl.ts";
import { invoke, type Outcome, type Result } from "./promises.ts";

/** What a controller asks of its source. */
export interface Source {
  /** `PENDING` promises a later call of the controller's `pulled` or `error`. */
  pull(): Result;
  cancel(reason: unknown): Outcome;
}

/** A source that never gives anything by itself. */
export const SILENT: Source = {
  pull: () => undefined,
  cancel: () => undefined,
};

export interface SourceMembers {
  autoAllocateChunkSize: unknown;
  cancel: unknown;
  pull: unknown;
  start: unknown;
  type: unknown;
}

export interface KnownMembers {
  autoAllocateChunkSize: number | undefined;
  cancel: Function | undefined;
  pull: Function | undefined;
  start: Function | undefined;
  bytes: boolean;
}

export function toCallback(value: unknown, what: string): Function | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== "function") throw new TypeError(`${what} must be a function.`);
  return value;
}

/** WebIDL's `[EnforceRange] unsigned long long`. */
export function toSize(value: unknown, what: string): number {
  const whole = MathTrunc(+(value as number));
  if (!(whole >= 0 && whole <= 0x1fffffffffffff)) throw new TypeError(`${what} must be a whole number from 0 to 2^53 - 1.`);
  return whole + 0;
}

/** Reads an underlying source, in WebIDL's order. */
export function readSource(given: unknown): KnownMembers {
  const source = toDictionary<SourceMembers>(given, "An underlying source");
  const { autoAllocateChunkSize, cancel, pull, start, type } = source;
  const members: KnownMembers = {
    autoAllocateChunkSize:
      autoAllocateChunkSize === undefined ? undefined : toSize(autoAllocateChunkSize, "autoAllocateChunkSize"),
    cancel: toCallback(cancel, "cancel"),
    pull: toCallback(pull, "pull"),
    start: toCallback(start, "start"),
    bytes: false,
  };
  if (type !== undefined) {
    if (`${type as string}` !== "bytes") throw new TypeError('The type of an underlying source can only be "bytes".');
    members.bytes = true;
  }
  return members;
}

/** A source that user code wrote. */
export class UserSource implements Source {
  #object: unknown;
  #pull: Function | undefined;
  #cancel: Function | undefined;
  /** What the functions are given; set before the first call. */
  controller: object | undefined = undefined;

  constructor(object: unknown, members: KnownMembers) {
    this.#object = object;
    this.#pull = members.pull;
    this.#cancel = members.cancel;
  }

  pull(): Outcome {
    if (this.#pull === undefined) return undefined;
    return invoke(this.#pull, this.#object, [this.controller]);
  }

  cancel(reason: unknown): Outcome {
    if (this.#cancel === undefined) return undefined;
    return invoke(this.#cancel, this.#object, [reason]);
  }
}
