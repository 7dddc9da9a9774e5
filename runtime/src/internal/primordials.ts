/**
 * ECMAScript's own functions as they were before user code ran. The runtime uses these instead of looking methods
 * up on prototypes that a worker may have changed.
 */
const { bind, call } = Function.prototype;

// biome-ignore lint: the one place where `this` is turned into a parameter.
type Method = (this: any, ...args: any[]) => any;
type Uncurried<F extends Method> = F extends (this: any, ...args: infer A) => infer R
  ? (self: any, ...args: A) => R
  : never;

/** Turns a method into a function that takes `this` as its first argument. */
export const uncurryThis = bind.bind(call) as unknown as <F extends Method>(method: F) => Uncurried<F>;

/** The getter of a property, as a function of its object. */
export function uncurryGetter<T>(prototype: object, name: PropertyKey): (self: unknown) => T {
  const getter = Object.getOwnPropertyDescriptor(prototype, name)?.get;
  if (getter === undefined) throw new Error(`no getter ${String(name)}`);
  return uncurryThis(getter) as (self: unknown) => T;
}

export const FunctionPrototypeBind = uncurryThis(bind);

export const {
  assign: ObjectAssign,
  create: ObjectCreate,
  defineProperty: ObjectDefineProperty,
  freeze: ObjectFreeze,
  getOwnPropertyDescriptor: ObjectGetOwnPropertyDescriptor,
  getOwnPropertyNames: ObjectGetOwnPropertyNames,
  getPrototypeOf: ObjectGetPrototypeOf,
  keys: ObjectKeys,
  setPrototypeOf: ObjectSetPrototypeOf,
} = Object;
export const ObjectPrototypeHasOwnProperty = uncurryThis(Object.prototype.hasOwnProperty);
export const ObjectPrototypePropertyIsEnumerable = uncurryThis(Object.prototype.propertyIsEnumerable);
/** Whether the second is an instance of the first, whatever its class says of itself. */
export const FunctionPrototypeHasInstance = uncurryThis(Function.prototype[Symbol.hasInstance]);
export const ObjectPrototypeToString = uncurryThis(Object.prototype.toString);

export const {
  apply: ReflectApply,
  construct: ReflectConstruct,
  ownKeys: ReflectOwnKeys,
  get: ReflectGet,
  setPrototypeOf: ReflectSetPrototypeOf,
} = Reflect;

export const { isArray: ArrayIsArray } = Array;
export const ArrayPrototypeJoin = uncurryThis(Array.prototype.join);
export const ArrayPrototypePush = uncurryThis(Array.prototype.push);
export const ArrayPrototypeShift = uncurryThis(Array.prototype.shift);
export const ArrayPrototypeSlice = uncurryThis(Array.prototype.slice);
export const ArrayPrototypeSort = uncurryThis(Array.prototype.sort);
export const ArrayPrototypeSplice = uncurryThis(Array.prototype.splice);
export const ArrayPrototypeFilter = uncurryThis(Array.prototype.filter) as <T>(self: T[], test: (item: T) => unknown) => T[];
export const ArrayPrototypeIndexOf = uncurryThis(Array.prototype.indexOf);

/** What iterators inherit `Symbol.iterator` from. */
export const IteratorPrototype = ObjectGetPrototypeOf(ObjectGetPrototypeOf([][Symbol.iterator]())) as object;

export const { fromCharCode: StringFromCharCode } = String;
export const StringPrototypeCharCodeAt = uncurryThis(String.prototype.charCodeAt);
export const StringPrototypeCodePointAt = uncurryThis(String.prototype.codePointAt);
export const StringPrototypeIncludes = uncurryThis(String.prototype.includes);
export const StringPrototypeIndexOf = uncurryThis(String.prototype.indexOf);
export const StringPrototypeLastIndexOf = uncurryThis(String.prototype.lastIndexOf);
export const StringPrototypePadEnd = uncurryThis(String.prototype.padEnd);
export const StringPrototypePadStart = uncurryThis(String.prototype.padStart);
export const StringPrototypeRepeat = uncurryThis(String.prototype.repeat);
export const StringPrototypeSlice = uncurryThis(String.prototype.slice);
export const StringPrototypeStartsWith = uncurryThis(String.prototype.startsWith);
export const StringPrototypeEndsWith = uncurryThis(String.prototype.endsWith);
export const StringPrototypeToLowerCase = uncurryThis(String.prototype.toLowerCase);
export const StringPrototypeToUpperCase = uncurryThis(String.prototype.toUpperCase);
export const StringPrototypeToWellFormed = uncurryThis(String.prototype.toWellFormed);
export const StringPrototypeTrim = uncurryThis(String.prototype.trim);

export const NativeRegExp = RegExp;
export const RegExpPrototypeExec = uncurryThis(RegExp.prototype.exec);

export const NumberPrototypeToString = uncurryThis(Number.prototype.toString);
export const { isFinite: NumberIsFinite, isInteger: NumberIsInteger, isNaN: NumberIsNaN } = Number;
export const { max: MathMax, min: MathMin, trunc: MathTrunc, floor: MathFloor, sqrt: MathSqrt } = Math;

export const { parse: JSONParse, stringify: JSONStringify } = JSON;

export const NativePromise = Promise;
export const PromisePrototypeThen = uncurryThis(Promise.prototype.then) as <T, A = T, B = never>(
  self: Promise<T>,
  onFulfilled?: ((value: T) => A) | null,
  onRejected?: ((reason: any) => B) | null,
) => Promise<A | B>;
export const PromiseResolve = Promise.resolve.bind(Promise) as <T>(value: T | PromiseLike<T>) => Promise<T>;
export const PromiseReject = Promise.reject.bind(Promise) as (reason: unknown) => Promise<never>;

export const NativeProxy = Proxy;
export const ObjectPrototype = Object.prototype;
export const FunctionPrototype = Function.prototype;
export const NativeWeakMap = WeakMap;
export const WeakMapPrototypeGet = uncurryThis(WeakMap.prototype.get);
export const WeakMapPrototypeSet = uncurryThis(WeakMap.prototype.set);
export const NativeMap = Map;
export const MapPrototypeDelete = uncurryThis(Map.prototype.delete);
export const MapPrototypeGet = uncurryThis(Map.prototype.get);
export const MapPrototypeSet = uncurryThis(Map.prototype.set);
export const MapPrototypeClear = uncurryThis(Map.prototype.clear);
export const MapPrototypeHas = uncurryThis(Map.prototype.has);
export const MapPrototypeForEach = uncurryThis(Map.prototype.forEach);
export const MapPrototypeGetSize = uncurryGetter<number>(Map.prototype, "size");
export const WeakMapPrototypeDelete = uncurryThis(WeakMap.prototype.delete);
export const WeakMapPrototypeHas = uncurryThis(WeakMap.prototype.has);
export const NativeSet = Set;
export const SetPrototypeHas = uncurryThis(Set.prototype.has);
export const SetPrototypeForEach = uncurryThis(Set.prototype.forEach);
export const SetPrototypeGetSize = uncurryGetter<number>(Set.prototype, "size");

const TypedArrayPrototype = Object.getPrototypeOf(Uint8Array.prototype) as Uint8Array;
export const TypedArrayPrototypeGetBuffer = uncurryGetter<ArrayBuffer>(TypedArrayPrototype, "buffer");
export const TypedArrayPrototypeGetByteLength = uncurryGetter<number>(TypedArrayPrototype, "byteLength");
export const TypedArrayPrototypeGetLength = uncurryGetter<number>(TypedArrayPrototype, "length");
export const TypedArrayPrototypeGetByteOffset = uncurryGetter<number>(TypedArrayPrototype, "byteOffset");
/** The typed array's class name, or undefined for anything else. */
export const TypedArrayPrototypeGetTag = uncurryGetter<string | undefined>(TypedArrayPrototype, Symbol.toStringTag);
export const TypedArrayPrototypeSet = uncurryThis(TypedArrayPrototype.set);
export const TypedArrayPrototypeSlice = uncurryThis(TypedArrayPrototype.slice) as (
  self: Uint8Array,
  start?: number,
  end?: number,
) => Uint8Array<ArrayBuffer>;
export const TypedArrayPrototypeSubarray = uncurryThis(TypedArrayPrototype.subarray) as (
  self: Uint8Array,
  start?: number,
  end?: number,
) => Uint8Array<ArrayBuffer>;
export const DataViewPrototypeGetBuffer = uncurryGetter<ArrayBuffer>(DataView.prototype, "buffer");
export const DataViewPrototypeGetByteLength = uncurryGetter<number>(DataView.prototype, "byteLength");
export const DataViewPrototypeGetByteOffset = uncurryGetter<number>(DataView.prototype, "byteOffset");
export const ArrayBufferIsView = ArrayBuffer.isView;
export const ArrayBufferPrototypeGetByteLength = uncurryGetter<number>(ArrayBuffer.prototype, "byteLength");
export const ArrayBufferPrototypeGetDetached = uncurryGetter<boolean>(ArrayBuffer.prototype, "detached");
export const ArrayBufferPrototypeSlice = uncurryThis(ArrayBuffer.prototype.slice);
/** Moves the memory into a new buffer and detaches the old one; throws a `TypeError` where that is not possible. */
export const ArrayBufferPrototypeTransfer = uncurryThis(
  (ArrayBuffer.prototype as unknown as { transfer: () => ArrayBuffer }).transfer,
);

export const NativeUint8Array = Uint8Array;
export const NativeBigInt = BigInt;
export const NativeDate = Date;

/** Whether the value is an `ArrayBuffer`, of any realm. */
export function isArrayBuffer(value: unknown): value is ArrayBuffer {
  if (typeof value !== "object" || value === null) return false;
  try {
    ArrayBufferPrototypeGetByteLength(value);
    return true;
  } catch {
    return false;
  }
}

function overBuffer(buffer: ArrayBuffer, offset: number, length: number): Uint8Array<ArrayBuffer> {
  // Nothing is left behind a detached one.
  return isArrayBuffer(buffer) && ArrayBufferPrototypeGetDetached(buffer)
    ? new NativeUint8Array(0)
    : new NativeUint8Array(buffer, offset, length);
}

/** The bytes behind an `ArrayBuffer` or a view of one, without copying; undefined for anything else. */
export function bytesOf(source: unknown): Uint8Array<ArrayBuffer> | undefined {
  if (ArrayBufferIsView(source)) {
    if (TypedArrayPrototypeGetTag(source) === "Uint8Array") return source as Uint8Array<ArrayBuffer>;
    if (TypedArrayPrototypeGetTag(source) !== undefined) {
      return overBuffer(
        TypedArrayPrototypeGetBuffer(source),
        TypedArrayPrototypeGetByteOffset(source),
        TypedArrayPrototypeGetByteLength(source),
      );
    }
    const buffer = DataViewPrototypeGetBuffer(source);
    if (isArrayBuffer(buffer) && ArrayBufferPrototypeGetDetached(buffer)) return new NativeUint8Array(0);
    return overBuffer(buffer, DataViewPrototypeGetByteOffset(source), DataViewPrototypeGetByteLength(source));
  }
  return isArrayBuffer(source) ? overBuffer(source, 0, ArrayBufferPrototypeGetByteLength(source)) : undefined;
}

/** Several chunks as one. */
export function concatBytes(chunks: readonly Uint8Array<ArrayBuffer>[]): Uint8Array<ArrayBuffer> {
  if (chunks.length === 1) return chunks[0]!;
  let length = 0;
  for (let i = 0; i < chunks.length; i++) length += TypedArrayPrototypeGetByteLength(chunks[i]);
  const whole = new NativeUint8Array(length);
  let at = 0;
  for (let i = 0; i < chunks.length; i++) {
    TypedArrayPrototypeSet(whole, chunks[i]!, at);
    at += TypedArrayPrototypeGetByteLength(chunks[i]);
  }
  return whole;
}
