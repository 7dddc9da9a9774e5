/** Recognises URLs that are in their serialised form already, as those of nearly all requests are. */
import { RegExpPrototypeExec } from "../internal/primordials.ts";

/**
 * A host whose last label begins with a letter (others may be IPv4 addresses in disguise), and no default port; a
 * path without dot segments or anything to be escaped; a query likewise; no fragment.
 */
const PLAIN =
  /^https?:\/\/(?:[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?\.)*[a-z](?:[a-z0-9_-]*[a-z0-9_])?(?::(?!80(?:\/|$)|443(?:\/|$)|0)[0-9]{1,4})?(?:\/[A-Za-z0-9_~!$&'()*+,;=:@-][A-Za-z0-9_~!$&()*+,;=:@.-]*)*\/?(?:\?[A-Za-z0-9_~!$&()*+,;=:@.\/?%-]*)?$/;
/** Labels in Punycode must be checked. */
const PUNYCODE = /(?:\/\/|\.)xn--/;

/** False says nothing: the URL may be in its serialised form all the same. */
export function isPlainUrl(url: string): boolean {
  return url.length < 2048 && RegExpPrototypeExec(PLAIN, url) !== null && RegExpPrototypeExec(PUNYCODE, url) === null;
}
