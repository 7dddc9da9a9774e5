/**
 * The contract between the isolate host (Rust) and its JavaScript runtime. This file is the authority: the host
 * implements `Ops`, the runtime implements `Entry`.
 *
 * While the startup snapshot is made, a global `__ops` holds an object with the native functions below. The bundle
 * takes them into its closures and deletes the global. Its last act is to set the global `__selvedge` to a frozen
 * `Entry`, which the host takes out and deletes before any user code runs.
 *
 * Conventions
 * - A `key` is a positive integer that names one stream: an incoming request or schedule, or an outgoing
 *   subrequest. Its lower 16 bits are a small, densely used index; the rest is a generation, so that a key is not
 *   used again soon after its stream ended.
 * - A `head` is a list of header fields in one string: `name NUL value NUL name NUL value NUL …`. Names are in lower
 *   case. Every character is one byte (latin1). An empty string is an empty list.
 * - An op on a stream that is gone does nothing unless it says otherwise.
 */

/** A list of header fields; see above. */
export type Head = string;

/** Names one stream; see above. */
export type Key = number;

/** What ended a request without a response. */
export type FailKind = "exception" | "no_response" | "canceled";

/** Severity of a log line: 0 debug, 1 log, 2 info, 3 warn, 4 error. */
export type LogLevel = 0 | 1 | 2 | 3 | 4;

/** Something the host keeps for JavaScript, such as a key, as long as this object lives. It has no use but in ops. */
export type Handle = object & { readonly __handle: unique symbol };

/**
 * What an op of cryptography answers: a result; or a string `NAME: SENTENCE` for a `DOMException`; or, only where it
 * takes `sync` and that is false, the number of a job whose result or string comes in the event `jobDone`. Ops read all
 * their inputs before they return.
 */
export type Answer<T> = T | string | number;

/**
 * Hashes by the names of Web Cryptography or of Node, in any case: "SHA-1" or "sha1", "SHA-224", "SHA-256", "SHA-384",
 * "SHA-512", "SHA-512/256" or "sha512-256", "MD5".
 */
export type HashName = string;

/** What a key is: "secret", "RSA", "P-256", "P-384", "P-521", "Ed25519" or "X25519". */
export type KeyKind = string;

/** Anything with bytes. */
export type Bytes = ArrayBufferView | ArrayBuffer;

/** A compressed format and a direction, by Node's names. `unzip` takes gzip or zlib's format. */
export type CodecFormat =
  | "gzip"
  | "gunzip"
  | "deflate"
  | "inflate"
  | "deflateRaw"
  | "inflateRaw"
  | "unzip"
  | "brotliCompress"
  | "brotliDecompress";

/** A stream being coded or decoded. It is freed with its object, or by `codecEnd`. */
export interface Codec {
  readonly brand: unique symbol;
}

/** Forces output: 0 not, 1 partly, 2 so that all can be read, 3 and what follows does not need it, 4 the end, 5 a block. zlib's numbers. */
export type CodecFlush = 0 | 1 | 2 | 3 | 4 | 5;

/**
 * Output (undefined when there is none), how many bytes of the input were taken, and what to do next:
 * 0 the input is taken and what the flush asked for is out; a decoder that gives it at the end (flush 4) was truncated.
 * 1 call again, with what is left of the input, for more output. 2 the end; input that is left does not belong to it.
 */
export type CodecStep = [output: Uint8Array<ArrayBuffer> | undefined, read: number, status: 0 | 1 | 2];

/** Text of a legacy encoding that comes in pieces. */
export interface Decoder {
  readonly decoder: unique symbol;
}

/**
 * The kind of an object, and of a proxy its target (null when revoked) and handler; of a promise its state (0 pending, 1
 * fulfilled, 2 rejected) and result; of an iterator of a Map or Set what it has still to give, and whether that is keys and
 * values by turns.
 */
export type Innards = [kind: "proxy" | "promise" | "iterator" | "error" | "arguments" | "module", first?: unknown, second?: unknown];

/** What JavaScript may ask of the host. */
export interface Ops {
  /**
   * Answers a request whole. `body` is encoded as UTF-8 when it is a string. With `done` no `requestDone` follows:
   * this is the last op on the key. `content-length` is the edge's business.
   */
  respond(key: Key, status: number, head: Head, body: string | Uint8Array | undefined, done: boolean): void;
  /** Sends a response's head; the body follows by `bodyWrite` and `bodyEnd` or `bodyAbort`. */
  respondStream(key: Key, status: number, head: Head): void;
  /** The response is out and all `waitUntil` work has settled. Once per request or schedule, as the last op on it. */
  requestDone(key: Key): void;
  /** The handler threw or gave no `Response`. The request is over: no `requestDone` follows. */
  fail(key: Key, kind: FailKind, message: string, stack: string): void;

  /**
   * Writes a chunk of an outgoing body. Above zero: go on. Zero or less: the chunk was taken, but the credit is
   * exhausted; wait for the event `writable`. Throws when the stream is gone or closed.
   */
  bodyWrite(key: Key, chunk: string | Uint8Array): number;
  /** Ends an outgoing body. */
  bodyEnd(key: Key): void;
  /** Breaks an outgoing body off. */
  bodyAbort(key: Key, message: string): void;
  /**
   * The next chunk of an incoming body, in a buffer of its own; `null` at its end; `undefined` when there is none
   * yet, in which case the event `readable` follows. Throws a `TypeError` when the body was broken off.
   */
  bodyPull(key: Key): Uint8Array<ArrayBuffer> | null | undefined;
  /**
   * The rest of an incoming body as UTF-8 without its byte order mark, once all of it is here; `undefined` before that, in
   * which case the event `readable` follows when it is. Throws a `TypeError` when the body was broken off or is too long
   * for a string, a `RangeError` when there is no memory for it. After it was called, `bodyPull` gives nothing of the body.
   */
  bodyText(key: Key): string | undefined;
  /** Nobody wants the rest of the incoming body. */
  bodyCancel(key: Key): void;
  /**
   * Lets the host move the rest of the incoming body of `from` to the outgoing body of `to`, and end that. 1: the
   * event `piped` follows, unless `bodyCancel` on `from` or `bodyAbort` on `to` comes before it. 0: all of it has been
   * moved already. 2: `to` takes nothing more. Throws a `TypeError` when `from` was broken off.
   */
  bodyPipe(from: Key, to: Key): 0 | 1 | 2;

  /**
   * Opens a subrequest on behalf of the current request. Its body is written by `bodyWrite` and `bodyEnd` if
   * `hasBody`. The event `response` or `failed` follows. Throws an `Error` when the limit of subrequests is reached
   * or nothing is being handled.
   */
  fetchStart(method: string, url: string, head: Head, hasBody: boolean): Key;
  /**
   * As `fetchStart`, to what the name in `env` stands for; `#` and the name of an export for the worker itself, with
   * `props` as JSON. With an empty method, a session of remote calls: its messages are the bodies of both directions.
   * With `socket` it asks for a WebSocket, see `socketOpen`.
   */
  bindingCall(
    binding: string,
    props: string,
    method: string,
    url: string,
    head: Head,
    hasBody: boolean,
    socket?: boolean,
  ): Key;
  /**
   * A message of a session: the value as V8 serialises it, with its length in four bytes (little-endian) before it.
   * Throws an `Error` named "DataCloneError" for functions and objects of classes.
   */
  rpcEncode(value: unknown): Uint8Array<ArrayBuffer>;
  /** The value of a message without its length. Throws when it is none. */
  rpcDecode(bytes: Uint8Array): unknown;
  /**
   * Opens a TCP connection on behalf of the current request; its bytes are written and read as bodies are. The event `response`
   * follows once it is open, with the fields `remote` and `local`, or `failed`. With `upgrade` the plain connection of that key
   * goes on with TLS under the new one. Throws as `fetchStart` does.
   */
  tcpConnect(host: string, port: number, secure: boolean, upgrade: Key): Key;
  /** Breaks a subrequest off, in both directions. */
  fetchCancel(key: Key): void;

  /**
   * Starts a timer; its token comes back in the event `timer`, once or repeatedly. It belongs to the current
   * request and ends with it. Throws an `Error` when too many timers run.
   */
  timerStart(ms: number, repeat: boolean): number;
  /** Stops a timer. */
  timerCancel(token: number): void;

  /** What only the host sees of an object; `undefined` where that is nothing. */
  innards(value: object): Innards | undefined;
  /** Writes a line to the worker's log. */
  log(level: LogLevel, message: string): void;
  /** Reports something thrown that nobody caught, or a rejection that nobody handled. */
  exception(message: string, stack: string): void;

  /** Unix milliseconds, standing still during a turn. */
  now(): number;
  /** Fills the view with random bytes. */
  random(view: ArrayBufferView): void;

  /** The string in UTF-8; lone surrogates become U+FFFD. */
  encodeUtf8(text: string): Uint8Array<ArrayBuffer>;
  /** Bytes that `encodeUtf8` would give. */
  utf8Length(text: string): number;
  /** Encodes as many whole characters as fit. Returns `[UTF-16 code units read, bytes written]`. */
  encodeInto(text: string, target: Uint8Array): [number, number];
  /** Decodes UTF-8. Throws a `TypeError` when `fatal` and malformed. Skips a byte order mark unless `ignoreBOM`. */
  decodeUtf8(bytes: ArrayBufferView | ArrayBuffer, fatal: boolean, ignoreBOM: boolean): string;
  /** The name, in lower case, of the encoding that the Encoding Standard means by a label; undefined when it means none that can be decoded. */
  encodingName(label: string): string | undefined;
  /** Decodes text of any encoding. Throws a `TypeError` when `fatal` and malformed. */
  decodeAs(label: string, bytes: ArrayBufferView | ArrayBuffer, fatal: boolean, ignoreBOM: boolean): string;
  /** A decoder for text that comes in pieces. */
  decoderNew(label: string, ignoreBOM: boolean): Decoder;
  /** Decodes the next piece. With `last` the decoder is spent, also when it throws. */
  decoderRun(decoder: Decoder, bytes: ArrayBufferView | ArrayBuffer, fatal: boolean, last: boolean): string;
  /** One character a byte. */
  decodeLatin1(bytes: ArrayBufferView | ArrayBuffer): string;

  /**
   * Parses a URL by the WHATWG rules, against a base if one is given; `undefined` when it is none. The answer is
   * the serialised URL, NUL, and eight integers with commas between them:
   *
   *   scheme_end      offset of the `:` after the scheme
   *   username_end    offset of the end of the user name
   *   host_start      offset of the host
   *   host_end        offset of the end of the host
   *   port            port number, or -1
   *   path_start      offset of the path
   *   query_start     offset of the `?`, or -1
   *   fragment_start  offset of the `#`, or -1
   *
   * Without credentials the user name ends where the host starts; without a host that is behind the scheme's `:` or `//`.
   * A serialised URL is ASCII, so bytes are characters.
   */
  urlParse(input: string, base: string | undefined): string | undefined;
  /**
   * A URL after an assignment to one of its attributes, in the format of `urlParse`. `component` is "href",
   * "protocol", "username", "password", "host", "hostname", "port", "pathname", "search" or "hash". Assignments that
   * the standard ignores give the URL as it was; `undefined` only for an `href` that is no URL.
   */
  urlSet(href: string, component: string, value: string): string | undefined;

  /**
   * A copy by the structured clone algorithm; buffers in `transfer` move. `host` is asked about every object that is
   * not a plain one: it gives a copy, undefined when the object is not the runtime's own, or throws. An uncloneable value throws
   * an `Error` whose own property `name` is "DataCloneError".
   */
  structuredClone(value: unknown, transfer: unknown[], host?: (object: object) => object | undefined): unknown;
  /** Detaches the buffer behind a view. */
  detach(view: ArrayBufferView): void;

  /**
   * An HTML rewriter: a selector for each handler, and for each one letter: `e`lement, `c`omments, `t`ext; for the whole
   * document `d`octype, `C`omments, `T`ext, `E`nd, with an empty selector. Ends with the current request. Throws a
   * `TypeError` for a selector that cannot be used, an `Error` when there are too many rewriters.
   */
  htmlNew(selectors: string[], kinds: string, encoding: string): number;
  /**
   * Goes on with a chunk of the document or of content that was asked for, with its end (`null`), from a handler that is
   * done (`true`) or threw (`false`). Tells why the rewriter stopped next: in the lower four bits 0 for more of the document, 1 at
   * its end, 8 for content, 2 to 7 for a handler (element, end tag, comment, text, doctype, end); above them the number of the
   * content or the handler. Throws a `TypeError` when the document cannot be rewritten.
   */
  htmlResume(rewriter: number, input: string | Uint8Array | null | boolean): number;
  /** What was written since the last call, if anything. */
  htmlOutput(rewriter: number): Uint8Array<ArrayBuffer> | undefined;
  /** Nobody wants the rewriter any more. */
  htmlEnd(rewriter: number): void;
  /** Names the token at which the rewriter stands. */
  htmlSerial(rewriter: number): number;
  /** Works on that token, see `crates/isolate/src/ops/html.rs`. Throws a `TypeError` when the rewriter has gone on. */
  htmlToken(rewriter: number, serial: number, operation: string, a: unknown, b: unknown): unknown;
  /** The digest of the bytes. */
  digest(hash: HashName, data: Bytes, sync: boolean): Answer<ArrayBuffer>;
  /** Begins a digest over data that comes in pieces; an HMAC if there is a key. */
  hashStart(hash: HashName, key: Bytes | undefined): Handle | string;
  /** Adds bytes, or text as UTF-8. False when the digest is finished. */
  hashUpdate(state: Handle, data: Bytes | string): boolean;
  /** Another digest that has taken the same so far; undefined when it is finished. */
  hashCopy(state: Handle): Handle | string | undefined;
  /** Finishes the digest; undefined when it was before. */
  hashEnd(state: Handle): ArrayBuffer | undefined;
  /** Compares in a time that depends on the lengths only. */
  bytesEqual(a: Bytes, b: Bytes): boolean;

  /**
   * A new key: a secret of so many bits, an RSA key pair of so many bits with this public exponent, or another key pair
   * (`bits` and `exponent` mean nothing then). A key pair is one handle: a private key, see `keyPublic`.
   */
  keyGenerate(kind: KeyKind, bits: number, exponent: Bytes | undefined, sync: boolean): Answer<Handle>;
  /**
   * Reads a key. "raw": a secret's bytes or a public point; "spki"; "pkcs8"; "number": the private number or seed
   * alone; "any": a private or public key of whatever kind (`kind` means nothing) in PEM or DER (PKCS #8, SPKI, PKCS #1,
   * SEC 1).
   */
  keyImport(kind: KeyKind, format: "raw" | "spki" | "pkcs8" | "number" | "any", data: Bytes): Handle | string;
  /**
   * Reads the members of a JSON Web Key, base64url: k; n, e and maybe d, p, q, dp, dq, qi; x, y and maybe d; or x and
   * maybe d (Ed25519, X25519). It is private if those after "maybe" are there.
   */
  keyImportJwk(kind: KeyKind, ...members: (string | undefined)[]): Handle | string;
  /** Writes a key; "pem" gives the bytes of PKCS #8 or SPKI as PEM. */
  keyExport(key: Handle, format: "raw" | "spki" | "pkcs8" | "pem"): ArrayBuffer | string;
  /** The members that `keyImportJwk` takes, without the private ones if the key is public. */
  keyExportJwk(key: Handle): string[] | string;
  /** Kind, whether it is private or secret, bits of an RSA key or a secret, public exponent of an RSA key. */
  keyInfo(key: Handle): [KeyKind, boolean, number, Uint8Array | undefined];
  /** The public half. */
  keyPublic(key: Handle): Handle | string;

  /**
   * Signs. `scheme` is "HMAC", "RSASSA-PKCS1-v1_5", "RSA-PSS" (the only one with a salt, in bytes), "ECDSA" (two numbers
   * as long as the field), "ECDSA-DER" or "Ed25519" (no hash).
   */
  keySign(key: Handle, scheme: string, hash: HashName | undefined, salt: number, data: Bytes, sync: boolean): Answer<ArrayBuffer>;
  /** Whether it is a signature of the data. */
  keyVerify(
    key: Handle,
    scheme: string,
    hash: HashName | undefined,
    salt: number,
    data: Bytes,
    signature: Bytes,
    sync: boolean,
  ): Answer<boolean>;
  /**
   * Encrypts or decrypts. `mode` with `first`, `second` and `third`: "AES-GCM" nonce, additional data, bits of the tag;
   * "AES-CBC" iv; "AES-CTR" counter, nothing, bits of the counter; "AES-KW"; "RSA-OAEP" label, nothing, hash.
   */
  keyCrypt(
    key: Handle,
    encrypt: boolean,
    mode: string,
    first: Bytes | undefined,
    second: Bytes | undefined,
    third: number | HashName | undefined,
    data: Bytes,
    sync: boolean,
  ): Answer<ArrayBuffer>;
  /** What a private key and a public key of the same kind have in common: ECDH, X25519. */
  keyAgree(key: Handle, peer: Handle): ArrayBuffer | string;
  /** HKDF; `length` in bytes here and below. */
  hkdf(hash: HashName, secret: Handle | Bytes, salt: Bytes, info: Bytes, length: number): ArrayBuffer | string;
  /** PBKDF2 with HMAC. */
  pbkdf2(
    hash: HashName,
    secret: Handle | Bytes,
    salt: Bytes,
    iterations: number,
    length: number,
    sync: boolean,
  ): Answer<ArrayBuffer>;
  /** scrypt; `memoryMax` in bytes. */
  scrypt(
    password: Bytes,
    salt: Bytes,
    cost: number,
    blockSize: number,
    parallel: number,
    memoryMax: number,
    length: number,
    sync: boolean,
  ): Answer<ArrayBuffer>;

  /**
   * A codec at the beginning of a stream. Numbers that are undefined mean the format's default; others are taken for the nearest in
   * range. `level`: 0 to 9, Brotli 0 to 11. `windowBits`: 9 to 15, Brotli 10 to 24. `memLevel`: 1 to 9, not Brotli.
   * `strategy`: zlib's, Brotli's mode. `dictionary`: zlib's formats only. Throws a `RangeError` when the worker has no memory for it.
   */
  codecNew(
    format: CodecFormat,
    level?: number,
    windowBits?: number,
    memLevel?: number,
    strategy?: number,
    dictionary?: Uint8Array,
  ): Codec;
  /**
   * Goes one step: takes of the input from the offset `from` on (64 KiB at most), gives up to `max` bytes of output (1 to 1 MiB).
   * `flush` holds once all of the input is taken: repeat it until the status is 0 or 2. Throws a `TypeError` with zlib's name of
   * the error in its property `code` (`Z_DATA_ERROR`, `Z_NEED_DICT`, `Z_MEM_ERROR`, `Z_STREAM_ERROR`).
   */
  codecRun(codec: Codec, input: Uint8Array, from: number, flush: CodecFlush, max: number): CodecStep;
  /** Starts over with the same settings. */
  codecReset(codec: Codec): void;
  /** Frees a codec; it cannot be used any more. */
  codecEnd(codec: Codec): void;
  /** CRC-32 as gzip has it, going on from `start`. */
  crc32(data: string | Uint8Array, start: number): number;
  /**
   * Answers a request for a WebSocket with status 101: its stream becomes a socket. False when the request asked for
   * none, or was answered already. `requestDone` follows as usual.
   */
  socketAnswer(key: Key, head: Head): boolean;
  /**
   * As `fetchStart`, for a WebSocket outside. The event `response` follows, with status 101 when the stream became a
   * socket, or `failed`.
   */
  socketOpen(url: string, head: Head): Key;
  /**
   * Sends a text or binary message. Returns the bytes that wait for the peer: above zero, the event `writable` follows
   * when they are gone; -1 when there were too many and the socket was broken off.
   */
  socketSend(key: Key, data: string | Uint8Array): number;
  /** Sends a close, after which nothing can be sent; a code of 0 is none. */
  socketClose(key: Key, code: number, reason: string): void;
  /** Whether the events `socketMessage` and `socketClosed` are wanted now; until then messages wait, and so does the peer. */
  socketFlow(key: Key, on: boolean): void;
  /** Bytes that wait for the peer. */
  socketBuffered(key: Key): number;

  /** Runs a part (see `internal/parts.ts`) with the core's modules; returns what it exports. */
  part(name: string, core: object): object;

  /** V8's `Temporal` for this context, whose functions read the true clock; undefined where V8 has none. */
  temporal(): object | undefined;

  /** What `setAsyncContext` was given: now, or when the promise reaction or microtask that runs was made. */
  asyncContext(): unknown;
  /** Has continuations that are made from now on find the value. Each event begins with undefined. */
  setAsyncContext(value: unknown): void;

  /** Key of the request or schedule on whose behalf JavaScript runs, 0 when none. */
  currentRequest(): Key;
  /** What follows in this turn runs on behalf of that request. */
  setCurrentRequest(key: Key): void;
}

/** What the host calls. Each is a plain function; none throws except `init`. */
export interface Entry {
  /** Serves a request of nobody while the snapshot is made. */
  warmUp(): void;
  /**
   * Finishes what a snapshot cannot hold, because V8 adds it to every context anew (`Temporal`, which the host takes away
   * first). To be called once per context, before the worker's modules are evaluated.
   *
   * `switches` has bit 1 for Node's globals and modules, bit 2 for `AsyncLocalStorage`; `env` is as in `init`.
   */
  start(env?: string, switches?: number): void;
  /**
   * Takes over the user's main module. `env` is a JSON array of `{name, type, text}` with `type` one of
   * "plain_text", "secret_text" and "json", or "compatibility", whose text is the date and the flags with a blank before
   * each. Returns the names of the handlers, comma-joined. Throws an `Error`
   * whose message begins with "no_default_export:" or "no_handler:". Without a namespace the main module is a script.
   */
  init(namespace: object | undefined, env: string, workerName: string): string;
  /** The main module, which is to run now, is a script or exports nothing: it has the old syntax, with bindings as globals. */
  classic(): void;
  /**
   * The exports of a module that is not among the deployed ones, such as `cloudflare:workers`; undefined when there
   * is none of this name. May throw an `Error` whose message begins with "unknown_import:".
   */
  builtin(specifier: string): object | undefined;
  /** An HTTP request arrived, over HTTP/2 or HTTP/1.1. */
  fetch(key: Key, method: string, url: string, head: Head, hasBody: boolean, http2: boolean): void;
  /**
   * Another worker calls the export `entrypoint` (empty: the default export) with `props` as JSON (empty: none). With an
   * empty method it opens a session of remote calls, to be answered with 200 and messages; see `bindingCall`.
   */
  invoke(key: Key, method: string, url: string, head: Head, hasBody: boolean, entrypoint: string, props: string): void;
  /** A schedule is due; `time` in Unix milliseconds. */
  scheduled(key: Key, cron: string, time: number): void;
  /** A timer is due. */
  timer(token: number): void;
  /** An incoming body that gave `undefined` has something now: a chunk, its end, or an error. */
  readable(key: Key): void;
  /** An outgoing body has credit again. */
  writable(key: Key): void;
  /**
   * The body that the host moved to the outgoing body `to` is at its end (`error` is empty), was broken off, or found
   * nobody who takes it.
   */
  piped(to: Key, error: string): void;
  /** The client of an incoming request went away, or the request's time is up. */
  aborted(key: Key, reason: string): void;
  /** The head of a subrequest's response arrived. `statusText` may be empty. */
  response(key: Key, status: number, statusText: string, head: Head): void;
  /** A message arrived on a socket, each in a turn of its own. */
  socketMessage(key: Key, data: string | Uint8Array<ArrayBuffer>): void;
  /**
   * The peer of a socket has closed: with 1005 when it gave no code, 1006 when the connection broke off, which ends our
   * side, too. Nothing follows.
   */
  socketClosed(key: Key, code: number, reason: string): void;
  /** An inspector begins or ends to listen: `console` shows it its values. */
  inspected(on: boolean): void;
  /** A subrequest failed before its response's head. */
  failed(key: Key, code: string, message: string): void;
  /** Work that an op left to another thread is done; `value` is what the op could not answer at once. */
  jobDone(job: number, value: unknown): void;
  /** A promise was rejected and has no handler. May be called in the midst of JavaScript. */
  unhandledRejection(reason: unknown, promise: Promise<unknown>): void;
  /** A promise that was reported to `unhandledRejection` has a handler now. */
  rejectionHandled(reason: unknown, promise: Promise<unknown>): void;
}
