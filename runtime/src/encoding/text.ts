/** `TextEncoder` and `TextDecoder`. */
import {
  bytesOf,
  concatBytes,
  NativeUint8Array,
  TypedArrayPrototypeGetLength,
  TypedArrayPrototypeGetTag,
  TypedArrayPrototypeSlice,
  TypedArrayPrototypeSubarray,
} from "../internal/primordials.ts";
import { finishInterface, requireArguments, toDictionary } from "../internal/webidl.ts";
import type { Decoder } from "../ops.d.ts";
import * as ops from "../host.ts";

export class TextEncoder {
  get encoding(): string {
    return "utf-8";
  }
  encode(input: string = ""): Uint8Array {
    return ops.encodeUtf8(typeof input === "string" ? input : `${input as string}`);
  }
  encodeInto(source: string, destination: Uint8Array): { read: number; written: number } {
    requireArguments(arguments.length, 2, "TextEncoder.encodeInto");
    const text = typeof source === "string" ? source : `${source as string}`;
    if (TypedArrayPrototypeGetTag(destination) !== "Uint8Array") throw new TypeError("encodeInto takes a Uint8Array.");
    const pair = ops.encodeInto(text, destination);
    return { read: pair[0], written: pair[1] };
  }
}
finishInterface(TextEncoder, "TextEncoder");

const EMPTY = new NativeUint8Array(0);

export class TextDecoder {
  #encoding: string;
  #fatal: boolean;
  #ignoreBOM: boolean;
  /** UTF-8: the beginning of a character. */
  #pending: Uint8Array<ArrayBuffer> = EMPTY;
  /** UTF-8: something was decoded, so a byte order mark is an ordinary character now. */
  #begun = false;
  /** Any other encoding, in the midst of a stream. */
  #decoder: Decoder | undefined;

  constructor(label: string = "utf-8", options: { fatal?: boolean; ignoreBOM?: boolean } | undefined = undefined) {
    const text = `${label}`;
    const given = toDictionary<{ fatal: boolean; ignoreBOM: boolean }>(options, "TextDecoder options");
    const fatal = !!given.fatal;
    const ignoreBOM = !!given.ignoreBOM;
    const encoding = text === "utf-8" ? text : ops.encodingName(text);
    if (encoding === undefined) throw new RangeError(`The encoding "${text}" is not supported.`);
    this.#encoding = encoding;
    this.#fatal = fatal;
    this.#ignoreBOM = ignoreBOM;
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

  decode(input: ArrayBufferView | ArrayBuffer | undefined = undefined, options: { stream?: boolean } | undefined = undefined): string {
    const encoding = this.#encoding;
    const bytes = input === undefined ? EMPTY : bytesOf(input);
    if (bytes === undefined) throw new TypeError("decode takes an ArrayBuffer or a view of one.");
    const stream = !!toDictionary<{ stream: boolean }>(options, "decode options").stream;
    return encoding === "utf-8" ? this.#utf8(bytes, stream) : this.#legacy(bytes, stream);
  }

  #legacy(bytes: Uint8Array, stream: boolean): string {
    let decoder = this.#decoder;
    if (!stream) {
      this.#decoder = undefined;
      return decoder === undefined
        ? ops.decodeAs(this.#encoding, bytes, this.#fatal, this.#ignoreBOM)
        : ops.decoderRun(decoder, bytes, this.#fatal, true);
    }
    decoder = this.#decoder ??= ops.decoderNew(this.#encoding, this.#ignoreBOM);
    return ops.decoderRun(decoder, bytes, this.#fatal, false);
  }

  #utf8(bytes: Uint8Array<ArrayBuffer>, stream: boolean): string {
    const pending = this.#pending;
    const keepMark = this.#begun || this.#ignoreBOM;
    if (!stream) {
      this.#pending = EMPTY;
      this.#begun = false;
      const all = pending === EMPTY ? bytes : concatBytes([pending, bytes]);
      return ops.decodeUtf8(all, this.#fatal, keepMark);
    }
    const all = pending === EMPTY ? bytes : concatBytes([pending, bytes]);
    const length = TypedArrayPrototypeGetLength(all);
    const complete = length - incompleteTail(all, length);
    this.#pending = complete === length ? EMPTY : TypedArrayPrototypeSlice(all, complete);
    if (complete === 0) return "";
    this.#begun = true;
    return ops.decodeUtf8(complete === length ? all : TypedArrayPrototypeSubarray(all, 0, complete), this.#fatal, keepMark);
  }
}
finishInterface(TextDecoder, "TextDecoder");

/** Bytes at the end that a following chunk may complete to a character. */
function incompleteTail(bytes: Uint8Array, length: number): number {
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
