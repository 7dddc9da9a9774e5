/** `util.types`: what an object is by its internal slots, whatever its prototype says. */
const call = (prototype: object, name: PropertyKey) => {
  const descriptor = Object.getOwnPropertyDescriptor(prototype, name)!;
  return (descriptor.get ?? descriptor.value) as Function;
};
/** Whether a method that insists on a slot accepts the object. */
const probe = (method: Function, ...args: unknown[]) => (value: unknown) => {
  if (typeof value !== "object" || value === null) return false;
  try {
    Reflect.apply(method, value, args);
    return true;
  } catch {
    return false;
  }
};
const tagOf = call(Object.getPrototypeOf(Uint8Array.prototype) as object, Symbol.toStringTag);
const tag = (value: unknown) => (ArrayBuffer.isView(value) ? (Reflect.apply(tagOf, value, []) as string | undefined) : undefined);
const tagged = (value: unknown) => Object.prototype.toString.call(value).slice(8, -1);
const isObject = (value: unknown): value is object => typeof value === "object" && value !== null;
const named = (name: string) => (value: unknown) => tag(value) === name;

const isNumberObject = probe(Number.prototype.valueOf);
const isStringObject = probe(String.prototype.valueOf);
const isBooleanObject = probe(Boolean.prototype.valueOf);
const isBigIntObject = probe(BigInt.prototype.valueOf);
const isSymbolObject = probe(Symbol.prototype.valueOf);
const isArrayBuffer = probe(call(ArrayBuffer.prototype, "byteLength"));

export const types = {
  isExternal: () => false,
  isProxy: () => false,
  isDate: probe(Date.prototype.getTime),
  isRegExp: (value: unknown) => isObject(value) && value !== RegExp.prototype && isRegExp(value),
  isMap: probe(call(Map.prototype, "size")),
  isSet: probe(call(Set.prototype, "size")),
  isWeakMap: probe(WeakMap.prototype.has, {}),
  isWeakSet: probe(WeakSet.prototype.has, {}),
  isPromise: (value: unknown) => isObject(value) && tagged(value) === "Promise" && value instanceof Promise,
  isNativeError: (value: unknown) =>
    isObject(value) && (value instanceof Error || (!(Symbol.toStringTag in value) && tagged(value) === "Error")),
  isArgumentsObject: (value: unknown) => isObject(value) && !(Symbol.toStringTag in value) && tagged(value) === "Arguments",
  isGeneratorFunction: (value: unknown) => typeof value === "function" && /GeneratorFunction$/.test(tagged(value)),
  isAsyncFunction: (value: unknown) => typeof value === "function" && /^Async/.test(tagged(value)),
  isGeneratorObject: (value: unknown) => isObject(value) && tagged(value) === "Generator",
  isMapIterator: (value: unknown) => isObject(value) && tagged(value) === "Map Iterator",
  isSetIterator: (value: unknown) => isObject(value) && tagged(value) === "Set Iterator",
  isModuleNamespaceObject: (value: unknown) => isObject(value) && Object.getPrototypeOf(value) === null && tagged(value) === "Module",
  isArrayBuffer,
  isSharedArrayBuffer: () => false,
  isAnyArrayBuffer: isArrayBuffer,
  isArrayBufferView: (value: unknown) => ArrayBuffer.isView(value),
  isDataView: (value: unknown) => ArrayBuffer.isView(value) && tag(value) === undefined,
  isTypedArray: (value: unknown) => tag(value) !== undefined,
  isUint8Array: named("Uint8Array"),
  isUint8ClampedArray: named("Uint8ClampedArray"),
  isUint16Array: named("Uint16Array"),
  isUint32Array: named("Uint32Array"),
  isInt8Array: named("Int8Array"),
  isInt16Array: named("Int16Array"),
  isInt32Array: named("Int32Array"),
  isFloat32Array: named("Float32Array"),
  isFloat64Array: named("Float64Array"),
  isBigInt64Array: named("BigInt64Array"),
  isBigUint64Array: named("BigUint64Array"),
  isNumberObject,
  isStringObject,
  isBooleanObject,
  isBigIntObject,
  isSymbolObject,
  isBoxedPrimitive: (value: unknown) =>
    isNumberObject(value) || isStringObject(value) || isBooleanObject(value) || isBigIntObject(value) || isSymbolObject(value),
  isCryptoKey: (value: unknown) => isObject(value) && tagged(value) === "CryptoKey",
  isKeyObject: (value: unknown) => isObject(value) && tagged(value) === "KeyObject",
};

const isRegExp = probe(call(RegExp.prototype, "source"));
