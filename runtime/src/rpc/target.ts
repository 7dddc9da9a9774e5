/** What a call from afar reaches of an object here: the methods of its class, never what else it holds. */
import {
  ArrayIsArray,
  ObjectGetOwnPropertyDescriptor,
  ObjectGetPrototypeOf,
  ObjectPrototype,
  ObjectPrototypeHasOwnProperty,
  ReflectApply,
  ReflectGet,
} from "../internal/primordials.ts";
import { entrypointPrototype, isEntrypoint, isTarget, targetPrototype } from "../worker/entrypoint.ts";
import { isService } from "../worker/service.ts";
import { memberOf, isStub } from "./stub.ts";

/** Names that have a meaning of their own, here or at the caller's. */
const RESERVED = ["constructor", "then", "catch", "finally", "dup", "onRpcBroken", "__proto__", "prototype"];
/** Handlers of events, which no remote call may pretend to be. */
const HANDLERS = ["fetch", "connect", "scheduled", "queue", "tail", "tailStream", "trace", "alarm", "email", "test"];

/** The object that answers a session's first calls, and what plain objects are given beside the arguments. */
export class Root {
  constructor(
    readonly target: object,
    readonly env: unknown,
    readonly context: unknown,
  ) {}
}

function unknownMember(name: string): TypeError {
  return new TypeError(`The RPC receiver does not implement the method "${name}".`);
}

function isOneOf(names: readonly string[], name: string): boolean {
  for (let i = 0; i < names.length; i++) if (names[i] === name) return true;
  return false;
}

/** The value of a member that may be reached from afar. */
function read(receiver: unknown, name: string): unknown {
  if (isOneOf(RESERVED, name)) throw unknownMember(name);
  if (isStub(receiver)) return memberOf(receiver, name);
  if (isService(receiver)) return (receiver as Record<string, unknown>)[name];
  let target = receiver;
  if (receiver instanceof Root) {
    if (isOneOf(HANDLERS, name)) throw unknownMember(name);
    target = receiver.target;
  }
  const isInstance = isEntrypoint(target);
  if (isInstance || isTarget(target)) {
    const end = isInstance ? entrypointPrototype : targetPrototype;
    let at = ObjectGetPrototypeOf(target) as object | null;
    while (at !== null && at !== end && at !== ObjectPrototype) {
      if (ObjectGetOwnPropertyDescriptor(at, name) !== undefined) return ReflectGet(at, name, target);
      at = ObjectGetPrototypeOf(at) as object | null;
    }
    throw unknownMember(name);
  }
  if (typeof target !== "object" || target === null) throw unknownMember(name);
  const prototype = ObjectGetPrototypeOf(target);
  // An entry point that is a plain object may be of any class; only what it holds itself counts.
  if (!(receiver instanceof Root) && !ArrayIsArray(target) && prototype !== null && prototype !== ObjectPrototype) {
    throw unknownMember(name);
  }
  return ObjectPrototypeHasOwnProperty(target, name) ? (target as Record<string, unknown>)[name] : undefined;
}

/** Calls what the path leads to, or reads it where there are no arguments. The first step is taken at once. */
export async function perform(target: unknown, path: readonly string[], args: unknown[] | undefined): Promise<unknown> {
  let receiver: unknown;
  let value = target;
  for (let i = 0; i < path.length; i++) {
    receiver = i === 0 ? value : await value;
    value = read(receiver, path[i]!);
  }
  if (args === undefined) {
    if (value instanceof Root) throw new TypeError("An entry point itself cannot be had.");
    if (typeof value !== "function" || isStub(value)) return value;
    // A method that is had rather than called keeps its object.
    const method = value;
    const object = receiver instanceof Root ? receiver.target : receiver;
    return (...given: unknown[]) => ReflectApply(method, object, given);
  }
  if (typeof value !== "function") {
    throw path.length === 0 ? new TypeError("The RPC receiver is no function.") : unknownMember(path[path.length - 1]!);
  }
  if (receiver instanceof Root) {
    const { target: object, env, context } = receiver;
    return ReflectApply(value, object, isEntrypoint(object) ? args : [args[0], env, context]);
  }
  return ReflectApply(value, receiver, args);
}
