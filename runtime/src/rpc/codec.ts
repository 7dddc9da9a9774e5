/**
 * What values become on their way: data is copied by V8's serialiser; a function, an `RpcTarget`, a stub, a service binding, a
 * stream, a `Request`, a `Response`, a `Headers`, a `Blob` or a `File` leaves a hole, and stands in a list of specials:
 * `[container, key, what]`. What another worker has still to answer is waited for.
 *
 *   t id                            something to be called
 *   m id                            something that the receiver showed
 *   r id, w id                      a stream, read and written by calls
 *   h head                          Headers
 *   q method url head body          Request; body: nothing, text, bytes, or the number of a stream
 *   p status head body              Response
 *   b type bytes                    Blob
 *   f type bytes name time          File
 */
import {
  ArrayIsArray,
  ArrayPrototypePush,
  MapPrototypeForEach,
  MapPrototypeGet,
  MapPrototypeGetSize,
  MapPrototypeSet,
  NativeMap,
  ObjectDefineProperty,
  ObjectGetPrototypeOf,
  ObjectKeys,
  ObjectPrototype,
  SetPrototypeForEach,
  SetPrototypeGetSize,
  TypedArrayPrototypeSlice,
} from "../internal/primordials.ts";
import { isTarget } from "../worker/entrypoint.ts";
import { isService } from "../worker/service.ts";
import { DOMException } from "../dom/exception.ts";
import { alreadyUsed, CONSUMED, isUnusable, type RawBody } from "../fetch/body.ts";
import { blobBytes, blobType, fileName, fileTime, isBlob, isFile, newBlob, newFile } from "../fetch/blob.ts";
import { fromHead, isHeaders, toHead } from "../fetch/headers.ts";
import { isRequest, markRequestUsed, partsOf, Request } from "../fetch/request.ts";
import { fromFetch, headOf, isResponse, markUsed, rawBodyOf, statusOf } from "../fetch/response.ts";
import { IncomingBody } from "../streams/incoming.ts";
import { isReadableStream, type ReadableStream } from "../streams/streams.ts";
import type { Session } from "./session.ts";
import { isWritableStream, readableFrom, sinkOf, sourceOf, writableTo } from "./streams.ts";
import { type Base, baseOf, makeStub, pendingOf } from "./stub.ts";

export type Special = [container: object, key: unknown, what: unknown[]];

const CLONE_ERROR = "DataCloneError";

/** Values on their way. */
export interface Prepared {
  /** A copy of the list that V8 can serialise. */
  readonly list: unknown[];
  /** Fulfilled when what is still to be answered stands in it, too. */
  readonly wait: Promise<void> | undefined;
}

/** Prepares values to be sent; what V8 cannot serialise goes into `specials`. */
export function prepare(session: Session, values: unknown[], specials: Special[]): Prepared {
  const copies = new NativeMap<object, object>();
  const waiting: { value: Promise<unknown>; container: object; key: unknown }[] = [];

  function copy(value: unknown, container: object, key: unknown): unknown {
    if ((typeof value !== "object" || value === null) && typeof value !== "function") return value;
    const known = MapPrototypeGet(copies, value);
    if (known !== undefined) return known;
    const pending = pendingOf(value);
    if (pending !== undefined) {
      ArrayPrototypePush(waiting, { value: pending, container, key });
      return undefined;
    }
    const what = describe(session, value);
    if (what !== undefined) {
      ArrayPrototypePush(specials, [container, key, what]);
      return undefined;
    }
    if (ArrayIsArray(value)) return copyList(value);
    const prototype = ObjectGetPrototypeOf(value);
    if (prototype === null || prototype === ObjectPrototype) {
      const result = {};
      MapPrototypeSet(copies, value, result);
      const keys = ObjectKeys(value);
      for (let i = 0; i < keys.length; i++) {
        const name = keys[i]!;
        put(result, name, copy((value as Record<string, unknown>)[name], result, name));
      }
      return result;
    }
    if (isCollection(value, MapPrototypeGetSize)) {
      const result = new NativeMap<unknown, unknown>();
      MapPrototypeSet(copies, value, result);
      MapPrototypeForEach(value as Map<unknown, unknown>, (item: unknown, name: unknown) => {
        const at = copyData(name);
        MapPrototypeSet(result, at, copy(item, result, at));
      });
      return result;
    }
    if (isCollection(value, SetPrototypeGetSize)) {
      // What is in it has no key by which it could be found again.
      SetPrototypeForEach(value as Set<unknown>, (item: unknown) => void copyData(item));
    }
    return value;
  }

  function copyList(from: readonly unknown[]): unknown[] {
    const result: unknown[] = [];
    MapPrototypeSet(copies, from as object, result);
    for (let i = 0; i < from.length; i++) put(result, i, copy(from[i], result, i));
    return result;
  }

  /** Of a key of a map or a member of a set. */
  function copyData(value: unknown): unknown {
    const before = specials.length + waiting.length;
    const result = copy(value, copies, undefined);
    if (specials.length + waiting.length > before) {
      throw new DOMException("Keys of a Map and members of a Set must be data to be sent to another worker.", CLONE_ERROR);
    }
    return result;
  }

  async function settle(): Promise<void> {
    for (let i = 0; i < waiting.length; i++) {
      const { value, container, key } = waiting[i]!;
      place(container, key, copy(await value, container, key));
    }
  }

  const list = copyList(values);
  return { list, wait: waiting.length > 0 ? settle() : undefined };
}

/** Puts a value where it belongs: into a map, a list or an object. */
function place(container: object, key: unknown, value: unknown): void {
  if (isCollection(container, MapPrototypeGetSize)) MapPrototypeSet(container as Map<unknown, unknown>, key, value);
  else if (typeof key === "string" || typeof key === "number") put(container, key, value);
  else throw new TypeError("no key");
}

function put(target: object, key: string | number, value: unknown): void {
  ObjectDefineProperty(target, key, { value, writable: true, enumerable: true, configurable: true });
}

function isCollection(value: object, sizeOf: (value: unknown) => number): boolean {
  try {
    sizeOf(value);
    return true;
  } catch {
    return false;
  }
}

/** What of a value is sent in its stead; undefined for data. */
function describe(session: Session, value: object): unknown[] | undefined {
  if (typeof value === "function") {
    const base = baseOf(value);
    if (base === undefined) return ["t", session.show(value)];
    const id = session.numberOf(base);
    return id === undefined ? ["t", session.show(makeStub(base.dup()))] : ["m", id];
  }
  if (isTarget(value) || isService(value)) return ["t", session.show(value)];
  if (isHeaders(value)) return ["h", toHead(value as never)];
  if (isRequest(value)) {
    const { raw, headers } = partsOf(value);
    const body = describeBody(session, raw);
    markRequestUsed(value);
    return ["q", value.method, value.url, toHead(headers), body];
  }
  if (isResponse(value)) {
    const body = describeBody(session, rawBodyOf(value));
    const what = ["p", statusOf(value), headOf(value), body];
    if (body !== null) markUsed(value);
    return what;
  }
  const prototype = ObjectGetPrototypeOf(value);
  if (prototype === null || prototype === ObjectPrototype || ArrayIsArray(value)) return undefined;
  if (isBlob(value)) {
    // Alone, not as a view of what else may be in its memory.
    const what = [isFile(value) ? "f" : "b", blobType(value), TypedArrayPrototypeSlice(blobBytes(value))];
    if (isFile(value)) ArrayPrototypePush(what, fileName(value), fileTime(value));
    return what;
  }
  if (isReadableStream(value)) return ["r", session.show(sourceOf(value))];
  if (isWritableStream(value)) return ["w", session.show(sinkOf(value))];
  return undefined;
}

function describeBody(session: Session, raw: RawBody): unknown {
  if (raw === null || typeof raw === "string" || raw instanceof Uint8Array) return raw;
  if (raw === CONSUMED || isUnusable(raw)) throw alreadyUsed();
  const stream = raw instanceof IncomingBody ? raw.toStream() : (raw as ReadableStream<unknown>);
  return session.show(sourceOf(stream));
}

/** Puts the specials into their places. Throws for what makes no sense: the list comes from elsewhere. */
export function attach(session: Session, specials: unknown[], stubs: Base[]): void {
  for (let i = 0; i < specials.length; i++) {
    const special = specials[i];
    if (!ArrayIsArray(special) || !ArrayIsArray(special[2])) throw new TypeError("no special");
    const [container, key] = special as [unknown, unknown];
    if (typeof container !== "object" || container === null) throw new TypeError("no container");
    const value = build(session, special[2], stubs);
    place(container, key, value);
  }
}

function build(session: Session, what: unknown[], stubs: Base[]): unknown {
  const [kind, first] = what;
  switch (kind) {
    case "t": {
      const base = session.adopt(id(first));
      ArrayPrototypePush(stubs, base);
      return makeStub(base);
    }
    case "m": {
      const shown = session.shown(id(first));
      if (shown === undefined || first === 0) throw new TypeError("no such export");
      return shown;
    }
    case "r":
      return readableFrom(session.adopt(id(first)));
    case "w":
      return writableTo(session.adopt(id(first)));
    case "h":
      return fromHead(text(first), false);
    case "q": {
      const body = buildBody(session, what[4]);
      return new Request(text(what[2]), {
        method: text(first),
        headers: fromHead(text(what[3]), false),
        body: body as never,
        redirect: "manual",
        duplex: "half",
      });
    }
    case "p": {
      if (typeof first !== "number" || first < 200 || first > 599) throw new TypeError("no status");
      return fromFetch(first, text(what[2]), buildBody(session, what[3]), "", false);
    }
    case "b":
      return newBlob(bytes(what[2]), text(first));
    case "f": {
      const time = what[4];
      if (typeof time !== "number") throw new TypeError("no time");
      return newFile(bytes(what[2]), text(what[3]), text(first), time);
    }
    default:
      throw new TypeError("no such special");
  }
}

function buildBody(session: Session, body: unknown): RawBody {
  if (body === null || typeof body === "string") return body;
  if (body instanceof Uint8Array) return body as Uint8Array<ArrayBuffer>;
  return readableFrom(session.adopt(id(body)));
}

function id(value: unknown): number {
  if (typeof value !== "number" || value < 0) throw new TypeError("no number");
  return value;
}

function bytes(value: unknown): Uint8Array<ArrayBuffer> {
  if (!(value instanceof Uint8Array)) throw new TypeError("no bytes");
  return value as Uint8Array<ArrayBuffer>;
}

function text(value: unknown): string {
  if (typeof value !== "string") throw new TypeError("no text");
  return value;
}
