/** `DOMException`. */
import { ObjectCreate, ObjectGetOwnPropertyDescriptor, uncurryGetter } from "../internal/primordials.ts";
import { defineConstants, finishInterface } from "../internal/webidl.ts";

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

/** A copy as structured clones have it, with the stack of the original. */
function copyException(exception: DOMException): DOMException {
  const copy = new DOMException(getMessage(exception), getName(exception));
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
