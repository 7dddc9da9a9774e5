//! Values of XML: what stands between elements, and in their attributes. Nothing is checked, and nothing is a tree: programs differ in
//! what they take for XML, and rules want what any of them might take out of it.

use crate::normal;

/// Calls `take` with the nearest element's or attribute's name and each value, its character references replaced. Declarations
/// (`<!…>`) and what is no XML are values, too. False when there are more than `values_max`.
pub(crate) fn values(text: &str, values_max: usize, take: &mut dyn FnMut(&str, &str)) -> bool {
    let mut left = values_max;
    let mut put = |name: &str, value: &str| {
        let value = value.trim();
        if value.is_empty() {
            return true;
        }
        take(name, &normal::references(value));
        left = left.saturating_sub(1);
        left > 0
    };
    let (mut rest, mut name) = (text, "");
    while let Some(at) = rest.find('<') {
        if !put(name, &rest[..at]) {
            return false;
        }
        rest = &rest[at..];
        if let Some(inside) = rest.strip_prefix("<![CDATA[") {
            let (value, after) = inside.split_once("]]>").unwrap_or((inside, ""));
            if !put(name, value) {
                return false;
            }
            rest = after;
            continue;
        }
        let end = end_of_tag(rest);
        let (tag, after) = rest.split_at(end);
        rest = after;
        let inside = tag.trim_start_matches('<').trim_end_matches('>');
        match inside.as_bytes().first() {
            Some(b'!') if !put(name, tag) => return false,
            Some(b'!' | b'/') => {}
            // `<?xml … ?>` has attributes, too, that say nothing; other instructions are for programs.
            Some(b'?') if inside.starts_with("?xml ") => {}
            Some(b'?') if !put(name, tag) => return false,
            Some(b'?') => {}
            _ => {
                let mut words = inside.splitn(2, |c: char| c.is_whitespace() || c == '/');
                name = words.next().unwrap_or_default();
                let mut attributes = words.next().unwrap_or_default();
                while let Some((before, behind)) = attributes.split_once('=') {
                    let attribute = before.trim().trim_start_matches('/').trim();
                    let behind = behind.trim_start();
                    let quote = behind.chars().next().filter(|c| matches!(c, '"' | '\''));
                    let (value, next) = match quote {
                        Some(quote) => behind[1..].split_once(quote).unwrap_or((&behind[1..], "")),
                        None => behind.split_once(char::is_whitespace).unwrap_or((behind, "")),
                    };
                    if !put(attribute, value) {
                        return false;
                    }
                    attributes = next;
                }
            }
        }
    }
    put(name, rest)
}

/// Bytes up to the `>` that ends what begins here, quoted ones aside.
fn end_of_tag(text: &str) -> usize {
    let mut quote = None;
    for (at, byte) in text.bytes().enumerate() {
        match (quote, byte) {
            (None, b'>') => return at + 1,
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), byte) if byte == open => quote = None,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(text: &str) -> Vec<(String, String)> {
        let mut found = Vec::new();
        values(text, 100, &mut |name, value| found.push((name.to_owned(), value.to_owned())));
        found
    }

    #[test]
    fn values_stand_in_attributes_and_between_elements() {
        let text = "<?xml version=\"1.0\"?><a x='1 &lt; 2' y = \"&#x27;\" z=3><b>te&amp;xt</b><![CDATA[<raw>]]></a> tail";
        let pairs = [("x", "1 < 2"), ("y", "'"), ("z", "3"), ("b", "te&xt"), ("b", "<raw>"), ("b", "tail")];
        assert_eq!(all(text), pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(all("<!ENTITY a \"b>c\"><x/>"), [(String::new(), "<!ENTITY a \"b>c\">".to_owned())]);
        assert!(!values(&"<a b='c'/>".repeat(101), 100, &mut |_, _| ()));
    }

    proptest! {
        #[test]
        fn anything_is_walked(text in "[<>!?/='\"a&; \\[\\]\\PC]{0,80}") {
            values(&text, 50, &mut |_, _| ());
        }
    }
}
