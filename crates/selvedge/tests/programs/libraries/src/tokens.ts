import * as jose from "jose";

/** Signs or encrypts a token with a new key, reads it back, and tells whether a forged one is refused. */
export async function tokens(algorithm: string) {
  const claims = { sub: "somebody", role: "admin" };
  const expected = { issuer: "me", audience: "you" };
  if (algorithm.startsWith("JWE-")) {
    const [alg, enc] = algorithm.slice("JWE-".length).split(" ");
    const key = alg === "dir" ? await jose.generateSecret(enc) : await jose.generateKeyPair(alg, { extractable: true });
    const [own, theirs] = "publicKey" in key ? [key.privateKey, key.publicKey] : [key, key];
    const token = await new jose.EncryptJWT(claims)
      .setProtectedHeader({ alg, enc })
      .setIssuer("me")
      .setAudience("you")
      .setExpirationTime("1h")
      .encrypt(theirs);
    const { payload } = await jose.jwtDecrypt(token, own, expected);
    return { role: payload.role, forged: await refusal(jose.jwtDecrypt(forged(token), own, expected)) };
  }
  let own: CryptoKey | Uint8Array;
  let theirs: CryptoKey | Uint8Array;
  if (algorithm.startsWith("HS")) {
    own = theirs = new TextEncoder().encode("a secret that is long enough for any of these algorithms, 64 bytes");
  } else {
    const pair = await jose.generateKeyPair(algorithm, { extractable: true });
    // Through both text forms of a key.
    own = await jose.importPKCS8(await jose.exportPKCS8(pair.privateKey), algorithm);
    theirs = (await jose.importJWK(await jose.exportJWK(pair.publicKey), algorithm)) as CryptoKey;
  }
  const token = await new jose.SignJWT(claims)
    .setProtectedHeader({ alg: algorithm })
    .setIssuedAt()
    .setIssuer("me")
    .setAudience("you")
    .setExpirationTime("1h")
    .sign(own);
  const { payload } = await jose.jwtVerify(token, theirs, expected);
  return { role: payload.role, forged: await refusal(jose.jwtVerify(forged(token), theirs, expected)) };
}

/** The token with another signature or tag, of the same length. */
function forged(token: string) {
  const cut = token.lastIndexOf(".") + 1;
  return token.slice(0, cut) + (token[cut] === "A" ? "B" : "A") + token.slice(cut + 1);
}

function refusal(attempt: Promise<unknown>) {
  return attempt.then(
    () => "accepted",
    (error) => error.code,
  );
}
