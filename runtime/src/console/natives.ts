/** What `console`'s part needs of ECMAScript as it was before the worker's code ran. */
import {
  ArrayPrototypeFilter,
  NativeSet,
  ObjectGetOwnPropertyNames,
  StringPrototypeCharCodeAt,
  uncurryGetter,
  uncurryThis,
} from "../internal/primordials.ts";

export const NativeError = Error;
export const NativeNumber = Number;
export const NativeString = String;
export const RegExpPrototype = RegExp.prototype as object;
export const RegExpToString = uncurryThis(RegExp.prototype.toString);
export const RegExpGetSource = uncurryGetter<string>(RegExp.prototype, "source");
export const DateToISOString = uncurryThis(Date.prototype.toISOString);
export const DateGetTime = uncurryThis(Date.prototype.getTime);
export const FunctionToString = uncurryThis(Function.prototype.toString);
export const SymbolToString = uncurryThis(Symbol.prototype.toString);
export const WeakMapHas = uncurryThis(WeakMap.prototype.has);
export const WeakSetHas = uncurryThis(WeakSet.prototype.has);
export const WeakRefDeref = uncurryThis(WeakRef.prototype.deref);
export const { parseInt: parseInteger, parseFloat: parseDecimal } = Number;

/** Objects around primitive values, and how to get at these. */
export const boxes: [string, (value: unknown) => unknown][] = [
  ["Number", uncurryThis(Number.prototype.valueOf)],
  ["String", uncurryThis(String.prototype.valueOf)],
  ["Boolean", uncurryThis(Boolean.prototype.valueOf)],
  ["BigInt", uncurryThis(BigInt.prototype.valueOf)],
  ["Symbol", uncurryThis(Symbol.prototype.valueOf)],
];

/** Names of ECMAScript's classes. */
export const classes = new NativeSet(
  ArrayPrototypeFilter(ObjectGetOwnPropertyNames(globalThis), (name) => {
    const code = StringPrototypeCharCodeAt(name, 0);
    return code >= 65 && code <= 90;
  }),
);
