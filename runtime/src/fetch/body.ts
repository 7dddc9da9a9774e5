/** What `Request` and `Response` share: their bodies. */
import {
  ArrayBufferPrototypeGetDetached,
  ArrayBufferPrototypeGetByteLength,
  bytesOf,
  JSONParse,
  NativeUint8Array,
  ObjectDefineProperty,
  ObjectGetOwnPropertyDescriptor,
  PromiseReject,
  PromiseResolve,
  ReflectOwnKeys,
  StringPrototypeCharCodeAt,
  StringPrototypeSlice,
  StringPrototypeToWellFormed,
  TypedArrayPrototypeGetBuffer,
  TypedArrayPrototypeGetByteLength,
  TypedArrayPrototypeSlice,
} from "../internal/primordials.ts";
import { toUSVString } from "../internal/webidl.ts";
import { loadPart } from "../internal/parts.ts";
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
import type { Convert } from "../streams/consume.ts";
import { isParams, parseUrlEncoded } from "../url/search-params.ts";
import * as ops from "../host.ts";
import { type Blob, blobBytes, blobType, isBlob, newBlob } from "./blob.ts";
import { appendEntry, FormData, isFormData } from "./form-data.ts";
import { extractMime, mimeParameter, serializeMime } from "./mime.ts";

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

const forms = () => loadPart<typeof import("../parts/forms.ts")>("forms");

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
    if (bytes !== undefined) return isDetached(bytes) ? new NativeUint8Array(0) : TypedArrayPrototypeSlice(bytes);
    if (isReadableStream(value)) {
      if (isLocked(value) || isDisturbed(value)) throw new TypeError("The stream is locked or was read from already.");
      return value;
    }
    if (isBlob(value)) {
      if (blobType(value) !== "") extractedType = blobType(value);
      return blobBytes(value);
    }
    if (isParams(value)) {
      extractedType = FORM_TYPE;
      return value.toString();
    }
    if (isFormData(value)) {
      const { bytes, type } = forms().serializeMultipart(value);
      extractedType = type;
      return bytes;
    }
  }
  extractedType = TEXT_TYPE;
  return toUSVString(value);
}

/** Of a view whose memory was given away nothing is left (Web IDL, "get a copy of the bytes"). */
function isDetached(view: Uint8Array<ArrayBuffer>): boolean {
  return ArrayBufferPrototypeGetDetached(TypedArrayPrototypeGetBuffer(view));
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

/** Text as it would be after it was encoded and decoded: without a byte order mark and lone surrogates. */
function asDecoded(text: string): string {
  const bare = StringPrototypeCharCodeAt(text, 0) === 0xfeff ? StringPrototypeSlice(text, 1) : text;
  return StringPrototypeToWellFormed(bare);
}

const toText = (bytes: Uint8Array<ArrayBuffer>): string => ops.decodeUtf8(bytes, false, false);
const toJson = (bytes: Uint8Array<ArrayBuffer>): unknown => JSONParse(toText(bytes));
const asIs = (text: string): string => text;
const parse = (text: string): unknown => JSONParse(text);
const toBytes = (bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> => bytes;
const toBuffer = (bytes: Uint8Array<ArrayBuffer>): ArrayBuffer =>
  // What came whole may be part of a larger buffer.
  TypedArrayPrototypeGetByteLength(bytes) === ArrayBufferPrototypeGetByteLength(TypedArrayPrototypeGetBuffer(bytes))
    ? TypedArrayPrototypeGetBuffer(bytes)
    : TypedArrayPrototypeGetBuffer(TypedArrayPrototypeSlice(bytes));

/** Adds `body`, `bodyUsed` and the reading methods to a class. */
export function installBody<T extends object>(prototype: T, access: BodyAccess<T>): void {
  /** Takes the body out; it counts as used from now on. Rejects at once when it is known already that reading fails. */
  function consume<R>(owner: T, convert: Convert<R>): Promise<R> {
    try {
      const raw = access.get(owner);
      if (isUnusable(raw)) throw alreadyUsed();
      if (raw !== null && isReadableStream(raw)) return collectBytes(raw, convert);
      if (raw instanceof IncomingBody) {
        if (raw.error !== undefined) throw raw.error;
        access.set(owner, CONSUMED);
        if ((convert as Convert<unknown>) === toText) return raw.collectText(asIs) as Promise<R>;
        if ((convert as Convert<unknown>) === toJson) return raw.collectText(parse) as Promise<R>;
        return raw.collect(convert);
      }
      if (raw === null) return PromiseResolve(convert(new NativeUint8Array(0)));
      access.set(owner, CONSUMED);
      if (typeof raw !== "string") {
        // Copied, for blobs and clones share theirs.
        return PromiseResolve(convert(TypedArrayPrototypeSlice(raw as Uint8Array)));
      }
      if ((convert as Convert<unknown>) === toText) return PromiseResolve(asDecoded(raw) as R);
      if ((convert as Convert<unknown>) === toJson) return PromiseResolve(JSONParse(asDecoded(raw)) as R);
      return PromiseResolve(convert(ops.encodeUtf8(raw)));
    } catch (error) {
      return PromiseReject(error);
    }
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
    arrayBuffer(): Promise<ArrayBuffer> {
      return consume(this as unknown as T, toBuffer);
    },
    blob(): Promise<Blob> {
      const owner = this as unknown as T;
      return consume(owner, (bytes) => newBlob(bytes, typeOf(access.contentType(owner))));
    },
    bytes(): Promise<Uint8Array> {
      return consume(this as unknown as T, toBytes);
    },
    formData(): Promise<FormData> {
      const owner = this as unknown as T;
      return consume(owner, (bytes) => toForm(bytes, access.contentType(owner) ?? ""));
    },
    json(): Promise<unknown> {
      return consume(this as unknown as T, toJson);
    },
    text(): Promise<string> {
      return consume(this as unknown as T, toText);
    },
  };
  for (const key of ReflectOwnKeys(members)) {
    ObjectDefineProperty(prototype, key, ObjectGetOwnPropertyDescriptor(members, key)!);
  }
}

/** The type of a body's blob: that of its content, in the form of the MIME Sniffing Standard. */
function typeOf(contentType: string | null): string {
  if (contentType === null) return "";
  const parsed = extractMime(contentType);
  return parsed === undefined ? "" : serializeMime(parsed);
}

/** Throws a `TypeError` for anything that is no form. */
function toForm(bytes: Uint8Array<ArrayBuffer>, contentType: string): FormData {
  const type = extractMime(contentType);
  if (type?.essence === "multipart/form-data") return forms().parseMultipart(bytes, mimeParameter(type, "boundary"));
  if (type?.essence === "application/x-www-form-urlencoded") {
    const list = parseUrlEncoded(ops.decodeUtf8(bytes, false, true));
    const form = new FormData();
    for (let i = 0; i < list.length; i += 2) appendEntry(form, list[i]!, list[i + 1]!);
    return form;
  }
  throw new TypeError(`A body of type "${contentType}" is no form.`);
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
