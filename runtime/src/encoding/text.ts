/** `TextEncoder` and `TextDecoder`. */
import {
  ArrayPrototypePush,
  bytesOf,
  concatBytes,
  NativeUint8Array,
  ObjectCreate,
  StringFromCharCode,
  StringPrototypeToLowerCase,
  StringPrototypeTrim,
  TypedArrayPrototypeGetTag,
  TypedArrayPrototypeSlice,
  TypedArrayPrototypeSubarray,
} from "../internal/primordials.ts";
import { finishInterface, toDictionary } from "../internal/webidl.ts";
import * as ops from "../host.ts";

export class TextEncoder {
  get encoding(): string {
    return "utf-8";
  }
  encode(input: string = ""): Uint8Array {
    return ops.encodeUtf8(typeof input === "string" ? input : `${input as string}`);
  }
  encodeInto(source: string, destination: Uint8Array): { read: number; written: number } {
    if (TypedArrayPrototypeGetTag(destination) !== "Uint8Array") throw new TypeError("encodeInto takes a Uint8Array.");
    const pair = ops.encodeInto(`${source}`, destination);
    return { read: pair[0], written: pair[1] };
  }
}
finishInterface(TextEncoder, "TextEncoder");

type Encoding = "utf-8" | "utf-16le" | "utf-16be" | "windows-1252";

/** Labels of the encodings that are supported, as the Encoding Standard lists them. */
const labels: Record<string, Encoding> = ObjectCreate(null);
for (const [encoding, names] of [
  ["utf-8", "unicode-1-1-utf-8 unicode11utf8 unicode20utf8 utf-8 utf8 x-unicode20utf8"],
  ["utf-16le", "csunicode iso-10646-ucs-2 ucs-2 unicode unicodefeff utf-16 utf-16le"],
  ["utf-16be", "unicodefffe utf-16be"],
  [
    "windows-1252",
    "ansi_x3.4-1968 ascii cp1252 cp819 csisolatin1 ibm819 iso-8859-1 iso-ir-100 iso8859-1 iso88591 iso_8859-1 " +
      "iso_8859-1:1987 l1 latin1 us-ascii windows-1252 x-cp1252",
  ],
] as const) {
  for (const name of names.split(" ")) labels[name] = encoding;
}

/** Where windows-1252 differs from Latin-1: 0x80 to 0x9F. */
const WINDOWS_1252 =
  "\u20AC\x81\u201A\u0192\u201E\u2026\u2020\u2021\u02C6\u2030\u0160\u2039\u0152\x8D\u017D\x8F" +
  "\x90\u2018\u2019\u201C\u201D\u2022\u2013\u2014\u02DC\u2122\u0161\u203A\u0153\x9D\u017E\u0178";

const EMPTY = new NativeUint8Array(0);

export class TextDecoder {
  #encoding: Encoding;
  #fatal: boolean;
  #ignoreBOM: boolean;
  #pending: Uint8Array<ArrayBuffer> = EMPTY;
  /** Something was decoded, so a byte order mark is an ordinary character now. */
  #begun = false;
  #flushed = true;

  constructor(label: string = "utf-8", options?: { fatal?: boolean; ignoreBOM?: boolean }) {
    const given = toDictionary<{ fatal: boolean; ignoreBOM: boolean }>(options, "TextDecoder options");
    const encoding = labels[StringPrototypeToLowerCase(StringPrototypeTrim(`${label}`))];
    if (encoding === undefined) throw new RangeError(`The encoding "${label}" is not supported.`);
    this.#encoding = encoding;
    this.#fatal = !!given.fatal;
    this.#ignoreBOM = !!given.ignoreBOM;
  }

  get encoding(): string {
    return this.#encoding;
  }
  get fatal(): boolean {
    return this.#fatal;
  }
  get ignoreBOM(): boolean {
    return this.#ignoreBOM;
  }

  decode(input?: ArrayBufferView | ArrayBuffer, options?: { stream?: boolean }): string {
    const bytes = input === undefined ? EMPTY : bytesOf(input);
    if (bytes === undefined) throw new TypeError("decode takes an ArrayBuffer or a view of one.");
    const stream = !!toDictionary<{ stream: boolean }>(options, "decode options").stream;
    if (this.#flushed) {
      this.#pending = EMPTY;
      this.#begun = false;
    }
    this.#flushed = !stream;
    // The usual way: everything at once.
    if (!stream && !this.#begun && this.#pending.length === 0 && this.#encoding === "utf-8") {
      return ops.decodeUtf8(bytes, this.#fatal, this.#ignoreBOM);
    }
    const all = this.#pending.length === 0 ? bytes : concatBytes([this.#pending, bytes]);
    const complete = stream ? all.length - incompleteTail(all, this.#encoding) : all.length;
    this.#pending = complete === all.length ? EMPTY : TypedArrayPrototypeSlice(all, complete);
    const whole = complete === all.length ? all : TypedArrayPrototypeSubarray(all, 0, complete);
    const keepMark = this.#begun || this.#ignoreBOM;
    if (whole.length > 0) this.#begun = true;
    switch (this.#encoding) {
      case "utf-8":
        return ops.decodeUtf8(whole, this.#fatal, keepMark);
      case "windows-1252":
        return decodeWindows1252(whole);
      default:
        return decodeUtf16(whole, this.#encoding === "utf-16be", this.#fatal, keepMark);
    }
  }
}
finishInterface(TextDecoder, "TextDecoder");

/** Bytes at the end that a following chunk may complete to a character. */
function incompleteTail(bytes: Uint8Array, encoding: Encoding): number {
  const { length } = bytes;
  if (encoding === "windows-1252") return 0;
  if (encoding !== "utf-8") {
    const odd = length % 2;
    const high = length - odd - (encoding === "utf-16le" ? 1 : 2);
    return high >= 0 && (bytes[high]! & 0xfc) === 0xd8 ? odd + 2 : odd;
  }
  for (let back = 1; back <= 3 && back <= length; back++) {
    const byte = bytes[length - back]!;
    if ((byte & 0xc0) === 0x80) continue;
    const wanted = byte >= 0xf0 && byte <= 0xf4 ? 4 : byte >= 0xe0 && byte < 0xf0 ? 3 : byte >= 0xc2 && byte < 0xe0 ? 2 : 1;
    return wanted > back && startsCharacter(bytes, length - back, back) ? back : 0;
  }
  return 0;
}

/** Whether the second byte, if it is there, can follow the first. */
function startsCharacter(bytes: Uint8Array, at: number, available: number): boolean {
  if (available < 2) return true;
  const second = bytes[at + 1]!;
  switch (bytes[at]) {
    case 0xe0:
      return second >= 0xa0;
    case 0xed:
      return second < 0xa0;
    case 0xf0:
      return second >= 0x90;
    case 0xf4:
      return second < 0x90;
    default:
      return true;
  }
}

function decodeWindows1252(bytes: Uint8Array): string {
  for (let i = 0; i < bytes.length; i++) {
    if (bytes[i]! >= 0x80 && bytes[i]! < 0xa0) {
      let out = "";
      for (let j = 0; j < bytes.length; j++) {
        const byte = bytes[j]!;
        out += byte >= 0x80 && byte < 0xa0 ? WINDOWS_1252[byte - 0x80]! : StringFromCharCode(byte);
      }
      return out;
    }
  }
  return ops.decodeLatin1(bytes);
}

function decodeUtf16(bytes: Uint8Array, bigEndian: boolean, fatal: boolean, keepMark: boolean): string {
  const units: number[] = [];
  const high = bigEndian ? 0 : 1;
  let out = "";
  const malformed = () => {
    if (fatal) throw new TypeError("The encoded data was not valid UTF-16.");
    return 0xfffd;
  };
  for (let i = 0; i < bytes.length; i += 2) {
    let unit = i + 1 < bytes.length ? (bytes[i + high]! << 8) | bytes[i + 1 - high]! : malformed();
    if (i === 0 && unit === 0xfeff && !keepMark) continue;
    if (unit >= 0xd800 && unit < 0xdc00) {
      const next = i + 3 < bytes.length ? (bytes[i + 2 + high]! << 8) | bytes[i + 3 - high]! : 0;
      if (next >= 0xdc00 && next < 0xe000) {
        ArrayPrototypePush(units, unit);
        unit = next;
        i += 2;
      } else {
        unit = malformed();
      }
    } else if (unit >= 0xdc00 && unit < 0xe000) {
      unit = malformed();
    }
    ArrayPrototypePush(units, unit);
    if (units.length >= 4096) {
      out += StringFromCharCode(...units);
      units.length = 0;
    }
  }
  return out + StringFromCharCode(...units);
}
