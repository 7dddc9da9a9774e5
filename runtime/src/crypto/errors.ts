/** Errors of Web Cryptography, and answers of the host that may be some. */
import { StringPrototypeIndexOf, StringPrototypeSlice } from "../internal/primordials.ts";
import { jobResult, type Result } from "../internal/jobs.ts";
import { DOMException } from "../dom/exception.ts";
import type { Answer } from "../ops.d.ts";

export function dataError(message: string): DOMException {
  return new DOMException(message, "DataError");
}

export function accessError(message: string): DOMException {
  return new DOMException(message, "InvalidAccessError");
}

export function operationError(message: string): DOMException {
  return new DOMException(message, "OperationError");
}

export function notSupported(message: string): DOMException {
  return new DOMException(message, "NotSupportedError");
}

export function syntaxError(message: string): DOMException {
  return new DOMException(message, "SyntaxError");
}

/** What the host answered at once; throws if it was an error. */
export function check<T extends object | boolean>(answer: T | string): T {
  if (typeof answer !== "string") return answer;
  const colon = StringPrototypeIndexOf(answer, ": ");
  throw new DOMException(StringPrototypeSlice(answer, colon + 2), StringPrototypeSlice(answer, 0, colon));
}

/** What the host answers, at once or after a job. In a box, since a promise looks for `then` in what it holds. */
export async function settle<T extends object | boolean>(answer: Answer<T>): Promise<Result<T>> {
  const now = typeof answer === "number" ? (await jobResult<T | string>(answer)).value : answer;
  return { __proto__: null, value: check(now) } as Result<T>;
}
