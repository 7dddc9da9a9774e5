/** Views of buffers, taken apart without asking anything that user code may have replaced. */
import {
  ArrayBufferIsView,
  ArrayBufferPrototypeGetByteLength,
  ArrayBufferPrototypeGetDetached,
  ArrayBufferPrototypeTransfer,
  DataViewPrototypeGetBuffer,
  DataViewPrototypeGetByteLength,
  DataViewPrototypeGetByteOffset,
  NativeUint8Array,
  ObjectCreate,
  TypedArrayPrototypeGetBuffer,
  TypedArrayPrototypeGetByteLength,
  TypedArrayPrototypeGetByteOffset,
  TypedArrayPrototypeGetTag,
  TypedArrayPrototypeSet,
} from "../internal/primordials.ts";

type ViewClass = new (buffer: ArrayBuffer, byteOffset: number, length: number) => ArrayBufferView<ArrayBuffer>;

/** A view's parts; `make` makes others of its class. */
export interface View {
  buffer: ArrayBuffer;
  byteOffset: number;
  byteLength: number;
  elementSize: number;
  make: ViewClass;
}

interface Kind {
  make: ViewClass;
  elementSize: number;
}

const DATA_VIEW: Kind = { make: DataView as ViewClass, elementSize: 1 };
const kinds: Record<string, Kind> = ObjectCreate(null);
for (const constructor of [
  Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array, Float32Array, Float64Array,
  BigInt64Array, BigUint64Array, (globalThis as unknown as { Float16Array?: typeof Float32Array }).Float16Array,
]) {
  if (constructor !== undefined) {
    kinds[constructor.name] = { make: constructor as unknown as ViewClass, elementSize: constructor.BYTES_PER_ELEMENT };
  }
}

export function isView(value: unknown): value is ArrayBufferView<ArrayBuffer> {
  return ArrayBufferIsView(value);
}

/** Takes a view apart. Throws a `TypeError` for views of shared memory. */
export function viewOf(view: ArrayBufferView): View {
  const tag = TypedArrayPrototypeGetTag(view);
  if (tag === undefined) {
    const buffer = DataViewPrototypeGetBuffer(view) as ArrayBuffer;
    if (isDetached(buffer)) return { buffer, byteOffset: 0, byteLength: 0, elementSize: 1, make: DATA_VIEW.make };
    return {
      buffer,
      byteOffset: DataViewPrototypeGetByteOffset(view),
      byteLength: DataViewPrototypeGetByteLength(view),
      elementSize: 1,
      make: DATA_VIEW.make,
    };
  }
  const kind = kinds[tag]!;
  const buffer = TypedArrayPrototypeGetBuffer(view);
  isDetached(buffer);
  return {
    buffer,
    byteOffset: TypedArrayPrototypeGetByteOffset(view),
    byteLength: TypedArrayPrototypeGetByteLength(view),
    elementSize: kind.elementSize,
    make: kind.make,
  };
}

export function isDetached(buffer: ArrayBuffer): boolean {
  return ArrayBufferPrototypeGetDetached(buffer);
}

export function bufferLength(buffer: ArrayBuffer): number {
  return ArrayBufferPrototypeGetByteLength(buffer);
}

/** TransferArrayBuffer. Throws a `TypeError` if the buffer cannot be moved. */
export function transfer(buffer: ArrayBuffer): ArrayBuffer {
  if (isDetached(buffer)) throw new TypeError("The buffer is detached.");
  return ArrayBufferPrototypeTransfer(buffer);
}

/** Copies bytes from one buffer into another. */
export function copyBytes(from: ArrayBuffer, fromOffset: number, to: ArrayBuffer, toOffset: number, length: number): void {
  TypedArrayPrototypeSet(new NativeUint8Array(to, toOffset, length), new NativeUint8Array(from, fromOffset, length));
}
