/** `CompressionStream` and `DecompressionStream` (Compression Standard, sections 6 and 7). */
import { finishInterface, requireArguments } from "../internal/webidl.ts";
import { type ReadableStream, shown } from "../streams/readable-stream.ts";
import { shownWritable, type WritableStream } from "../streams/writable-stream.ts";
import type { CodecFormat } from "../ops.d.ts";
import { Coding } from "../compression/coding.ts";

export { Coding };

/** The host's names for a format, there and back. */
function formatOf(format: unknown, decodes: boolean): CodecFormat {
  const name = `${format as string}`;
  switch (name) {
    case "gzip":
      return decodes ? "gunzip" : "gzip";
    case "deflate":
      return decodes ? "inflate" : "deflate";
    case "deflate-raw":
      return decodes ? "inflateRaw" : "deflateRaw";
    case "brotli":
      return decodes ? "brotliDecompress" : "brotliCompress";
    default:
      throw new TypeError(`The format "${name}" is not supported: there are gzip, deflate, deflate-raw and brotli.`);
  }
}

export class CompressionStream {
  #coding: Coding;

  constructor(format: string) {
    requireArguments(arguments.length, 1, "CompressionStream constructor");
    this.#coding = new Coding(formatOf(format, false), false);
  }
  get readable(): ReadableStream {
    return shown(this.#coding.readable.stream);
  }
  get writable(): WritableStream {
    return shownWritable(this.#coding.writable.stream);
  }
}
finishInterface(CompressionStream, "CompressionStream");

export class DecompressionStream {
  #coding: Coding;

  constructor(format: string) {
    requireArguments(arguments.length, 1, "DecompressionStream constructor");
    this.#coding = new Coding(formatOf(format, true), true);
  }
  get readable(): ReadableStream {
    return shown(this.#coding.readable.stream);
  }
  get writable(): WritableStream {
    return shownWritable(this.#coding.writable.stream);
  }
}
finishInterface(DecompressionStream, "DecompressionStream");
