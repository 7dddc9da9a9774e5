//! Secrets that clients put into addresses, where they do not belong, must not spread through logs.

use std::borrow::Cow;

/// What stands for a secret.
const HIDDEN: &[u8] = b"***";
/// A parameter is secret when its name has one of these in it.
const ANYWHERE: [&str; 7] = ["token", "password", "passwd", "secret", "signature", "credential", "apikey"];
/// A parameter is secret when one of these is a word of its name.
const WORDS: [&str; 7] = ["key", "sig", "pwd", "pass", "jwt", "otp", "auth"];
/// Longest name that is looked at, bytes. Longer ones count as secret.
const NAME_MAX: usize = 128;

/// The address with the values of secret parameters hidden. `more` are further names, in lower case.
pub(super) fn address<'a>(address: &'a [u8], more: &[String]) -> Cow<'a, [u8]> {
    let Some(query) = address.iter().position(|byte| matches!(byte, b'?' | b'#')) else {
        return Cow::Borrowed(address);
    };
    let mut hidden: Option<Vec<u8>> = None;
    let mut at = query + 1;
    // Fragments, which `Referer` should not have, are treated alike.
    for part in address[at..].split_inclusive(|byte| matches!(byte, b'&' | b';' | b'#' | b'?')) {
        let last = part.len()
            - usize::from(
                part.ends_with(b"&") || part.ends_with(b";") || part.ends_with(b"#") || part.ends_with(b"?"),
            );
        let (body, end) = part.split_at(last);
        let equals = body.iter().position(|byte| *byte == b'=');
        match equals.filter(|equals| is_secret(&body[..*equals], more)) {
            Some(equals) => {
                let text = hidden.get_or_insert_with(|| address[..at].to_vec());
                text.extend_from_slice(&body[..=equals]);
                text.extend_from_slice(HIDDEN);
                text.extend_from_slice(end);
            }
            None => {
                if let Some(text) = &mut hidden {
                    text.extend_from_slice(part);
                }
            }
        }
        at += part.len();
    }
    hidden.map_or(Cow::Borrowed(address), Cow::Owned)
}

fn is_secret(name: &[u8], more: &[String]) -> bool {
    if name.len() > NAME_MAX {
        return true;
    }
    let mut plain = [0; NAME_MAX];
    let plain = decode(name, &mut plain);
    let is = |word: &[u8], wanted: &str| word.eq_ignore_ascii_case(wanted.as_bytes());
    // Separators are part of no name: `api_key` and `api-key` are `apikey`.
    let mut joined = [0; NAME_MAX];
    let mut length = 0;
    for byte in plain.iter().filter(|byte| byte.is_ascii_alphanumeric()) {
        joined[length] = byte.to_ascii_lowercase();
        length += 1;
    }
    let joined = &joined[..length];
    ANYWHERE.iter().any(|wanted| joined.windows(wanted.len()).any(|window| window == wanted.as_bytes()))
        || plain
            .split(|byte| !byte.is_ascii_alphanumeric())
            .any(|word| WORDS.iter().any(|wanted| is(word, wanted) || is_last_word(word, wanted)))
        || more.iter().any(|wanted| is(plain, wanted))
}

/// `userKey` ends with the word `key`; `monkey` does not.
fn is_last_word(name: &[u8], word: &str) -> bool {
    let Some(at) = name.len().checked_sub(word.len()).filter(|at| *at > 0) else { return false };
    name[at - 1].is_ascii_lowercase()
        && name[at].is_ascii_uppercase()
        && name[at..].eq_ignore_ascii_case(word.as_bytes())
}

/// Undoes percent encoding, which would hide names.
fn decode<'b>(name: &[u8], buffer: &'b mut [u8; NAME_MAX]) -> &'b [u8] {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let (mut from, mut to) = (0, 0);
    while let Some(&byte) = name.get(from) {
        buffer[to] = byte;
        if byte == b'%'
            && let (Some(high), Some(low)) = (digit(name.get(from + 1)), digit(name.get(from + 2)))
        {
            buffer[to] = (high * 16 + low) as u8;
            from += 2;
        }
        (from, to) = (from + 1, to + 1);
    }
    &buffer[..to]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_and_the_rest_is_as_it_was() {
        for (given, logged) in [
            ("/a", "/a"),
            ("/a?b=c", "/a?b=c"),
            ("/a?", "/a?"),
            ("/a?token", "/a?token"),
            ("/a?token=", "/a?token=***"),
            ("/a?x=1&access_token=abc&y=2", "/a?x=1&access_token=***&y=2"),
            ("/a?API-Key=abc;PASSWORD=x", "/a?API-Key=***;PASSWORD=***"),
            ("/a?%74oken=abc&%6b%65%79=1", "/a?%74oken=***&%6b%65%79=***"),
            ("/a?X-Amz-Signature=9f&X-Amz-Date=1", "/a?X-Amz-Signature=***&X-Amz-Date=1"),
            (
                "/a?sig=1&design=2&keyword=3&monkey=4&userKey=5",
                "/a?sig=***&design=2&keyword=3&monkey=4&userKey=***",
            ),
            ("https://a/cb#access_token=abc&z=1", "https://a/cb#access_token=***&z=1"),
            ("/a?mine=1", "/a?mine=***"),
            ("/a?b?token=1", "/a?b?token=***"),
            ("/a?token=a=b", "/a?token=***"),
        ] {
            let found = address(given.as_bytes(), &["mine".into()]);
            assert_eq!(String::from_utf8_lossy(&found), logged, "{given}");
        }
        let long = format!("/a?{}=secret", "x".repeat(200));
        assert!(!String::from_utf8_lossy(&address(long.as_bytes(), &[])).contains("secret"));
    }
}
