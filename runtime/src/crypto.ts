/** `crypto`; what is wide about it is the part `crypto`. */
import {
  ArrayBufferIsView,
  NativeUint8Array,
  TypedArrayPrototypeGetByteLength,
  TypedArrayPrototypeGetTag,
} from "./internal/primordials.ts";
import { expose, finishInterface, illegalConstructor, INTERNAL, requireArguments } from "./internal/webidl.ts";
import { DOMException, QuotaExceededError } from "./dom/exception.ts";
import { exposeLazy, loadPart } from "./internal/parts.ts";
import * as ops from "./host.ts";

const loadCrypto = () => loadPart<typeof import("./parts/crypto.ts")>("crypto");

const HEX: string[] = [];
for (let i = 0; i < 256; i++) HEX[i] = (i + 256).toString(16).slice(1);

export class Crypto {
  #brand: undefined;

  constructor(token: unknown = undefined) {
    illegalConstructor(token);
  }

  static #enter(self: Crypto): void {
    if (!(#brand in self)) throw new TypeError("Illegal invocation");
  }

  get subtle(): object {
    Crypto.#enter(this);
    return loadCrypto().subtle;
  }

  /** Cloudflare's addition: a class that lives here rather than among the globals. */
  get DigestStream(): object {
    Crypto.#enter(this);
    return loadCrypto().DigestStream;
  }

  getRandomValues<T extends ArrayBufferView>(array: T): T {
    Crypto.#enter(this);
    requireArguments(arguments.length, 1, "crypto.getRandomValues");
    const tag = ArrayBufferIsView(array) ? TypedArrayPrototypeGetTag(array) : undefined;
    if (tag === undefined || tag === "Float16Array" || tag === "Float32Array" || tag === "Float64Array") {
      throw new DOMException("getRandomValues takes an integer typed array.", "TypeMismatchError");
    }
    const length = TypedArrayPrototypeGetByteLength(array);
    if (length > 65536) {
      throw new QuotaExceededError(`getRandomValues fills at most 65536 bytes, not ${length}.`);
    }
    ops.random(array);
    return array;
  }

  randomUUID(): string {
    Crypto.#enter(this);
    const b = new NativeUint8Array(16);
    ops.random(b);
    const version = HEX[(b[6]! & 0x0f) | 0x40];
    const variant = HEX[(b[8]! & 0x3f) | 0x80];
    const hex = (i: number) => HEX[b[i]!];
    return (
      `${hex(0)}${hex(1)}${hex(2)}${hex(3)}-${hex(4)}${hex(5)}-${version}${hex(7)}-` +
      `${variant}${hex(9)}-${hex(10)}${hex(11)}${hex(12)}${hex(13)}${hex(14)}${hex(15)}`
    );
  }
}
finishInterface(Crypto, "Crypto");

export function installCrypto(): void {
  expose("Crypto", Crypto);
  expose("crypto", new Crypto(INTERNAL));
  exposeLazy("SubtleCrypto", "crypto");
  exposeLazy("CryptoKey", "crypto");
}
