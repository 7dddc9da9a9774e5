/** What `Request` and `Response` share: their bodies. */
import {
  bytesOf,
  JSONParse,
  ObjectDefineProperty,
  ObjectGetOwnPropertyDescriptor,
  ReflectOwnKeys,
  StringPrototypeIndexOf,
  StringPrototypeSlice,
  StringPrototypeToLowerCase,
  StringPrototypeToWellFormed,
  StringPrototypeTrim,
  TypedArrayPrototypeSlice,
} from "../internal/primordials.ts";
import { toUSVString } from "../internal/webidl.ts";
import { IncomingBody } from "../streams/incoming.ts";
import {
  collectBytes,
  isDisturbed,
  isLocked,
  isReadableStream,
  type ReadableStream,
  streamOf,
  tee,
  usedStream,
} from "../streams/streams.ts";
import { isParams } from "../url/search-params.ts";
import * as ops from "../host.ts";
import { type Blob, blobBytes, isBlob, newBlob } from "./blob.ts";
import { FormData, isFormData } from "./form-data.ts";
import { parseMultipart, serializeMultipart } from "./multipart.ts";
import { parseUrlEncoded } from "../url/search-params.ts";

/** In the place of a body that was read without ever having been a stream. */
export const CONSUMED: unique symbol = Symbol("consumed");

/**
 * A body in the cheapest form that will do: text and bytes stay what they are, and become a stream only when user
 * code asks for `body`.
 */
export type RawBody =
  | null
  | string
  | Uint8Array<ArrayBuffer>
  | IncomingBody
  | ReadableStream<unknown>
  | typeof CONSUMED;

export const TEXT_TYPE = "text/plain;charset=UTF-8";
const FORM_TYPE = "application/x-www-form-urlencoded;charset=UTF-8";

/** The content type that `extractBody` found out last; undefined when the body has none. */
export let extractedType: string | undefined;

/** The body that an argument stands for. Sets `extractedType`. */
export function extractBody(value: unknown): RawBody {
  if (typeof value === "string") {
    extractedType = TEXT_TYPE;
    return value;
  }
  extractedType = undefined;
  if (value === null || value === undefined) return null;
  if (typeof value === "object") {
    const bytes = bytesOf(value);
    // A copy: the caller may go on writing to it.
    if (bytes !== undefined) return TypedArrayPrototypeSlice(bytes);
    if (isReadableStream(value)) {
      if (isLocked(value) || isDisturbed(value)) throw new TypeError("The stream is locked or was read from already.");
      return value;
    }
    if (isBlob(value)) {
      if (value.type !== "") extractedType = value.type;
      return blobBytes(value);
    }
    if (isParams(value)) {
      extractedType = FORM_TYPE;
      return value.toString();
    }
    if (isFormData(value)) {
      const { bytes, type } = serializeMultipart(value);
      extractedType = type;
      return bytes;
    }
  }
  extractedType = TEXT_TYPE;
  return toUSVString(value);
}

/** Whether somebody has read from it or is about to. */
export function isUnusable(raw: RawBody): boolean {
  if (raw === null || typeof raw === "string") return false;
  if (raw === CONSUMED) return true;
  return isReadableStream(raw) && (isDisturbed(raw) || isLocked(raw));
}

export function alreadyUsed(): TypeError {
  return new TypeError("The body has been read already, or its stream is locked.");
}

/** How the mixin reaches into the class that it is mixed into; each throws for a strange object. */
export interface BodyAccess<T> {
  get(owner: T): RawBody;
  set(owner: T, raw: RawBody): void;
  contentType(owner: T): string | null;
}

/**
 * Adds `body`, `bodyUsed` and the reading methods to a class. Async functions here never return a promise without awaiting
 * it: to resolve with a promise looks up its `then`, which a worker may have replaced.
 */
export function installBody<T extends object>(prototype: T, access: BodyAccess<T>): void {
  /** Takes the body out; it counts as used from now on. */
  function take(owner: T): RawBody {
    const raw = access.get(owner);
    if (isUnusable(raw)) throw alreadyUsed();
    if (raw !== null && !isReadableStream(raw)) access.set(owner, CONSUMED);
    return raw;
  }

  async function takeBytes(owner: T): Promise<Uint8Array<ArrayBuffer>> {
    const raw = take(owner);
    if (raw === null) return new Uint8Array(0);
    if (typeof raw === "string") return ops.encodeUtf8(raw);
    if (raw instanceof IncomingBody) return await raw.collect();
    if (isReadableStream(raw)) return await collectBytes(raw);
    // Copied, for blobs and clones share theirs.
    return TypedArrayPrototypeSlice(raw as Uint8Array);
  }

  async function takeText(owner: T): Promise<string> {
    const raw = access.get(owner);
    if (typeof raw === "string") {
      access.set(owner, CONSUMED);
      return StringPrototypeToWellFormed(raw);
    }
    return ops.decodeUtf8(await takeBytes(owner), false, false);
  }

  const members = {
    get body(): ReadableStream<unknown> | null {
      const owner = this as unknown as T;
      const raw = access.get(owner);
      if (raw === null || isReadableStream(raw)) return raw;
      const stream = materialize(raw);
      access.set(owner, stream);
      return stream;
    },
    get bodyUsed(): boolean {
      const raw = access.get(this as unknown as T);
      return raw === CONSUMED || (isReadableStream(raw) && isDisturbed(raw));
    },
    async arrayBuffer(): Promise<ArrayBuffer> {
      return (await takeBytes(this as unknown as T)).buffer;
    },
    async blob(): Promise<Blob> {
      const owner = this as unknown as T;
      const type = access.contentType(owner) ?? "";
      return newBlob(await takeBytes(owner), type);
    },
    async bytes(): Promise<Uint8Array> {
      return await takeBytes(this as unknown as T);
    },
    async formData(): Promise<FormData> {
      const owner = this as unknown as T;
      const type = access.contentType(owner) ?? "";
      const semicolon = StringPrototypeIndexOf(type, ";");
      const essence = StringPrototypeToLowerCase(
        StringPrototypeTrim(semicolon < 0 ? type : StringPrototypeSlice(type, 0, semicolon)),
      );
      if (essence === "multipart/form-data") return parseMultipart(await takeBytes(owner), type);
      if (essence === "application/x-www-form-urlencoded") {
        const list = parseUrlEncoded(ops.decodeUtf8(await takeBytes(owner), false, true));
        const form = new FormData();
        for (let i = 0; i < list.length; i += 2) form.append(list[i]!, list[i + 1]);
        return form;
      }
      throw new TypeError(`A body of type "${type}" is no form.`);
    },
    async json(): Promise<unknown> {
      return JSONParse(await takeText(this as unknown as T));
    },
    async text(): Promise<string> {
      return await takeText(this as unknown as T);
    },
  };
  for (const key of ReflectOwnKeys(members)) {
    ObjectDefineProperty(prototype, key, ObjectGetOwnPropertyDescriptor(members, key)!);
  }
}

function materialize(raw: Exclude<RawBody, null | ReadableStream<unknown>>): ReadableStream<unknown> {
  if (raw instanceof IncomingBody) return raw.toStream();
  if (raw === CONSUMED) return usedStream();
  return streamOf(typeof raw === "string" ? ops.encodeUtf8(raw) : TypedArrayPrototypeSlice(raw as Uint8Array));
}

/** A body as a stream; null when there is none. */
export function streamOfBody(raw: RawBody): ReadableStream | null {
  if (raw === null) return null;
  return isReadableStream(raw) ? raw : materialize(raw as Exclude<RawBody, null | ReadableStream<unknown>>);
}

/** Two bodies out of one: for the original, and for its clone. */
export function cloneBody(raw: RawBody): [RawBody, RawBody] {
  if (isUnusable(raw)) throw alreadyUsed();
  if (raw instanceof IncomingBody) return tee(raw.toStream());
  if (isReadableStream(raw)) return tee(raw);
  return [raw, raw];
}
