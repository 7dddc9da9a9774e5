/** `Blob` and `File`, kept in memory. */
import {
  ArrayPrototypePush,
  bytesOf,
  concatBytes,
  MathFloor,
  MathMax,
  MathMin,
  MathTrunc,
  NativeUint8Array,
  NumberIsFinite,
  NumberIsNaN,
  ObjectCreate,
  StringPrototypeCharCodeAt,
  StringPrototypeIndexOf,
  StringPrototypeSlice,
  StringPrototypeToLowerCase,
  TypedArrayPrototypeGetBuffer,
  TypedArrayPrototypeGetByteOffset,
  TypedArrayPrototypeGetLength,
  TypedArrayPrototypeSlice,
} from "../internal/primordials.ts";
import { finishInterface, INTERNAL, requireArguments, takeSequence, toDictionary, toUSVString } from "../internal/webidl.ts";
import { streamOf } from "../streams/streams.ts";
import * as ops from "../host.ts";

let blobBytes: (blob: Blob) => Uint8Array<ArrayBuffer>;
let isBlob: (value: unknown) => value is Blob;
let newBlob: (bytes: Uint8Array<ArrayBuffer>, type: string) => Blob;
let setContent: (blob: Blob, bytes: Uint8Array<ArrayBuffer>, type: string) => void;
let blobType: (blob: Blob) => string;
let isFile: (value: unknown) => value is File;
let fileName: (file: File) => string;
let fileTime: (file: File) => number;
/** Of bytes that nobody else writes to. */
let newFile: (bytes: Uint8Array<ArrayBuffer>, name: string, type: string, lastModified: number) => File;

/** A media type in its normal form; empty when it has characters that none has. */
function normalizeType(type: string): string {
  for (let i = 0; i < type.length; i++) {
    const code = StringPrototypeCharCodeAt(type, i);
    if (code < 0x20 || code > 0x7e) return "";
  }
  return StringPrototypeToLowerCase(type);
}

interface BlobOptions {
  type: string;
  endings: string;
}

/** Web IDL's `[Clamp] long long`: rounded, halves to the even neighbour. */
function toOffset(value: unknown): number {
  const number = Number(value);
  if (NumberIsNaN(number)) return 0;
  const below = MathFloor(number);
  const over = number - below;
  return over < 0.5 || (over === 0.5 && below % 2 === 0) ? below : below + 1;
}

/** Line breaks of any kind become LF, as on the system that servers run. */
function nativeEndings(text: string): string {
  let out = "";
  let start = 0;
  for (let at = StringPrototypeIndexOf(text, "\r"); at >= 0; at = StringPrototypeIndexOf(text, "\r", start)) {
    out += `${StringPrototypeSlice(text, start, at)}\n`;
    start = at + (StringPrototypeCharCodeAt(text, at + 1) === 10 ? 2 : 1);
  }
  return out + StringPrototypeSlice(text, start);
}

/** Web IDL's `long long`, as far as dates go. */
function toLongLong(value: unknown): number {
  const number = MathTrunc(Number(value));
  return NumberIsFinite(number) ? number + 0 : 0;
}

/** In the order of Web IDL's dictionaries: by name. */
function readOptions(options: unknown): { endings?: string; type?: string } {
  const { endings, type } = toDictionary<BlobOptions>(options, "Blob options");
  const found: { endings?: string; type?: string } = ObjectCreate(null);
  if (endings !== undefined) {
    found.endings = `${endings}`;
    if (found.endings !== "transparent" && found.endings !== "native") {
      throw new TypeError('The option endings is "transparent" or "native".');
    }
  }
  if (type !== undefined) found.type = `${type}`;
  return found;
}

export class Blob {
  /** Never written to once the blob exists, so that slices and clones can share it. */
  #bytes: Uint8Array<ArrayBuffer>;
  #type: string;

  constructor(parts: Iterable<unknown> | undefined = undefined, options?: Partial<BlobOptions>) {
    if ((parts as unknown) === INTERNAL) {
      this.#bytes = new NativeUint8Array(0);
      this.#type = "";
      return;
    }
    const given: (string | Blob | Uint8Array<ArrayBuffer>)[] = [];
    if (parts !== undefined) {
      takeSequence(parts, "A Blob's content", (part) => {
        ArrayPrototypePush(given, isBlob(part) ? part : (bytesOf(part) ?? toUSVString(part)));
      });
    }
    const { endings = "transparent", type } = readOptions(options);
    const chunks: Uint8Array<ArrayBuffer>[] = [];
    for (let i = 0; i < given.length; i++) {
      const part = given[i]!;
      if (typeof part === "string") {
        ArrayPrototypePush(chunks, ops.encodeUtf8(endings === "native" ? nativeEndings(part) : part));
      } else {
        ArrayPrototypePush(chunks, isBlob(part) ? part.#bytes : part);
      }
    }
    // A lone chunk is somebody else's memory.
    this.#bytes = chunks.length === 1 ? TypedArrayPrototypeSlice(chunks[0]!) : concatBytes(chunks);
    this.#type = type === undefined ? "" : normalizeType(type);
  }

  static {
    blobBytes = (blob) => blob.#bytes;
    isBlob = (value): value is Blob => typeof value === "object" && value !== null && #bytes in value;
    blobType = (blob) => blob.#type;
    setContent = (blob, bytes, type) => {
      blob.#bytes = bytes;
      blob.#type = normalizeType(type);
    };
    newBlob = (bytes, type) => {
      const blob = new Blob(INTERNAL as never);
      setContent(blob, bytes, type);
      return blob;
    };
  }

  get size(): number {
    return TypedArrayPrototypeGetLength(this.#bytes);
  }
  get type(): string {
    return this.#type;
  }
  slice(start: number | undefined = undefined, end: number | undefined = undefined, type: string | undefined = undefined): Blob {
    const size = TypedArrayPrototypeGetLength(this.#bytes);
    const clamp = (given: number | undefined, otherwise: number) => {
      if (given === undefined) return otherwise;
      const at = toOffset(given);
      return at < 0 ? MathMax(size + at, 0) : MathMin(at, size);
    };
    const from = clamp(start, 0);
    const to = MathMax(clamp(end, size), from);
    const part = new NativeUint8Array(
      TypedArrayPrototypeGetBuffer(this.#bytes),
      TypedArrayPrototypeGetByteOffset(this.#bytes) + from,
      to - from,
    );
    return newBlob(part, type === undefined ? "" : `${type}`);
  }
  stream() {
    return streamOf(TypedArrayPrototypeSlice(this.#bytes));
  }
  async text(): Promise<string> {
    return ops.decodeUtf8(this.#bytes, false, false);
  }
  async bytes(): Promise<Uint8Array> {
    return TypedArrayPrototypeSlice(this.#bytes);
  }
  async arrayBuffer(): Promise<ArrayBuffer> {
    return TypedArrayPrototypeGetBuffer(TypedArrayPrototypeSlice(this.#bytes));
  }
}
finishInterface(Blob, "Blob");

export class File extends Blob {
  #name: string;
  #lastModified: number;

  constructor(parts: Iterable<unknown>, name: string, options: (Partial<BlobOptions> & { lastModified?: number }) | undefined = undefined) {
    if ((parts as unknown) === INTERNAL) {
      super(INTERNAL as never);
      this.#name = name;
      this.#lastModified = 0;
      return;
    }
    requireArguments(arguments.length, 2, "File constructor");
    super(parts, options);
    this.#name = toUSVString(name);
    const time = options?.lastModified;
    this.#lastModified = time === undefined ? ops.now() : toLongLong(time);
  }

  static {
    isFile = (value): value is File => typeof value === "object" && value !== null && #name in value;
    fileName = (file) => file.#name;
    fileTime = (file) => file.#lastModified;
    newFile = (bytes, name, type, lastModified) => {
      const file = new File(INTERNAL as never, name);
      setContent(file, bytes, type);
      file.#lastModified = lastModified;
      return file;
    };
  }

  get name(): string {
    return this.#name;
  }
  get lastModified(): number {
    return this.#lastModified;
  }
  get webkitRelativePath(): string {
    if (!isFile(this)) throw new TypeError("Not a File.");
    return "";
  }
}
finishInterface(File, "File");

/** A copy of a `Blob` or `File` for a structured clone, undefined for anything else. The bytes are shared: nothing changes them. */
export function copyBlob(value: object): Blob | undefined {
  if (!isBlob(value)) return undefined;
  const bytes = blobBytes(value);
  return isFile(value) ? newFile(bytes, fileName(value), blobType(value), fileTime(value)) : newBlob(bytes, blobType(value));
}

export { blobBytes, blobType, fileName, fileTime, isBlob, isFile, newBlob, newFile };
