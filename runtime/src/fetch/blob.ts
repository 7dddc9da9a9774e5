/** `Blob` and `File`, kept in memory. */
import {
  ArrayPrototypePush,
  bytesOf,
  concatBytes,
  MathMax,
  MathMin,
  NativeUint8Array,
  StringPrototypeCharCodeAt,
  StringPrototypeToLowerCase,
  TypedArrayPrototypeGetBuffer,
  TypedArrayPrototypeGetByteOffset,
  TypedArrayPrototypeGetLength,
  TypedArrayPrototypeSlice,
  uncurryGetter,
} from "../internal/primordials.ts";
import { finishInterface, INTERNAL, requireArguments, toDictionary, toUSVString } from "../internal/webidl.ts";
import { streamOf } from "../streams/streams.ts";
import * as ops from "../host.ts";

let blobBytes: (blob: Blob) => Uint8Array<ArrayBuffer>;
let isBlob: (value: unknown) => value is Blob;
let setBytes: (blob: Blob, bytes: Uint8Array<ArrayBuffer>, type: string) => void;
let newBlob: (bytes: Uint8Array<ArrayBuffer>, type: string) => Blob;

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
    const chunks: Uint8Array<ArrayBuffer>[] = [];
    if (parts !== undefined) {
      if (typeof parts !== "object" || parts === null || parts[Symbol.iterator] === undefined) {
        throw new TypeError("Blob takes a sequence of parts.");
      }
      for (const part of parts) {
        const bytes = isBlob(part) ? part.#bytes : bytesOf(part);
        ArrayPrototypePush(chunks, bytes ?? ops.encodeUtf8(toUSVString(part)));
      }
    }
    const given = toDictionary<BlobOptions>(options, "Blob options");
    // A lone chunk is somebody else's memory.
    this.#bytes = chunks.length === 1 ? TypedArrayPrototypeSlice(chunks[0]!) : concatBytes(chunks);
    this.#type = given.type === undefined ? "" : normalizeType(`${given.type}`);
  }

  static {
    blobBytes = (blob) => blob.#bytes;
    isBlob = (value): value is Blob => typeof value === "object" && value !== null && #bytes in value;
    newBlob = (bytes, type) => {
      const blob = new Blob(INTERNAL as never);
      setBytes(blob, bytes, type);
      return blob;
    };
    setBytes = (blob, bytes, type) => {
      blob.#bytes = bytes;
      blob.#type = normalizeType(type);
    };
  }

  get size(): number {
    return TypedArrayPrototypeGetLength(this.#bytes);
  }
  get type(): string {
    return this.#type;
  }
  slice(start?: number, end?: number, type?: string): Blob {
    const size = TypedArrayPrototypeGetLength(this.#bytes);
    const clamp = (given: number | undefined, otherwise: number) => {
      if (given === undefined) return otherwise;
      const at = Math.trunc(Number(given)) || 0;
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

const getType = uncurryGetter<string>(Blob.prototype, "type");
let copyFile: (blob: Blob) => File | undefined;

export class File extends Blob {
  #name: string;
  #lastModified: number;

  static {
    copyFile = (blob) => {
      if (!(#name in blob)) return undefined;
      const copy = new File(INTERNAL as never, blob.#name, { lastModified: blob.#lastModified });
      setBytes(copy, blobBytes(blob), getType(blob));
      return copy;
    };
  }

  constructor(parts: Iterable<unknown>, name: string, options: (Partial<BlobOptions> & { lastModified?: number }) | undefined = undefined) {
    requireArguments(arguments.length, 2, "File constructor");
    super(parts, options);
    this.#name = toUSVString(name);
    this.#lastModified = options?.lastModified === undefined ? ops.now() : Math.trunc(Number(options.lastModified)) || 0;
  }
  get name(): string {
    return this.#name;
  }
  get lastModified(): number {
    return this.#lastModified;
  }
  get webkitRelativePath(): string {
    return "";
  }
}
finishInterface(File, "File");

/** A copy of a `Blob` or `File` for a structured clone, undefined for anything else. The bytes are shared: nothing changes them. */
export function copyBlob(value: object): Blob | undefined {
  if (!isBlob(value)) return undefined;
  const copy = copyFile(value);
  return copy ?? newBlob(blobBytes(value), getType(value));
}

export { blobBytes, isBlob, newBlob };
