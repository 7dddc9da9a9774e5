/** `DOMException`. */
import { NumberIsFinite, ObjectCreate, ObjectGetOwnPropertyDescriptor, uncurryGetter } from "../internal/primordials.ts";
import { defineConstants, finishInterface, toDictionary } from "../internal/webidl.ts";

const { captureStackTrace } = Error as unknown as { captureStackTrace(target: object, above?: Function): void };

/** Names that still have a code, in the order of their codes. Empty: no longer in use. */
const LEGACY = [
  "IndexSizeError", "", "HierarchyRequestError", "WrongDocumentError", "InvalidCharacterError", "",
  "NoModificationAllowedError", "NotFoundError", "NotSupportedError", "InUseAttributeError", "InvalidStateError",
  "SyntaxError", "InvalidModificationError", "NamespaceError", "InvalidAccessError", "", "TypeMismatchError",
  "SecurityError", "NetworkError", "AbortError", "URLMismatchError", "QuotaExceededError", "TimeoutError",
  "InvalidNodeTypeError", "DataCloneError",
];

const codes: Record<string, number> = ObjectCreate(null);
const constants: Record<string, number> = ObjectCreate(null);
const CONSTANTS = [
  "INDEX_SIZE_ERR", "DOMSTRING_SIZE_ERR", "HIERARCHY_REQUEST_ERR", "WRONG_DOCUMENT_ERR", "INVALID_CHARACTER_ERR",
  "NO_DATA_ALLOWED_ERR", "NO_MODIFICATION_ALLOWED_ERR", "NOT_FOUND_ERR", "NOT_SUPPORTED_ERR",
  "INUSE_ATTRIBUTE_ERR", "INVALID_STATE_ERR", "SYNTAX_ERR", "INVALID_MODIFICATION_ERR", "NAMESPACE_ERR",
  "INVALID_ACCESS_ERR", "VALIDATION_ERR", "TYPE_MISMATCH_ERR", "SECURITY_ERR", "NETWORK_ERR", "ABORT_ERR",
  "URL_MISMATCH_ERR", "QUOTA_EXCEEDED_ERR", "TIMEOUT_ERR", "INVALID_NODE_TYPE_ERR", "DATA_CLONE_ERR",
];
for (let i = 0; i < CONSTANTS.length; i++) {
  constants[CONSTANTS[i]!] = i + 1;
  if (LEGACY[i] !== "") codes[LEGACY[i]!] = i + 1;
}

let isDOMException: (value: unknown) => value is DOMException;

export class DOMException extends Error {
  #name: string;
  #message: string;

  static {
    isDOMException = (value): value is DOMException => typeof value === "object" && value !== null && #name in value;
  }

  constructor(message: unknown = "", options: unknown = "Error") {
    super();
    let name = options;
    if (typeof options === "object" && options !== null) {
      name = (options as { name?: unknown }).name ?? "Error";
      if ("cause" in options) {
        Object.defineProperty(this, "cause", { value: options.cause, writable: true, configurable: true });
      }
    }
    this.#message = `${message as string}`;
    this.#name = `${name as string}`;
    // Once more, now that the stack's first line can say name and message.
    captureStackTrace(this, DOMException);
  }

  // The getters answer for unfinished objects too: capturing the stack in `super` asks them.
  override get name(): string {
    return #name in this ? this.#name : "Error";
  }

  override get message(): string {
    return #message in this ? this.#message : "";
  }

  get code(): number {
    return codes[this.#name] ?? 0;
  }
}

const getName = uncurryGetter<string>(DOMException.prototype, "name");
const getMessage = uncurryGetter<string>(DOMException.prototype, "message");
finishInterface(DOMException, "DOMException");
defineConstants(DOMException, constants);

interface QuotaOptions {
  quota: unknown;
  requested: unknown;
}

function toQuota(value: unknown): number | null {
  if (value === undefined) return null;
  const number = Number(value);
  if (!NumberIsFinite(number)) throw new TypeError("A quota must be a finite number.");
  if (number < 0) throw new RangeError("A quota cannot be negative.");
  return number;
}

let copyQuota: (exception: DOMException) => DOMException | undefined;

/** Something would have been more than is allowed (Web IDL, section 4.4). */
export class QuotaExceededError extends DOMException {
  #quota: number | null;
  #requested: number | null;

  static {
    copyQuota = (exception) => {
      if (!(#quota in exception)) return undefined;
      const copy = new QuotaExceededError(getMessage(exception));
      copy.#quota = exception.#quota;
      copy.#requested = exception.#requested;
      return copy;
    };
  }

  constructor(message: unknown = "", options: unknown = undefined) {
    super(message, "QuotaExceededError");
    const { quota, requested } = toDictionary<QuotaOptions>(options, "QuotaExceededError options");
    this.#quota = toQuota(quota);
    this.#requested = toQuota(requested);
    if (this.#quota !== null && this.#requested !== null && this.#requested < this.#quota) {
      throw new RangeError("What is requested cannot be less than the quota that it exceeds.");
    }
  }
  get quota(): number | null {
    return this.#quota;
  }
  get requested(): number | null {
    return this.#requested;
  }
}
finishInterface(QuotaExceededError, "QuotaExceededError");

/** A copy as structured clones have it, with the stack of the original. */
function copyException(exception: DOMException): DOMException {
  const copy = copyQuota(exception) ?? new DOMException(getMessage(exception), getName(exception));
  const stack = ObjectGetOwnPropertyDescriptor(exception, "stack");
  if (typeof stack?.value === "string") {
    Object.defineProperty(copy, "stack", { value: stack.value, writable: true, configurable: true });
  }
  return copy;
}

export { copyException, isDOMException };

/** The reason of an abort that gave none. */
export function abortError(): DOMException {
  return new DOMException("The operation was aborted.", "AbortError");
}
