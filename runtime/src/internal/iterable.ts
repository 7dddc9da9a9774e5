/** WebIDL's iterable declarations: entries, keys, values, forEach over a flat list of names and values. */
import {
  IteratorPrototype,
  ObjectCreate,
  ObjectDefineProperty,
  ReflectApply,
} from "./primordials.ts";
import { requireArguments } from "./webidl.ts";

/** Adds the iteration methods to a prototype; `listOf` gives the current list and throws for a strange object. */
export function defineIteration<T extends object, V>(
  prototype: T,
  name: string,
  listOf: (target: T) => readonly (string | V)[],
): void {
  class State {
    index = 0;
    constructor(
      readonly target: T,
      /** 0 keys, 1 values, 2 entries. */
      readonly kind: number,
    ) {}
  }
  const states = new WeakMap<object, State>();
  const getState = WeakMap.prototype.get.bind(states) as (iterator: object) => State | undefined;
  const setState = WeakMap.prototype.set.bind(states) as (iterator: object, state: State) => void;

  const iteratorPrototype = ObjectCreate(IteratorPrototype) as object;
  const methods = {
    next(this: object): IteratorResult<unknown> {
      const state = typeof this === "object" && this !== null ? getState(this) : undefined;
      if (state === undefined) throw new TypeError(`Not a ${name} iterator`);
      const list = listOf(state.target);
      const at = state.index * 2;
      if (at >= list.length) return { value: undefined, done: true };
      state.index += 1;
      const value = state.kind === 0 ? list[at] : state.kind === 1 ? list[at + 1] : [list[at], list[at + 1]];
      return { value, done: false };
    },
  };
  ObjectDefineProperty(iteratorPrototype, "next", {
    value: methods.next,
    writable: true,
    enumerable: true,
    configurable: true,
  });
  ObjectDefineProperty(iteratorPrototype, Symbol.toStringTag, { value: `${name} Iterator`, configurable: true });

  function iterate(target: T, kind: number): object {
    listOf(target);
    const iterator = ObjectCreate(iteratorPrototype) as object;
    setState(iterator, new State(target, kind));
    return iterator;
  }

  const members = {
    entries(this: T) {
      return iterate(this, 2);
    },
    keys(this: T) {
      return iterate(this, 0);
    },
    values(this: T) {
      return iterate(this, 1);
    },
    forEach(this: T, callback: Function, thisArgument: unknown = undefined): void {
      requireArguments(arguments.length, 1, `${name}.forEach`);
      let list = listOf(this);
      if (typeof callback !== "function") throw new TypeError(`${name}.forEach takes a function.`);
      for (let i = 0; i < list.length; i += 2) {
        ReflectApply(callback, thisArgument, [list[i + 1], list[i], this]);
        list = listOf(this);
      }
    },
  };
  for (const key of ["entries", "keys", "values", "forEach"] as const) {
    ObjectDefineProperty(prototype, key, { value: members[key], writable: true, enumerable: true, configurable: true });
  }
  ObjectDefineProperty(prototype, Symbol.iterator, {
    value: members.entries,
    writable: true,
    enumerable: false,
    configurable: true,
  });
}
