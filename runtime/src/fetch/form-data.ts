/** `FormData`. */
import { ArrayPrototypePush } from "../internal/primordials.ts";
import { finishInterface, requireArguments, toUSVString } from "../internal/webidl.ts";
import { defineIteration } from "../internal/iterable.ts";
import * as ops from "../host.ts";
import { blobBytes, blobType, type File, fileTime, isBlob, isFile, newFile } from "./blob.ts";

export type FormDataValue = string | File;

let entriesOf: (form: FormData) => readonly FormDataValue[];
/** Adds what needs no conversion. */
let appendEntry: (form: FormData, name: string, value: FormDataValue) => void;
let isFormData: (value: unknown) => value is FormData;

function toValue(value: unknown, filename: unknown, what: string): FormDataValue {
  if (isBlob(value)) {
    if (isFile(value)) {
      if (filename === undefined) return value;
      return newFile(blobBytes(value), toUSVString(filename), blobType(value), fileTime(value));
    }
    return newFile(blobBytes(value), filename === undefined ? "blob" : toUSVString(filename), blobType(value), ops.now());
  }
  if (filename !== undefined) throw new TypeError(`${what} takes a file name only with a Blob.`);
  return toUSVString(value);
}

export class FormData {
  #list: FormDataValue[] = [];

  constructor(form: undefined = undefined) {
    if (form !== undefined) throw new TypeError("There are no HTML forms here.");
  }

  static {
    entriesOf = (form) => form.#list;
    appendEntry = (form, name, value) => {
      ArrayPrototypePush(form.#list, name, value);
    };
    isFormData = (value): value is FormData => typeof value === "object" && value !== null && #list in value;
    defineIteration(FormData.prototype, "FormData", (form) => form.#list);
  }

  append(name: string, value: unknown, filename: string | undefined = undefined): void {
    requireArguments(arguments.length, 2, "FormData.append");
    ArrayPrototypePush(this.#list, toUSVString(name), toValue(value, filename, "FormData.append"));
  }
  delete(name: string): void {
    requireArguments(arguments.length, 1, "FormData.delete");
    const key = toUSVString(name);
    const rest: FormDataValue[] = [];
    const list = this.#list;
    for (let i = 0; i < list.length; i += 2) if (list[i] !== key) ArrayPrototypePush(rest, list[i], list[i + 1]);
    this.#list = rest;
  }
  get(name: string): FormDataValue | null {
    requireArguments(arguments.length, 1, "FormData.get");
    const key = toUSVString(name);
    const list = this.#list;
    for (let i = 0; i < list.length; i += 2) if (list[i] === key) return list[i + 1]!;
    return null;
  }
  getAll(name: string): FormDataValue[] {
    requireArguments(arguments.length, 1, "FormData.getAll");
    const key = toUSVString(name);
    const values: FormDataValue[] = [];
    const list = this.#list;
    for (let i = 0; i < list.length; i += 2) if (list[i] === key) ArrayPrototypePush(values, list[i + 1]);
    return values;
  }
  has(name: string): boolean {
    requireArguments(arguments.length, 1, "FormData.has");
    const key = toUSVString(name);
    const list = this.#list;
    for (let i = 0; i < list.length; i += 2) if (list[i] === key) return true;
    return false;
  }
  set(name: string, value: unknown, filename: string | undefined = undefined): void {
    requireArguments(arguments.length, 2, "FormData.set");
    const key = toUSVString(name);
    const entry = toValue(value, filename, "FormData.set");
    const rest: FormDataValue[] = [];
    const list = this.#list;
    let done = false;
    for (let i = 0; i < list.length; i += 2) {
      if (list[i] !== key) {
        ArrayPrototypePush(rest, list[i], list[i + 1]);
      } else if (!done) {
        ArrayPrototypePush(rest, key, entry);
        done = true;
      }
    }
    if (!done) ArrayPrototypePush(rest, key, entry);
    this.#list = rest;
  }
}
finishInterface(FormData, "FormData");

export { appendEntry, entriesOf, isFormData };
