/** `crypto.subtle` and what belongs to it. */
import { INTERNAL } from "../internal/webidl.ts";
import { SubtleCrypto } from "../crypto/subtle.ts";

export { CryptoKey, toKey } from "../crypto/key.ts";
export { DigestStream } from "../crypto/digest-stream.ts";
export { SubtleCrypto };
export const subtle = new SubtleCrypto(INTERNAL);
