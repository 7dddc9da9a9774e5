/** `CryptoKey`. */
import { ArrayPrototypeJoin, ArrayPrototypePush, NativeUint8Array, StringPrototypeSlice } from "../internal/primordials.ts";
import { finishInterface, illegalConstructor, INTERNAL } from "../internal/webidl.ts";
import { addCloneable } from "../structured-clone.ts";
import { syntaxError } from "./errors.ts";
import { toTexts } from "./convert.ts";
import type { Handle } from "../ops.d.ts";

export type KeyType = "secret" | "private" | "public";

/** What the runtime remembers about a key's algorithm; the user sees a copy. */
export interface KeyAlgorithm {
  readonly name: string;
  readonly hash?: string;
  readonly length?: number;
  readonly namedCurve?: string;
  readonly modulusLength?: number;
  readonly publicExponent?: Uint8Array<ArrayBuffer>;
}

/** In the order in which `usages` lists them. */
const USAGES = [
  "encrypt", "decrypt", "sign", "verify", "deriveKey", "deriveBits", "wrapKey", "unwrapKey",
] as const;

export type Usage = (typeof USAGES)[number];

/** A set of usages, a bit each. */
export function usageSet(...usages: Usage[]): number {
  let set = 0;
  for (let i = 0; i < USAGES.length; i++) {
    for (let j = 0; j < usages.length; j++) if (USAGES[i] === usages[j]) set |= 1 << i;
  }
  return set;
}

/** `sequence<KeyUsage>`. */
export function toUsages(value: unknown): number {
  const names = toTexts(value, "keyUsages");
  let set = 0;
  for (let i = 0; i < names.length; i++) {
    const bit = usageSet(names[i] as Usage);
    if (bit === 0) throw new TypeError(`"${StringPrototypeSlice(names[i]!, 0, 40)}" is no key usage.`);
    set |= bit;
  }
  return set;
}

export function usageNames(set: number): Usage[] {
  const names: Usage[] = [];
  for (let i = 0; i < USAGES.length; i++) if (set & (1 << i)) ArrayPrototypePush(names, USAGES[i]!);
  return names;
}

/** Throws when a usage is asked for that the kind of key does not have. */
export function restrictUsages(usages: number, allowed: number, what: string): void {
  const wrong = usages & ~allowed;
  if (wrong === 0) return;
  throw syntaxError(`Such a key for ${what} cannot have the usages: ${ArrayPrototypeJoin(usageNames(wrong), ", ")}.`);
}

/** What is inside a `CryptoKey`. */
export interface Inner {
  readonly handle: Handle;
  readonly type: KeyType;
  readonly extractable: boolean;
  readonly algorithm: KeyAlgorithm;
  readonly usages: number;
}

let innerOf: (key: unknown) => Inner | undefined;

export class CryptoKey {
  readonly #inner: Inner;
  #algorithm: object | undefined;
  #usages: Usage[] | undefined;

  static {
    innerOf = (key) =>
      typeof key === "object" && key !== null && #inner in key ? (key as CryptoKey).#inner : undefined;
  }

  constructor(token: unknown = undefined, inner?: Inner) {
    illegalConstructor(token);
    this.#inner = inner!;
  }

  get type(): KeyType {
    return this.#inner.type;
  }

  get extractable(): boolean {
    return this.#inner.extractable;
  }

  get algorithm(): object {
    return (this.#algorithm ??= describe(this.#inner.algorithm));
  }

  get usages(): Usage[] {
    return (this.#usages ??= usageNames(this.#inner.usages));
  }
}
finishInterface(CryptoKey, "CryptoKey");

export function makeKey(
  handle: Handle,
  type: KeyType,
  extractable: boolean,
  algorithm: KeyAlgorithm,
  usages: number,
): CryptoKey {
  const inner = { __proto__: null, handle, type, extractable, algorithm, usages } as Inner;
  return new CryptoKey(INTERNAL, inner);
}

/** The argument, which must be a `CryptoKey`. */
export function toKey(value: unknown, what: string): Inner {
  const inner = innerOf(value);
  if (inner === undefined) throw new TypeError(`${what} must be a CryptoKey.`);
  return inner;
}

/** The object that users see. */
function describe({ name, hash, length, namedCurve, modulusLength, publicExponent }: KeyAlgorithm): object {
  if (modulusLength !== undefined) {
    return { name, modulusLength, publicExponent: new NativeUint8Array(publicExponent!), hash: { name: hash } };
  }
  if (hash !== undefined) return { name, hash: { name: hash }, length };
  if (length !== undefined) return { name, length };
  if (namedCurve !== undefined) return { name, namedCurve };
  return { name };
}

// Keys are cloneable (Web Cryptography, section 13.5): the copy has the same key behind it, which nothing changes.
addCloneable((value) => {
  const inner = innerOf(value);
  return inner === undefined ? undefined : new CryptoKey(INTERNAL, inner);
});
