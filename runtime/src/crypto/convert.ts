/** WebIDL's conversions as Web Cryptography uses them. */
import {
  ArrayBufferIsView,
  ArrayPrototypePush,
  bytesOf,
  isArrayBuffer,
  MathTrunc,
  NativeUint8Array,
  NumberIsFinite,
  ObjectCreate,
  TypedArrayPrototypeGetTag,
} from "../internal/primordials.ts";
import type { Bytes } from "../ops.d.ts";

export type Source = Record<string, unknown>;

export function isObject(value: unknown): value is Source {
  return (typeof value === "object" && value !== null) || typeof value === "function";
}

export function toText(value: unknown): string {
  return typeof value === "string" ? value : `${value as string}`;
}

/** `[EnforceRange]` on an unsigned integer. */
export function toInteger(value: unknown, max: number, what: string): number {
  const number = MathTrunc(+(value as number)) + 0;
  if (!NumberIsFinite(number) || number < 0 || number > max) {
    throw new TypeError(`${what} must be a whole number from 0 to ${max}.`);
  }
  return number;
}

export function isBufferSource(value: unknown): value is Bytes {
  return ArrayBufferIsView(value) || isArrayBuffer(value);
}

/** `BufferSource`, not copied yet. */
export function toBufferSource(value: unknown, what: string): Bytes {
  if (!isBufferSource(value)) throw new TypeError(`${what} must be an ArrayBuffer or a view of one.`);
  return value;
}

/** A copy of the bytes; of what is detached there are none. */
export function copyBytes(source: Bytes): Uint8Array<ArrayBuffer> {
  try {
    return new NativeUint8Array(bytesOf(source)!);
  } catch {
    return new NativeUint8Array(0);
  }
}

/** A copy of a `BufferSource`. */
export function toBytes(value: unknown, what: string): Uint8Array<ArrayBuffer> {
  return copyBytes(toBufferSource(value, what));
}

/** A copy of a `BigInteger`. */
export function toBigInteger(value: unknown, what: string): Uint8Array<ArrayBuffer> {
  if (!ArrayBufferIsView(value) || TypedArrayPrototypeGetTag(value) !== "Uint8Array") {
    throw new TypeError(`${what} must be a Uint8Array.`);
  }
  return copyBytes(value);
}

/** A sequence of strings. */
export function toTexts(value: unknown, what: string): string[] {
  if (!isObject(value)) throw new TypeError(`${what} must be an array.`);
  const list: string[] = [];
  // The value's own iterator decides, as WebIDL says.
  for (const item of value as unknown as Iterable<unknown>) ArrayPrototypePush(list, toText(item));
  return list;
}

/** The members of a JSON Web Key that mean something here; absent ones are undefined. */
export interface Jwk {
  alg?: string;
  crv?: string;
  d?: string;
  dp?: string;
  dq?: string;
  e?: string;
  ext?: boolean;
  k?: string;
  key_ops?: string[];
  kty?: string;
  n?: string;
  oth?: unknown;
  p?: string;
  q?: string;
  qi?: string;
  use?: string;
  x?: string;
  y?: string;
}

/** In the order in which WebIDL reads a dictionary. */
const JWK_MEMBERS = [
  "alg", "crv", "d", "dp", "dq", "e", "ext", "k", "key_ops", "kty", "n", "oth", "p", "q", "qi", "use", "x", "y",
] as const;

/** The dictionary `JsonWebKey`. */
export function toJwk(value: unknown): Jwk {
  if (!isObject(value)) throw new TypeError("A JSON Web Key must be an object.");
  const jwk = ObjectCreate(null) as Record<string, unknown>;
  for (let i = 0; i < JWK_MEMBERS.length; i++) {
    const name = JWK_MEMBERS[i]!;
    const member = value[name];
    if (member === undefined) continue;
    if (name === "ext") jwk.ext = !!member;
    else if (name === "key_ops") jwk.key_ops = toTexts(member, "key_ops");
    else if (name === "oth") jwk.oth = member;
    else jwk[name] = toText(member);
  }
  return jwk as Jwk;
}
