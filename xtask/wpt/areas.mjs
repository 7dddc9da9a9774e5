// What is tested, what does not apply to a worker on a server and why, and why what fails fails.

const NO_DOCUMENT = "needs a document or a window";
const PROPOSAL = "a proposal, not in a standard yet";
const CORS = "CORS is a check that browsers make for their users; a server may fetch from anywhere";
const REFERRER = "referrers and the Origin header tell about documents; a server has none";
const COOKIES = "no cookie jar: cookies are header fields like others";
const CACHE = "no HTTP cache between a worker and the origin";
const OBJECT_URLS = "object URLs live as long as a document; there is none";
const XHR = "no XMLHttpRequest; fetch does the same";
const READER = "no FileReader; blobs have text(), bytes(), arrayBuffer() and stream()";
const HTTP2 = "needs an HTTP/2 test origin";
const TLS = "needs a test origin with a certificate";
const GLOBAL_EVENTS = "about the global scope of browser workers";
const SHARED_MEMORY = "no SharedArrayBuffer and Atomics: they are clocks for side channels";
const OPAQUE = "opaque responses hide things from pages; a worker gets the response itself, as on other servers";
const CACHE_MODES = "rules about modes of a browser's fetches and its cache";
const COMPILED = "WebAssembly is not compiled from bytes at run time; modules are uploaded with the worker, as on other servers";
const COMPILE_OPTIONS = "options of compiling WebAssembly from bytes, which is not done at run time";
const SLOPPY = "about scripts; workers are modules, whose code is strict";
const FORBIDDEN = "the forbidden header fields protect a browser's users; a server sets them itself";

/** Not applied anywhere: `[what the test's path and variant match, reason]`. */
export const SKIPPED = [
  [/[./]tentative[./]|owning-type/, PROPOSAL],
  [/shadowrealm/i, "no ShadowRealm"],
  [/\.h2\.|wpt_flags=h2/, HTTP2],
];

/** Each: the directories of the suite, and what is skipped there. */
export const AREAS = {
  "fetch/api": {
    roots: ["fetch/api"],
    skipped: [
      [/fetch\/api\/cors\//, CORS],
      [/basic\/(mode-same-origin|mode-no-cors|request-headers-case)|headers\/headers-no-cors/, CORS],
      [/credentials\/cookies/, COOKIES],
      [/request\/request-cache-|abort\/cache|basic\/conditional-get/, CACHE],
      [/referrer|redirect-origin|basic\/request-headers\.any/, REFERRER],
      [/redirect-keepalive|basic\/keepalive/, "keepalive outlives a document"],
      [/request-forbidden-headers/, FORBIDDEN],
      [/scheme-blob/, OBJECT_URLS],
      [/crashtests\/huge-fetch/, "eight gigabytes for a crash of one browser"],
    ],
  },
  streams: { roots: ["streams"], skipped: [[/transferable/, "no other context to transfer to"]] },
  url: { roots: ["url"], skipped: [] },
  urlpattern: { roots: ["urlpattern"], skipped: [] },
  encoding: { roots: ["encoding"], skipped: [[/streams\/realms/, NO_DOCUMENT], [/(unsupported|replacement)-encodings/, XHR]] },
  compression: { roots: ["compression"], skipped: [] },
  FileAPI: {
    roots: ["FileAPI"],
    skipped: [
      [/reading-data-section|[fF]ileReader|Worker-read-file/, READER],
      [/FileAPI\/url\//, OBJECT_URLS],
    ],
  },
  "xhr/formdata": { roots: ["xhr/formdata"], skipped: [] },
  "dom/abort": { roots: ["dom/abort"], skipped: [] },
  "dom/events": { roots: ["dom/events"], skipped: [[/event-global\.worker/, GLOBAL_EVENTS]] },
  "html/webappapis": {
    roots: ["html/webappapis"],
    skipped: [
      [/integration-with-the-javascript-agent-formalism/, SHARED_MEMORY],
      [/event-handler-processing-algorithm-error/, GLOBAL_EVENTS],
    ],
  },
  WebCryptoAPI: { roots: ["WebCryptoAPI"], skipped: [] },
  "wasm/jsapi": { roots: ["wasm/jsapi"], skipped: [[/constructor\/(compile|multi-value)\.any/, COMPILED], [/js-string\//, COMPILE_OPTIONS]] },
  websockets: {
    roots: ["websockets"],
    skipped: [
      [/\?wss/, TLS],
      [/mixed-content/, "no mixed content without documents"],
      [/sync-xhr/, XHR],
      [/Create-on-worker-shutdown/, GLOBAL_EVENTS],
      [/003-sets-origin|referrer/, REFERRER],
    ],
  },
  eventsource: { roots: ["eventsource"], skipped: [[/request-credentials|shared-worker/, COOKIES]] },
  "hr-time": { roots: ["hr-time"], skipped: [] },
  "user-timing": { roots: ["user-timing"], skipped: [] },
  console: { roots: ["console"], skipped: [] },
  webidl: { roots: ["webidl"], skipped: [] },
};

/** Subtests that do not apply in files that do: `[path, name, reason]`. They are not counted. */
export const INAPPLICABLE = [
  [/fetch\/api\/request\/request-headers\.any/, /invalid (no-cors )?request header|filtering headers/, FORBIDDEN],
  [/fetch\/api\/headers\/header-setcookie/, /forbidden/, FORBIDDEN],
  [/fetch\/api\/redirect\//, /manual|no-cors/, OPAQUE],
  [/fetch\/api\/basic\/integrity/, /opaque|no-cors/i, OPAQUE],
  [/fetch\/api\/request\/request-error/, /no-cors|only-if-cached|window/, CACHE_MODES],
  [/fetch\/api\/request\/request-structure/, /isReloadNavigation|isHistoryNavigation/, "navigation belongs to documents"],
  [/fetch\/api\/credentials\/authentication-redirection/, /(same|cross) origin redirection/, TLS],
  [/fetch\/api\/request\/request-keepalive/, /stream body/, "keepalive outlives a document"],
  [/FileAPI\/idlharness/, /FileReader|FileList|createObjectURL|revokeObjectURL/, READER],
  [/fetch\/api\/idlharness/, /isReloadNavigation|isHistoryNavigation/, "navigation belongs to documents"],
  [/./, /SharedArrayBuffer|shared (Uint8Array|memory)|Growable Shared/, SHARED_MEMORY],
  [/^wasm\/jsapi\/memory\/to-(fixed-length|resizable)-buffer-shared/, /./, SHARED_MEMORY],
  [/eventsource\/request-cache-control/, /cors\.py/, CORS],
  [/idlharness/, /fetchLater|FetchLater/, PROPOSAL],
  [/^wasm\/jsapi\/constructor\/instantiate\.any/, /Buffer(Source)? argument|Changing the buffer|Branding/, COMPILED],
  [/^wasm\/jsapi\/constructor\/instantiate-bad-imports/, /\(buffer\)/, COMPILED],
  [/^wasm\/jsapi\/module\/constructor/, /^(No|Invalid) arguments/, COMPILED],
  [/^wasm\/jsapi\/idlharness/, /idl_test setup/, COMPILED],
  [/^wasm\/jsapi\/prototypes/, /_Module/, COMPILED],
  [/^wasm\/jsapi\//, /sloppy mode/, SLOPPY],
  [/WebCryptoAPI\/historical/, /./, "secure contexts are about documents"],
  [/idlharness/, /^WorkerGlobalScope interface/, GLOBAL_EVENTS],
  [/navigator\.any/, /appCodeName|appName|appVersion|platform|product|userAgent value/, "names of browsers"],
];

export function inapplicable(id, name) {
  return INAPPLICABLE.find(([path, subtest]) => path.test(id) && subtest.test(name))?.[2];
}

/** Why a test fails: the first match of `[path, name of the subtest or null for all, reason]`. */
export const REASONS = [
  [/redirect-method/, /TESTING/, "harness: the test origin's HTTP parser knows the usual methods only"],
  [/header-values/, /^fetch\(\)/, "by design: control characters in header values are refused when they are to be sent"],
  [/header-value-combining/, /heya/, "by design: control characters in header values are refused"],
  [/accept-header/, /'accept-language' header$/, "by design: a server has no language"],
  [/redirect-back-to-original-origin/, /"cors"/, "by design: no CORS, so responses are of type basic"],
  [/request-upload/, /ArrayBuffer/, "by design: any bytes may be a chunk of a body, as on other servers"],
  [/request-upload/, /HTTP\/1\.1|Http\/1\.1/, "by design: bodies stream over HTTP/1.1, too"],
  [/request-init-stream/, /omit \.duplex/, "by design: workers written for other platforms leave duplex out"],
  [/consume-empty/, /empty FormData/, "by design: an empty form is written as its last boundary, as the standard says"],
  [/request-disturbed/, /even if body is not used/, "by design: the standard does not touch a body that another replaces"],
  [/error-after-response/, /closed promise/, "by design: a body is not read before somebody wants it, and so is not known to have failed"],
  [/user-timing\/|compression\/|crypto|websockets\/|eventsource\//i, /existence and properties of interface object/, "by design: rarely used interfaces are behind getters until they are used first"],
  [/evil-spec-example/, null, "by design: strings are not compiled"],
  [/DOMException-custom-bindings/, /inherit|brand/, "by design: a DOMException is a native error, so that it has a stack"],
  [/request-upload/, /421/, "not there: an answer of 421 is not retried"],
  [/reporterror/, /reportError\(/, "by design: workers have no URL that an error could name"],
  [/user-timing\//, /PerformanceObserver|buffered|observer|case-sensitiv|customizable|\(whole file\)/i, "not there: PerformanceObserver"],
  [/^wasm\/jsapi\/idlharness/, /getArg/, "V8: the length of getArg"],
  [/^wasm\//, null, "by design: WebAssembly is not compiled from bytes at run time"],
  [/derive_bits_keys\//, /setup - define tests/, "harness: the test's scripts are not global here, and this one makes a global that is read before"],
  [/global-object-implicit-this-value/, null, "by design: the global object's operations do not look at this"],
  [/global-(im)?mutable-prototype/, null, "by design: the global object is a plain object of V8"],
  [/webidl\/idlharness/, /^DOMException/, "by design: a DOMException is a native error, so that it has a stack"],
  [/encoding\/idlharness/, null, "by design: what needs nothing of the object does not look at this"],
  [/websockets\/idlharness/, /attribute on/, "by design: handlers are attributes of any event target, without a check of this"],
  [/Create-non-absolute-url/, null, "by design: a worker has no location that a relative URL could be resolved with"],
  [/request-structure/, null, "harness: assigning to a getter throws in modules"],
  [/Event-isTrusted/, null, "by design: isTrusted is a getter of the prototype, since one in each event costs time and memory"],
  [/send-many-64K/, null, "open: the socket to this handler of the test origin does not open"],
  [/no-regexp-special-casing/, /sequence/, "not there: ports of a MessageEvent made by a constructor"],
  [/^url\//, /xn--/i, "the standard of June 2026: a host that is ASCII stays as it is, though it is no Punycode; the suite is older"],
  [/compression-output-length/, null, "harness: the suite's large media file is not in the checkout"],
  [/^streams\/piping\/abort/, null, "open: the source's error wins over the sink's when a pipe is aborted"],
  [/^streams\/readable-streams\/async-iterator/, null, "open: what return() gives behind a next() of an async iterator"],
  [/^streams\/transform-streams/, null, "open: an error of the readable side during its cancel leaves a rejection nobody handles"],
  [/idlharness/, /WorkerGlobalScope|WorkerLocation|WorkerNavigator|must be primary interface of self|self /, "by design: the global object is not a browser worker's"],
  [/^hr-time\/(basic|monotonic)/, null, "by design: clocks stand still while a worker computes"],
];

export function reasonOf(id, name) {
  for (const [path, subtest, reason] of REASONS) {
    if (path.test(id) && (subtest === null || subtest.test(name))) return reason;
  }
  return "open";
}

/** Why a test is not run, or undefined. */
export function skipOf(area, id) {
  for (const [pattern, reason] of [...SKIPPED, ...AREAS[area].skipped]) if (pattern.test(id)) return reason;
  return undefined;
}

export { NO_DOCUMENT };
