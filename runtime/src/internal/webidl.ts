/** What WebIDL asks of interfaces: conversions of arguments, attributes of properties. */
import {
  ObjectCreate,
  ObjectDefineProperty,
  ObjectFreeze,
  ObjectGetOwnPropertyDescriptor,
  ReflectApply,
  ReflectOwnKeys,
  StringPrototypeCharCodeAt,
  StringPrototypeToWellFormed,
} from "./primordials.ts";

/** Passed to a constructor as its first argument by the runtime itself; user code cannot reach it. */
export const INTERNAL: unique symbol = Symbol("internal");

/** Converts to a string, lone surrogates replaced. */
export function toUSVString(value: unknown): string {
  return StringPrototypeToWellFormed(typeof value === "string" ? value : `${value as string}`);
}

/** Converts to a string all of whose characters are bytes. */
export function toByteString(value: unknown, what: string): string {
  const text = typeof value === "string" ? value : `${value as string}`;
  for (let i = 0; i < text.length; i++) {
    if (StringPrototypeCharCodeAt(text, i) > 255) {
      throw new TypeError(`${what} contains a character that is not a byte, at index ${i}.`);
    }
  }
  return text;
}

/** Throws unless so many arguments were given. */
export function requireArguments(given: number, needed: number, what: string): void {
  if (given < needed) {
    throw new TypeError(`${what} takes ${needed} argument${needed === 1 ? "" : "s"}, but ${given} were given.`);
  }
}

/** Without a prototype, so that nothing can be planted in it. */
const NOTHING = ObjectFreeze(ObjectCreate(null)) as object;

/** An object's dictionary argument: absent, or an object. */
export function toDictionary<T extends object>(value: unknown, what: string): Partial<T> {
  if (value === undefined || value === null) return NOTHING;
  if (typeof value !== "object" && typeof value !== "function") throw new TypeError(`${what} must be an object.`);
  return value as Partial<T>;
}

/** Calls `take` with each item of a sequence, as it comes (Web IDL, section 3.2.21). */
export function takeSequence(value: unknown, what: string, take: (item: unknown) => void): void {
  const method = isObject(value) ? (value as Partial<Iterable<unknown>>)[Symbol.iterator] : undefined;
  if (typeof method !== "function") throw new TypeError(`${what} must be a sequence.`);
  const iterator = ReflectApply(method, value, []) as Iterator<unknown>;
  if (!isObject(iterator)) throw new TypeError(`${what} must be a sequence.`);
  const { next } = iterator;
  for (;;) {
    const result = ReflectApply(next, iterator, []) as IteratorResult<unknown>;
    if (!isObject(result)) throw new TypeError(`${what} must be a sequence.`);
    if (result.done) return;
    take(result.value);
  }
}

function isObject(value: unknown): value is object {
  return (typeof value === "object" && value !== null) || typeof value === "function";
}

/** For constructors that only the runtime may call. */
export function illegalConstructor(token: unknown): void {
  if (token !== INTERNAL) throw new TypeError("Illegal constructor");
}

const interfacePrototypes = new WeakSet<object>();
const addInterfacePrototype = WeakSet.prototype.add.bind(interfacePrototypes) as (prototype: object) => void;

/** Whether an object is the prototype of one of the runtime's interfaces. */
export const isInterfacePrototype = WeakSet.prototype.has.bind(interfacePrototypes) as (prototype: object) => boolean;

/** Gives the members of a class the attributes that WebIDL wants, and its instances their tag. */
export function finishInterface(constructor: { prototype: object }, name: string): void {
  addInterfacePrototype(constructor.prototype);
  ObjectDefineProperty(constructor, "name", { value: name, configurable: true });
  makeEnumerable(constructor.prototype);
  makeEnumerable(constructor);
  ObjectDefineProperty(constructor.prototype, Symbol.toStringTag, { value: name, configurable: true });
}

/** The members of a class or of its prototype, but for those that every class has. By index: parts come after the worker's code. */
function makeEnumerable(target: object): void {
  const keys = ReflectOwnKeys(target);
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i]!;
    if (typeof key === "symbol" || key === "constructor" || key === "prototype") continue;
    if (typeof target === "function" && (key === "name" || key === "length")) continue;
    if (ObjectGetOwnPropertyDescriptor(target, key)?.configurable) ObjectDefineProperty(target, key, { enumerable: true });
  }
}

/** Constants of an interface: on the class and on its prototype. */
export function defineConstants(constructor: { prototype: object }, constants: Record<string, number>): void {
  for (const name in constants) {
    const property = { value: constants[name], enumerable: true, writable: false, configurable: false };
    ObjectDefineProperty(constructor, name, property);
    ObjectDefineProperty(constructor.prototype, name, property);
  }
}

/** Puts an interface or a namespace into the global object. */
export function expose(name: string, value: unknown): void {
  // The bundler shortens names.
  if (typeof value === "function") ObjectDefineProperty(value, "name", { value: name, configurable: true });
  ObjectDefineProperty(globalThis, name, { value, writable: true, enumerable: false, configurable: true });
}

/** Puts an operation into the global object. */
export function exposeFunction(name: string, value: Function): void {
  ObjectDefineProperty(value, "name", { value: name, configurable: true });
  ObjectDefineProperty(globalThis, name, { value, writable: true, enumerable: true, configurable: true });
}
