/** Structured clones (HTML, section 2.7). The host copies what ECMAScript has; here is what becomes of the runtime's own objects. */
import {
  ArrayPrototypePush,
  isArrayBuffer,
  ObjectGetPrototypeOf,
  ObjectPrototypeHasOwnProperty,
} from "./internal/primordials.ts";
import { isInterfacePrototype, requireArguments, toDictionary } from "./internal/webidl.ts";
import { copyException, DOMException, isDOMException } from "./dom/exception.ts";
import { copyBlob } from "./fetch/blob.ts";
import { transferableStreams } from "./streams/transferable.ts";
import * as ops from "./host.ts";

/** Objects of one kind that can be given away. */
export interface TransferableKind {
  owns(value: object): boolean;
  /** What the receiver gets. Throws a "DataCloneError" when the object cannot be given away now. */
  begin(value: object): object;
  /** `to` takes the place of `from`. Throws a "DataCloneError" when the copying has made that impossible. */
  finish(from: object, to: object): void;
}

const kinds: TransferableKind[] = [transferableStreams];
/** Each gives a copy of an object of one kind, or undefined. */
const copiers: ((value: object) => object | undefined)[] = [copyBlob];

export function addTransferable(kind: TransferableKind): void {
  ArrayPrototypePush(kinds, kind);
}

export function addCloneable(copy: (value: object) => object | undefined): void {
  ArrayPrototypePush(copiers, copy);
}

function refuse(message: string): DOMException {
  return new DOMException(message, "DataCloneError");
}

function kindOf(value: object): TransferableKind | undefined {
  for (let i = 0; i < kinds.length; i++) if (kinds[i]!.owns(value)) return kinds[i];
  return undefined;
}

/** A sequence of objects, as WebIDL converts it. */
export function toTransferList(given: unknown): object[] {
  const list: object[] = [];
  if (given === undefined) return list;
  if (typeof given !== "object" || given === null) throw new TypeError("The list of what is transferred is no sequence.");
  for (const item of given as Iterable<unknown>) {
    if ((typeof item !== "object" && typeof item !== "function") || item === null) {
      throw new TypeError("Only objects can be transferred.");
    }
    ArrayPrototypePush(list, item);
  }
  return list;
}

/** StructuredSerializeWithTransfer and its way back. `received` is what came out of `list`, buffers left out. */
export function cloneWithTransfer(value: unknown, list: object[]): { value: unknown; received: object[] } {
  const buffers: ArrayBuffer[] = [];
  const given: object[] = [];
  const received: object[] = [];
  const kindsOfGiven: TransferableKind[] = [];
  for (let i = 0; i < list.length; i++) {
    const item = list[i]!;
    for (let j = 0; j < i; j++) if (list[j] === item) throw refuse("Something is to be transferred twice.");
    if (isArrayBuffer(item)) {
      ArrayPrototypePush(buffers, item);
      continue;
    }
    const kind = kindOf(item);
    if (kind === undefined) throw refuse("Only ArrayBuffers, MessagePorts and streams can be transferred.");
    ArrayPrototypePush(given, item);
    ArrayPrototypePush(kindsOfGiven, kind);
    ArrayPrototypePush(received, kind.begin(item));
  }
  const host = (object: object): object | undefined => {
    for (let i = 0; i < given.length; i++) if (given[i] === object) return received[i];
    for (let i = 0; i < copiers.length; i++) {
      const copy = copiers[i]!(object);
      if (copy !== undefined) return copy;
    }
    if (kindOf(object) !== undefined) throw refuse("The object can only be transferred: name it in the list of what is.");
    if (isPlatformObject(object)) throw refuse("The object cannot be cloned.");
    return undefined;
  };
  let copy: unknown;
  if (isDOMException(value) && list.length === 0) {
    copy = copyException(value);
  } else {
    try {
      copy = ops.structuredClone(value, buffers, host);
    } catch (error) {
      throw isCloneFailure(error) ? refuse(error.message) : error;
    }
  }
  for (let i = 0; i < given.length; i++) kindsOfGiven[i]!.finish(given[i]!, received[i]!);
  return { value: copy, received };
}

/** Whether it is the host that refused, rather than a getter. */
function isCloneFailure(error: unknown): error is Error {
  return (
    typeof error === "object" &&
    error !== null &&
    !isDOMException(error) &&
    ObjectPrototypeHasOwnProperty(error, "name") &&
    (error as Error).name === "DataCloneError"
  );
}

function isPlatformObject(object: object): boolean {
  for (let at = ObjectGetPrototypeOf(object) as object | null; at !== null; at = ObjectGetPrototypeOf(at)) {
    if (isInterfacePrototype(at)) return true;
  }
  return false;
}

export function structuredClone(value: unknown, options?: { transfer?: Iterable<unknown> }): unknown {
  requireArguments(arguments.length, 1, "structuredClone");
  const { transfer } = toDictionary<{ transfer: unknown }>(options, "structuredClone options");
  return cloneWithTransfer(value, toTransferList(transfer)).value;
}
