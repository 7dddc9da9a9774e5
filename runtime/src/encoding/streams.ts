/** `TextEncoderStream` and `TextDecoderStream`. */
import {
  bytesOf,
  ReflectApply,
  StringPrototypeCharCodeAt,
  StringPrototypeSlice,
  TypedArrayPrototypeGetByteLength,
} from "../internal/primordials.ts";
import { finishInterface } from "../internal/webidl.ts";
import { TransformPair } from "../streams/streams.ts";
import * as ops from "../host.ts";
import { TextDecoder } from "./text.ts";

export class TextEncoderStream {
  #transform: TransformPair;

  constructor() {
    // The first half of a surrogate pair whose second half may be in the next chunk.
    let half = "";
    this.#transform = new TransformPair({
      transform(chunk, controller) {
        let text = half + `${chunk as string}`;
        half = "";
        const last = text.length > 0 ? StringPrototypeCharCodeAt(text, text.length - 1) : 0;
        if (last >= 0xd800 && last < 0xdc00) {
          half = StringPrototypeSlice(text, -1);
          text = StringPrototypeSlice(text, 0, -1);
        }
        if (text !== "") controller.enqueue(ops.encodeUtf8(text));
        return undefined;
      },
      flush(controller) {
        if (half !== "") controller.enqueue(ops.encodeUtf8(half));
        return undefined;
      },
      cancel: () => undefined,
    });
  }
  get encoding(): string {
    return "utf-8";
  }
  get readable() {
    return this.#transform.readable;
  }
  get writable() {
    return this.#transform.writable;
  }
}
finishInterface(TextEncoderStream, "TextEncoderStream");

export class TextDecoderStream {
  #decoder: TextDecoder;
  #transform: TransformPair;

  constructor(label: string | undefined = undefined, options: { fatal?: boolean; ignoreBOM?: boolean } | undefined = undefined) {
    const decoder = new TextDecoder(label, options);
    this.#decoder = decoder;
    const decode = TextDecoder.prototype.decode;
    this.#transform = new TransformPair({
      transform(chunk, controller) {
        const bytes = bytesOf(chunk);
        if (bytes === undefined) throw new TypeError("TextDecoderStream takes chunks of bytes.");
        if (TypedArrayPrototypeGetByteLength(bytes) === 0) return undefined;
        const text = ReflectApply(decode, decoder, [bytes, { stream: true }]);
        if (text !== "") controller.enqueue(text);
        return undefined;
      },
      flush(controller) {
        const text = ReflectApply(decode, decoder, []);
        if (text !== "") controller.enqueue(text);
        return undefined;
      },
      cancel: () => undefined,
    });
  }
  get encoding(): string {
    return this.#decoder.encoding;
  }
  get fatal(): boolean {
    return this.#decoder.fatal;
  }
  get ignoreBOM(): boolean {
    return this.#decoder.ignoreBOM;
  }
  get readable() {
    return this.#transform.readable;
  }
  get writable() {
    return this.#transform.writable;
  }
}
finishInterface(TextDecoderStream, "TextDecoderStream");
