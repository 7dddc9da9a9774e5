//! Directives as words, lines and blocks, which nginx and Caddy write alike but for their ends.

use super::Note;

/// Blocks inside of blocks that are followed.
const DEPTH_MAX: usize = 32;

/// A directive: its name, what follows it, and its block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Directive {
    pub(super) words: Vec<String>,
    pub(super) block: Option<Vec<Directive>>,
    pub(super) file: String,
    pub(super) line: usize,
}

impl Directive {
    pub(super) fn name(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    pub(super) fn arguments(&self) -> &[String] {
        self.words.get(1..).unwrap_or_default()
    }

    pub(super) fn first(&self) -> &str {
        self.arguments().first().map_or("", String::as_str)
    }

    pub(super) fn inside(&self) -> &[Directive] {
        self.block.as_deref().unwrap_or_default()
    }

    pub(super) fn note(&self, why: &str) -> Note {
        let directive = self.words.join(" ").chars().take(80).collect();
        Note { file: self.file.clone(), line: self.line, directive, why: why.into() }
    }
}

/// What ends a directive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// nginx.
    Semicolon,
    /// Caddy.
    Line,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Open,
    Close,
    End,
}

/// Parses a file.
pub(super) fn parse(file: &str, text: &str, ending: Ending) -> Result<Vec<Directive>, Note> {
    let tokens = tokens(file, text, ending)?;
    let mut at = 0;
    let directives = block(file, &tokens, &mut at, 0)?;
    match tokens.get(at) {
        None => Ok(directives),
        Some((_, line)) => Err(problem(file, *line, "a } without its {")),
    }
}

fn problem(file: &str, line: usize, why: &str) -> Note {
    Note { file: file.into(), line, directive: "syntax".into(), why: why.into() }
}

fn block(
    file: &str,
    tokens: &[(Token, usize)],
    at: &mut usize,
    depth: usize,
) -> Result<Vec<Directive>, Note> {
    let mut directives = Vec::new();
    let mut words: Vec<String> = Vec::new();
    let mut begun = 0;
    while let Some((token, line)) = tokens.get(*at) {
        let take = |words: &mut Vec<String>, block| Directive {
            words: std::mem::take(words),
            block,
            file: file.into(),
            line: begun,
        };
        match token {
            Token::Word(word) => {
                if words.is_empty() {
                    begun = *line;
                }
                words.push(word.clone());
            }
            Token::End if words.is_empty() => {}
            Token::End => directives.push(take(&mut words, None)),
            Token::Open => {
                if depth == DEPTH_MAX {
                    return Err(problem(file, *line, "too many blocks inside of each other"));
                }
                if words.is_empty() {
                    begun = *line;
                }
                *at += 1;
                let inner = block(file, tokens, at, depth + 1)?;
                if !matches!(tokens.get(*at), Some((Token::Close, _))) {
                    return Err(problem(file, *line, "a { without its }"));
                }
                let take = Directive {
                    words: std::mem::take(&mut words),
                    block: Some(inner),
                    file: file.into(),
                    line: begun,
                };
                directives.push(take);
            }
            Token::Close => {
                if !words.is_empty() {
                    directives.push(take(&mut words, None));
                }
                return Ok(directives);
            }
        }
        *at += 1;
    }
    if !words.is_empty() {
        directives.push(Directive { words, block: None, file: file.into(), line: begun });
    }
    Ok(directives)
}

fn tokens(file: &str, text: &str, ending: Ending) -> Result<Vec<(Token, usize)>, Note> {
    let mut tokens = Vec::new();
    let mut word: Option<String> = None;
    let mut line = 1;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let alone = word.is_none();
        match c {
            '#' if alone => while chars.next_if(|c| *c != '\n').is_some() {},
            '"' | '\'' | '`' if alone && (c != '`' || ending == Ending::Line) => {
                let start = line;
                let mut quoted = String::new();
                loop {
                    match chars.next() {
                        None => return Err(problem(file, start, "a quote that is not closed")),
                        Some(end) if end == c => break,
                        Some('\\') if c != '`' => match chars.next() {
                            Some(escaped) if escaped == c || escaped == '\\' => quoted.push(escaped),
                            Some('n') if ending == Ending::Semicolon => quoted.push('\n'),
                            Some('t') if ending == Ending::Semicolon => quoted.push('\t'),
                            Some(other) => quoted.extend(['\\', other]),
                            None => return Err(problem(file, start, "a quote that is not closed")),
                        },
                        Some(inner) => {
                            line += usize::from(inner == '\n');
                            quoted.push(inner);
                        }
                    }
                }
                tokens.push((Token::Word(quoted), start));
            }
            '\\' if ending == Ending::Line && chars.peek() == Some(&'\n') => {
                chars.next();
                line += 1;
            }
            '\\' if ending == Ending::Semicolon => {
                let word = word.get_or_insert_default();
                word.push('\\');
                word.extend(chars.next());
            }
            c if c.is_whitespace() => {
                tokens.extend(word.take().map(|word| (Token::Word(word), line)));
                if c == '\n' {
                    if ending == Ending::Line {
                        tokens.push((Token::End, line));
                    }
                    line += 1;
                }
            }
            ';' if ending == Ending::Semicolon => {
                tokens.extend(word.take().map(|word| (Token::Word(word), line)));
                tokens.push((Token::End, line));
            }
            // `{` alone opens a block; in Caddy `{host}` is a word, and in nginx `${name}` and `x{2}` are parts of one.
            '{' | '}'
                if alone
                    && (ending == Ending::Semicolon || chars.peek().is_none_or(|c| c.is_whitespace())) =>
            {
                tokens.push((if c == '{' { Token::Open } else { Token::Close }, line));
            }
            '{' if ending == Ending::Semicolon
                && !word.as_ref().is_some_and(|word| {
                    word.ends_with(['$', '\\'])
                        || inside_braces(word, &chars.clone().take(16).collect::<String>())
                }) =>
            {
                tokens.extend(word.take().map(|word| (Token::Word(word), line)));
                tokens.push((Token::Open, line));
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    tokens.extend(word.take().map(|word| (Token::Word(word), line)));
    Ok(tokens)
}

/// Whether a brace after `word` is the count of an expression: `[0-9]{2}`.
fn inside_braces(word: &str, rest: &str) -> bool {
    let counted = rest.split_once('}').is_some_and(|(inside, _)| {
        !inside.is_empty() && inside.bytes().all(|b| b.is_ascii_digit() || b == b',')
    });
    counted && !word.is_empty() || word.rfind('{').is_some_and(|open| !word[open..].contains('}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(directive: &Directive) -> Vec<&str> {
        directive.words.iter().map(String::as_str).collect()
    }

    #[test]
    fn nginx_is_read() {
        let text = "http { # a\n server_name a.b 'c d';\n location ~ \\.(php)$ { x \"1;2\"; }\n  location ~ ^/[0-9]{2}/${x} {}\n}\n";
        let all = parse("f", text, Ending::Semicolon).unwrap();
        let inside = all[0].inside();
        assert_eq!(words(&inside[0]), ["server_name", "a.b", "c d"]);
        assert_eq!(words(&inside[1]), ["location", "~", "\\.(php)$"]);
        assert_eq!(words(&inside[1].inside()[0]), ["x", "1;2"]);
        assert_eq!(words(&inside[2]), ["location", "~", "^/[0-9]{2}/${x}"]);
        assert_eq!((inside[1].line, inside[2].line), (3, 4));
    }

    #[test]
    fn caddyfiles_are_read() {
        let text = "{\n email a@b\n}\na.b, c.d {\n redir https://{host}{uri} permanent\n header {\n  X \"a b\"\n }\n}\n";
        let all = parse("f", text, Ending::Line).unwrap();
        assert_eq!(all[0].words, Vec::<String>::new());
        assert_eq!(words(&all[1]), ["a.b,", "c.d"]);
        assert_eq!(words(&all[1].inside()[0]), ["redir", "https://{host}{uri}", "permanent"]);
        assert_eq!(words(&all[1].inside()[1].inside()[0]), ["X", "a b"]);
    }

    #[test]
    fn broken_files_are_told() {
        for text in ["a {", "}", "a \"b", "a }", &"a {".repeat(100)] {
            assert!(parse("f", text, Ending::Semicolon).is_err(), "{text}");
        }
    }
}
