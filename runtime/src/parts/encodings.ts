/** Undoes and does content encodings, for bodies of the host's that JavaScript reads, and for responses that it writes. */
import { NativeUint8Array } from "../internal/primordials.ts";
import { loadPart } from "../internal/parts.ts";
import type { Encoding } from "../fetch/encoding.ts";
import type { Codec, CodecFormat } from "../ops.d.ts";
import * as ops from "../host.ts";
import { pipe } from "../streams/pipe.ts";
import { type ReadableStream, readableOf, shown } from "../streams/readable-stream.ts";

type Chunk = Uint8Array<ArrayBuffer>;

const DECODERS: Record<Encoding, CodecFormat> = { gzip: "gunzip", deflate: "inflate", br: "brotliDecompress" };
const ENCODERS: Record<Encoding, CodecFormat> = { gzip: "gzip", deflate: "deflate", br: "brotliCompress" };
const EMPTY = new NativeUint8Array(0);
/** Most bytes of one chunk that is decoded. */
const CHUNK = 64 * 1024;
const HUNGRY = 0;
const END = 2;
/** Gives all that can be given, so that what a server flushed is read at once. */
const FLUSH = 2;
const FINISH = 4;

/**
 * Decodes a body a chunk at a time, as it is asked for. As HTTP clients are, it is lenient: several members of gzip count as
 * one, what follows the end is ignored, and an empty body is empty.
 */
export class Decoder {
  readonly #codec: Codec;
  readonly #encoding: Encoding;
  #chunk: Uint8Array | undefined;
  #at = 0;
  #begun = false;
  #ended = false;
  #over = false;

  constructor(encoding: Encoding) {
    this.#encoding = encoding;
    this.#codec = ops.codecNew(DECODERS[encoding]);
  }

  /** The next decoded chunk out of those that `encoded` gives; null and undefined as there. */
  pull(encoded: () => Chunk | null | undefined): Chunk | null | undefined {
    if (this.#over) return null;
    for (;;) {
      if (this.#chunk === undefined) {
        const next = encoded();
        if (next === undefined) return undefined;
        if (next === null) return this.#finish();
        this.#chunk = next;
        this.#at = 0;
      }
      const chunk = this.#chunk;
      if (this.#at >= chunk.length) {
        this.#chunk = undefined;
        continue;
      }
      this.#begun = true;
      if (this.#ended) {
        if (this.#encoding !== "gzip" || chunk[this.#at] !== 0x1f) {
          this.#chunk = undefined;
          continue;
        }
        ops.codecReset(this.#codec);
        this.#ended = false;
      }
      const step = ops.codecRun(this.#codec, chunk, this.#at, FLUSH, CHUNK);
      this.#at += step[1];
      if (step[2] === END) this.#ended = true;
      else if (step[2] === HUNGRY) this.#chunk = undefined;
      if (step[0] !== undefined) return step[0];
    }
  }

  #finish(): Chunk | null {
    if (this.#begun && !this.#ended) {
      const step = ops.codecRun(this.#codec, EMPTY, 0, FINISH, CHUNK);
      if (step[2] === HUNGRY) throw new TypeError(`The body ends before its ${this.#encoding} data does.`);
      if (step[2] === END) this.#ended = true;
      if (step[0] !== undefined) return step[0];
    }
    this.#over = true;
    ops.codecEnd(this.#codec);
    return null;
  }
}

/** The stream with its bytes encoded. */
export function encode(stream: ReadableStream, encoding: Encoding): ReadableStream {
  const { Coding } = loadPart<typeof import("./compression.ts")>("compression");
  const coding = new Coding(ENCODERS[encoding], false);
  const options = { preventAbort: false, preventCancel: false, preventClose: false, signal: undefined };
  pipe(readableOf(stream), coding.writable.stream, options, false);
  return shown(coding.readable.stream);
}
