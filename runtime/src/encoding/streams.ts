/** `TextEncoderStream` and `TextDecoderStream`. */
import {
  bytesOf,
  ReflectApply,
  StringPrototypeCharCodeAt,
  StringPrototypeSlice,
  TypedArrayPrototypeGetByteLength,
} from "../internal/primordials.ts";
import { finishInterface } from "../internal/webidl.ts";
import { TransformStream } from "../streams/streams.ts";
import * as ops from "../host.ts";
import { TextDecoder } from "./text.ts";

export class TextEncoderStream {
  #transform: TransformStream;

  constructor() {
    // The first half of a surrogate pair whose second half may be in the next chunk.
    let half = "";
    this.#transform = new TransformStream<unknown, Uint8Array>({
      transform(chunk, controller) {
        let text = half + `${chunk as string}`;
        half = "";
        const last = text.length > 0 ? StringPrototypeCharCodeAt(text, text.length - 1) : 0;
        if (last >= 0xd800 && last < 0xdc00) {
          half = StringPrototypeSlice(text, -1);
          text = StringPrototypeSlice(text, 0, -1);
        }
        if (text !== "") controller.enqueue(ops.encodeUtf8(text));
      },
      flush(controller) {
        if (half !== "") controller.enqueue(ops.encodeUtf8(half));
      },
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
  #transform: TransformStream;

  constructor(label: string | undefined = undefined, options?: { fatal?: boolean; ignoreBOM?: boolean }) {
    const decoder = new TextDecoder(label, options);
    this.#decoder = decoder;
    const decode = TextDecoder.prototype.decode;
    this.#transform = new TransformStream<unknown, string>({
      transform(chunk, controller) {
        const bytes = bytesOf(chunk);
        if (bytes === undefined) throw new TypeError("TextDecoderStream takes chunks of bytes.");
        if (TypedArrayPrototypeGetByteLength(bytes) === 0) return;
        const text = ReflectApply(decode, decoder, [bytes, { stream: true }]);
        if (text !== "") controller.enqueue(text);
      },
      flush(controller) {
        const text = ReflectApply(decode, decoder, []);
        if (text !== "") controller.enqueue(text);
      },
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
