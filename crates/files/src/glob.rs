//! Patterns of `cache_control`.

/// `*` stands for any text. Patterns with a slash are for whole paths, others for names.
#[derive(Clone, Debug)]
pub(crate) struct Glob(String);

impl Glob {
    pub(crate) fn new(pattern: &str) -> Self {
        Self(pattern.to_owned())
    }

    /// Of patterns that fit the longest wins.
    pub(crate) fn weight(&self) -> usize {
        self.0.len()
    }

    /// `path` is relative to the root.
    pub(crate) fn fits(&self, path: &[u8]) -> bool {
        match self.0.strip_prefix('/') {
            Some(pattern) => fits(pattern.as_bytes(), path),
            None if self.0.contains('/') => fits(self.0.as_bytes(), path),
            None => {
                let start = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
                fits(self.0.as_bytes(), &path[start..])
            }
        }
    }
}

/// Goes back to the last star only, which suffices and keeps it from being exponential.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, t));
            p += 1;
        } else if pattern.get(p) == Some(&text[t]) {
            p += 1;
            t += 1;
        } else if let Some((at, from)) = star {
            star = Some((at, from + 1));
            p = at + 1;
            t = from + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit() {
        for (pattern, path, expected) in [
            ("*", "a/b", true),
            ("*.css", "a/b.css", true),
            ("*.css", "b.css.map", false),
            ("/assets/*", "assets/x/y.js", true),
            ("/assets/*", "x/assets/y.js", false),
            ("/sw.js", "sw.js", true),
            ("/sw.js", "a/sw.js", false),
            ("/*/a*b*c", "x/y/aabbc", true),
            ("/a*a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
        ] {
            assert_eq!(Glob::new(pattern).fits(path.as_bytes()), expected, "{pattern} {path}");
        }
    }
}
