/** `node:zlib` on the host's codecs. */
import { Buffer } from "node:buffer";
import { Transform } from "node:stream";
import { checkFunction, coded, outOfRange, wrongType } from "../internal/node-errors.ts";
import { ticks } from "../internal/node-ticks.ts";
import type { Codec, CodecFlush, CodecFormat } from "../ops.d.ts";
import * as ops from "../host.ts";

interface Options {
  level?: number;
  windowBits?: number;
  memLevel?: number;
  strategy?: number;
  dictionary?: Uint8Array;
  finishFlush?: number;
  flush?: number;
  chunkSize?: number;
  maxOutputLength?: number;
  info?: boolean;
  params?: Record<number, number>;
}
type Callback = (error: Error | null, result?: Uint8Array) => void;

const STEP = 65536;
const LONGEST = 2 ** 31;

const constants: Record<string, number> = {
  Z_NO_FLUSH: 0, Z_PARTIAL_FLUSH: 1, Z_SYNC_FLUSH: 2, Z_FULL_FLUSH: 3, Z_FINISH: 4, Z_BLOCK: 5,
  Z_OK: 0, Z_STREAM_END: 1, Z_NEED_DICT: 2, Z_ERRNO: -1, Z_STREAM_ERROR: -2, Z_DATA_ERROR: -3, Z_MEM_ERROR: -4,
  Z_BUF_ERROR: -5, Z_VERSION_ERROR: -6, Z_NO_COMPRESSION: 0, Z_BEST_SPEED: 1, Z_BEST_COMPRESSION: 9,
  Z_DEFAULT_COMPRESSION: -1, Z_FILTERED: 1, Z_HUFFMAN_ONLY: 2, Z_RLE: 3, Z_FIXED: 4, Z_DEFAULT_STRATEGY: 0,
  Z_MIN_WINDOWBITS: 8, Z_MAX_WINDOWBITS: 15, Z_DEFAULT_WINDOWBITS: 15, Z_MIN_CHUNK: 64, Z_MAX_CHUNK: Infinity,
  Z_DEFAULT_CHUNK: 16384, Z_MIN_MEMLEVEL: 1, Z_MAX_MEMLEVEL: 9, Z_DEFAULT_MEMLEVEL: 8, Z_MIN_LEVEL: -1,
  Z_MAX_LEVEL: 9, Z_DEFAULT_LEVEL: -1,
  DEFLATE: 1, INFLATE: 2, GZIP: 3, GUNZIP: 4, DEFLATERAW: 5, INFLATERAW: 6, UNZIP: 7, BROTLI_DECODE: 8, BROTLI_ENCODE: 9,
  BROTLI_OPERATION_PROCESS: 0, BROTLI_OPERATION_FLUSH: 1, BROTLI_OPERATION_FINISH: 2, BROTLI_OPERATION_EMIT_METADATA: 3,
  BROTLI_PARAM_MODE: 0, BROTLI_MODE_GENERIC: 0, BROTLI_MODE_TEXT: 1, BROTLI_MODE_FONT: 2, BROTLI_DEFAULT_MODE: 0,
  BROTLI_PARAM_QUALITY: 1, BROTLI_MIN_QUALITY: 0, BROTLI_MAX_QUALITY: 11, BROTLI_DEFAULT_QUALITY: 11,
  BROTLI_PARAM_LGWIN: 2, BROTLI_MIN_WINDOW_BITS: 10, BROTLI_MAX_WINDOW_BITS: 24, BROTLI_DEFAULT_WINDOW: 22,
  BROTLI_PARAM_LGBLOCK: 3, BROTLI_PARAM_SIZE_HINT: 5, BROTLI_DECODER_PARAM_LARGE_WINDOW: 1,
};
const codes: Record<string, number | string> = {};
for (const name of ["OK", "STREAM_END", "NEED_DICT", "ERRNO", "STREAM_ERROR", "DATA_ERROR", "MEM_ERROR", "BUF_ERROR", "VERSION_ERROR"]) {
  codes[`Z_${name}`] = constants[`Z_${name}`]!;
  codes[constants[`Z_${name}`]!] = `Z_${name}`;
}

function check(name: string, value: unknown, low: number, high: number): number | undefined {
  // NaN is the default, as in Node.
  if (value === undefined || Number.isNaN(value)) return undefined;
  if (typeof value !== "number") throw wrongType(name, "of type number", value);
  if (!(value >= low && value <= high)) throw outOfRange(name, high === Infinity ? `>= ${low}` : `>= ${low} and <= ${high}`, value);
  return value;
}

const compresses = (format: CodecFormat) => ["gzip", "deflate", "deflateRaw", "brotliCompress"].includes(format);
const isBrotli = (format: CodecFormat) => format === "brotliCompress" || format === "brotliDecompress";

/** The codec's flush for Node's number, which for Brotli is an operation of its own. */
function flushOf(format: CodecFormat, name: string, value: unknown, otherwise: CodecFlush): CodecFlush {
  const number = check(name, value, 0, isBrotli(format) ? 3 : 5);
  if (number === undefined) return otherwise;
  return (isBrotli(format) ? [0, 2, 4, 0][number]! : number) as CodecFlush;
}

/** Options that all formats have, checked. */
function common(format: CodecFormat, options: Options): { flush: CodecFlush; finish: CodecFlush; most: number } {
  check("options.chunkSize", options.chunkSize, 64, Infinity);
  return {
    flush: flushOf(format, "options.flush", options.flush, 0),
    finish: flushOf(format, "options.finishFlush", options.finishFlush, 4),
    most: check("options.maxOutputLength", options.maxOutputLength, 1, LONGEST) ?? LONGEST,
  };
}

function brotli(format: CodecFormat, params: Record<string, unknown>): Codec {
  for (const [key, value] of Object.entries(params)) {
    if (!(Number(key) >= 0 && Number(key) <= 8)) throw coded(new RangeError(`${key} is not a valid Brotli parameter`), "ERR_BROTLI_INVALID_PARAM");
    if (typeof value !== "number" && typeof value !== "boolean") throw wrongType("options.params[key]", "of type number", value);
  }
  const { 0: mode, 1: quality, 2: window } = params as Record<number, number | undefined>;
  return ops.codecNew(format, quality ?? (format === "brotliCompress" ? 11 : undefined), window, undefined, mode);
}

function open(format: CodecFormat, options: Options): Codec {
  if (isBrotli(format)) return brotli(format, options.params ?? {});
  const bits = options.windowBits;
  const packs = compresses(format);
  const low = !packs || format === "deflateRaw" ? 8 : 9;
  // A decoder takes 0 for what the data says.
  const windowBits = bits === 0 && !packs ? undefined : check("options.windowBits", bits, low, 15);
  const level = check("options.level", options.level, -1, 9);
  const memLevel = check("options.memLevel", options.memLevel, 1, 9);
  const strategy = check("options.strategy", options.strategy, 0, 4);
  const { dictionary } = options;
  const given = dictionary === undefined ? undefined : ArrayBuffer.isView(dictionary) || (dictionary as unknown) instanceof ArrayBuffer;
  if (given === false) throw wrongType("options.dictionary", "an instance of Buffer, TypedArray, DataView, or ArrayBuffer", dictionary);
  return ops.codecNew(format, level === -1 ? undefined : level, windowBits, memLevel, strategy, given ? bytes(dictionary) : undefined);
}

/** zlib's message and number, as people know them. */
function told(error: unknown): Error {
  const { code } = error as { code?: string };
  const text: Record<string, string> = { Z_NEED_DICT: "Missing dictionary" };
  const known = typeof code === "string" && code.startsWith("Z_") ? constants[code] : undefined;
  if (known === undefined) return error as Error;
  return Object.assign(new Error(text[code!] ?? (error as Error).message), { errno: known, code });
}

const truncated = () => Object.assign(new Error("unexpected end of file"), { errno: -5, code: "Z_BUF_ERROR" });

/** Runs a codec over all of the input; gives the output in pieces, and whether the stream came to its end. */
function run(codec: Codec, input: Uint8Array, flush: CodecFlush, decoding: boolean, out: (chunk: Uint8Array) => void): [boolean, number] {
  let at = 0;
  for (;;) {
    let step;
    try {
      step = ops.codecRun(codec, input, at, flush, STEP);
    } catch (error) {
      throw told(error);
    }
    const [output, read, status] = step;
    at += read;
    if (output !== undefined) out(output);
    if (status === 2) return [true, at];
    if (status === 0 && at >= input.length) {
      if (decoding && flush === 4) throw truncated();
      return [false, at];
    }
  }
}

const bytes = (value: unknown): Uint8Array => {
  if (typeof value === "string") return Buffer.from(value);
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  throw wrongType("buffer", "of type string or an instance of Buffer, TypedArray, DataView, or ArrayBuffer", value);
};

/** gzip's members may follow one another; what follows the last and is none is ignored. */
const another = (format: CodecFormat, input: Uint8Array, at: number) =>
  (format === "gunzip" || format === "unzip") && input[at] === 0x1f && input[at + 1] === 0x8b;

function whole(format: CodecFormat, value: unknown, options: Options = {}): Uint8Array {
  let input = bytes(value);
  const { finish, most } = common(format, options);
  const codec = open(format, options);
  const chunks: Uint8Array[] = [];
  let length = 0;
  try {
    for (;;) {
      const [ended, at] = run(codec, input, finish, !compresses(format), (chunk) => {
        length += chunk.length;
        if (length > most) throw coded(new RangeError(`Cannot create a Buffer larger than ${most} bytes`), "ERR_BUFFER_TOO_LARGE");
        chunks.push(chunk);
      });
      if (!ended || !another(format, input, at)) break;
      input = input.subarray(at);
      ops.codecReset(codec);
    }
  } finally {
    ops.codecEnd(codec);
  }
  return Buffer.concat(chunks);
}

class ZlibBase extends (Transform as new (options: object) => any) {
  #codec: Codec | undefined;
  #format: CodecFormat;
  #flush: CodecFlush;
  #finish: CodecFlush;
  #ended = false;
  /** What is to be done when these chunks come by, which are empty: it keeps its place among what is written. */
  #marks = new WeakMap<object, (done: (error?: unknown) => void) => void>();
  bytesWritten = 0;
  _level: number;
  _strategy: number;

  constructor(format: CodecFormat, options: Options = {}) {
    super({ ...options, writableObjectMode: false, readableObjectMode: false, objectMode: false, flush: undefined, final: undefined });
    this.#format = format;
    const { flush, finish } = common(format, options);
    this.#flush = flush;
    this.#finish = finish;
    this.#codec = open(format, options);
    this._level = options.level ?? -1;
    this._strategy = options.strategy ?? 0;
  }
  #run(input: Uint8Array, flush: CodecFlush, done: (error?: unknown) => void): void {
    if (this.#codec === undefined) return done();
    try {
      for (;;) {
        if (this.#ended) {
          if (!another(this.#format, input, 0)) return done();
          ops.codecReset(this.#codec);
          this.#ended = false;
        }
        const [ended, at] = run(this.#codec, input, flush, !compresses(this.#format) && this.bytesWritten > 0, (chunk) => this.push(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)));
        this.#ended = ended;
        if (!ended || at >= input.length) return done();
        input = input.subarray(at);
      }
    } catch (error) {
      done(error);
    }
  }
  _transform(chunk: Uint8Array, _encoding: string, done: (error?: unknown) => void): void {
    const mark = chunk.length === 0 ? this.#marks.get(chunk) : undefined;
    if (mark !== undefined) return mark(done);
    this.bytesWritten += chunk.length;
    this.#run(chunk, this.#flush, done);
  }
  _flush(done: (error?: unknown) => void): void {
    if (this.#ended) return done();
    this.#run(new Uint8Array(0), this.#finish, done);
  }
  _destroy(error: unknown, done: (error: unknown) => void): void {
    this.#free();
    done(error);
  }
  flush(kind?: unknown, callback?: () => void): void {
    const done = typeof kind === "function" ? (kind as () => void) : callback;
    const how = flushOf(this.#format, "kind", typeof kind === "number" ? kind : undefined, isBrotli(this.#format) ? 2 : 3);
    this.#mark((done) => this.#run(new Uint8Array(0), how, done), done);
  }
  /**
   * Ends what was written so far as in Node. What follows keeps the level that the stream began with, since the codec cannot
   * change it on the way: it comes out right, if not of the size that was asked for.
   */
  params(level: unknown, strategy: unknown, callback?: () => void): void {
    if (typeof level !== "number") throw wrongType("level", "of type number", level);
    if (typeof strategy !== "number") throw wrongType("strategy", "of type number", strategy);
    check("level", level, -1, 9);
    check("strategy", strategy, 0, 4);
    if (level === this._level && strategy === this._strategy) {
      if (callback) ticks().add(callback, []);
      return;
    }
    const set = (done: (error?: unknown) => void) => {
      if (!compresses(this.#format)) return done();
      this.#run(new Uint8Array(0), 2, (error) => {
        this._level = level;
        this._strategy = strategy;
        done(error);
      });
    };
    this.#mark(set, callback);
  }
  #mark(action: (done: (error?: unknown) => void) => void, callback?: () => void): void {
    if (this.writableFinished || this.destroyed) return void (callback && ticks().add(callback, []));
    if (this.writableEnded) return void (callback && this.once("end", callback));
    const mark = Buffer.alloc(0);
    this.#marks.set(mark, action);
    this.write(mark, "", callback);
  }
  close(callback?: () => void): void {
    if (callback) this.once("close", callback);
    this.destroy();
  }
  reset(): void {
    if (this.#codec !== undefined) ops.codecReset(this.#codec);
    this.#ended = false;
  }
  #free(): void {
    if (this.#codec !== undefined) ops.codecEnd(this.#codec);
    this.#codec = undefined;
  }
}

const zlib: Record<string, unknown> = { constants, codes: Object.freeze(codes) };
Object.assign(zlib, constants);
const formats: [CodecFormat, string][] = [
  ["gzip", "Gzip"], ["gunzip", "Gunzip"], ["deflate", "Deflate"], ["inflate", "Inflate"], ["deflateRaw", "DeflateRaw"],
  ["inflateRaw", "InflateRaw"], ["unzip", "Unzip"], ["brotliCompress", "BrotliCompress"], ["brotliDecompress", "BrotliDecompress"],
];
for (const [format, name] of formats) {
  const stream = {
    [name]: class extends ZlibBase {
      constructor(options?: Options) {
        super(format, options);
      }
    },
  }[name]!;
  // Node's classes can be called without `new`.
  zlib[name] = new Proxy(stream, { apply: (target, _self, args) => new target(...(args as [Options?])) });
  zlib[`create${name}`] = (options?: Options) => new stream(options);
  zlib[`${format}Sync`] = (value: unknown, options?: Options) => whole(format, value, options);
  zlib[format] = (value: unknown, options: Options | Callback, callback?: Callback) => {
    const done = typeof options === "function" ? options : callback;
    checkFunction(done, "callback");
    const given = typeof options === "function" ? {} : options;
    const input = bytes(value);
    let result: Uint8Array | undefined;
    let failure: Error | null = null;
    try {
      result = whole(format, input, given);
    } catch (error) {
      failure = error as Error;
    }
    ticks().add(done as Callback, failure ? [failure] : [null, result]);
  };
}
zlib.crc32 = (data: string | Uint8Array, start = 0) => ops.crc32(typeof data === "string" ? data : bytes(data), start);

export const modules = { "node:zlib": zlib };
