//! A small Rust scanner: enough to tell code from comments, strings and character literals, and to match braces.

/// The text with every byte blanked that is in a comment, a string or a character literal. Lengths and lines stay.
pub fn code_only(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes[at..].starts_with(b"//") => line_end(bytes, at),
            b'/' if bytes[at..].starts_with(b"/*") => block_comment_end(bytes, at),
            b'"' => string_end(bytes, at + 1),
            b'r' if !ident_before(bytes, at) => raw_string_end(bytes, at).unwrap_or(at),
            b'\'' => char_end(bytes, at).unwrap_or(at),
            _ => at,
        };
        if end == at {
            at += 1;
            continue;
        }
        let end = end.min(bytes.len());
        out[at..end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
        at = end;
    }
    String::from_utf8(out).expect("whole characters are blanked")
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |n| at + n)
}

fn block_comment_end(bytes: &[u8], at: usize) -> usize {
    let (mut depth, mut at) = (0, at);
    while at < bytes.len() {
        match &bytes[at..] {
            [b'/', b'*', ..] => depth += 1,
            [b'*', b'/', ..] => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            break;
        }
    }
    at
}

fn string_end(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

fn raw_string_end(bytes: &[u8], at: usize) -> Option<usize> {
    let hashes = bytes[at + 1..].iter().take_while(|byte| **byte == b'#').count();
    let open = at + 1 + hashes;
    if bytes.get(open) != Some(&b'"') {
        return None;
    }
    let close: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    let body = open + 1;
    let length = bytes[body..].windows(close.len()).position(|window| window == close)?;
    Some(body + length + close.len())
}

/// The end of a character literal; `None` for a lifetime.
fn char_end(bytes: &[u8], at: usize) -> Option<usize> {
    if bytes.get(at + 1) == Some(&b'\\') {
        let close = bytes[at + 3..].iter().position(|byte| *byte == b'\'')?;
        return Some(at + 3 + close + 1);
    }
    let width = bytes[at + 1..].iter().skip(1).take_while(|byte| **byte & 0xC0 == 0x80).count() + 1;
    (bytes.get(at + 1 + width) == Some(&b'\'')).then_some(at + width + 2)
}

/// Whether an identifier ends right before `at`. The first letter of `br"…"` and `cr"…"` is none: raw strings, too.
fn ident_before(bytes: &[u8], at: usize) -> bool {
    let letters = bytes[..at].iter().rev().take_while(|byte| is_ident(**byte)).count();
    let prefix = letters == 1 && matches!(bytes[at - 1], b'b' | b'c');
    letters > 0 && !prefix
}

pub fn is_ident(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric()
}

/// Line number (from 1) of a byte.
pub fn line_of(text: &str, byte: usize) -> usize {
    text.as_bytes()[..byte].iter().filter(|byte| **byte == b'\n').count() + 1
}

/// Where `word` stands in `code` as a word of its own.
pub fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let bytes = code.as_bytes();
    code.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let before = *at > 0 && is_ident(bytes[at - 1]);
        let after = bytes.get(at + word.len()).is_some_and(|byte| is_ident(*byte));
        !before && !after
    })
}

/// The identifier at or after `at`, past white space, with its place; `None` if something else stands there.
pub fn ident_at(code: &str, at: usize) -> Option<(usize, &str)> {
    let start = at + code[at..].bytes().take_while(u8::is_ascii_whitespace).count();
    let length = code[start..].bytes().take_while(|byte| is_ident(*byte)).count();
    (length > 0).then(|| (start, &code[start..start + length]))
}

/// The byte behind the brace that closes the one at `open`.
pub fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0;
    for (n, byte) in code[open..].bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return open + n + 1;
        }
    }
    code.len()
}

/// A named item with a body in braces, as byte positions: from its keyword to behind its closing brace.
pub struct Item<'a> {
    pub name: &'a str,
    pub start: usize,
    pub end: usize,
}

/// Every `keyword name … { … }` (`fn`, `mod`). Those that end in `;` have no body and are left out.
pub fn items<'a>(code: &'a str, keyword: &'a str) -> Vec<Item<'a>> {
    let mut found = Vec::new();
    for start in words(code, keyword) {
        let Some((at, name)) = ident_at(code, start + keyword.len()) else { continue };
        let mut depth = 0;
        let body = code[at..].bytes().position(|byte| {
            match byte {
                b'(' | b'[' => depth += 1,
                b')' | b']' => depth -= 1,
                _ => {}
            }
            depth == 0 && matches!(byte, b'{' | b';')
        });
        match body {
            Some(n) if code.as_bytes()[at + n] == b'{' => {
                found.push(Item { name, start, end: closing(code, at + n) });
            }
            _ => {}
        }
    }
    found
}

/// Whether a byte lies in an inline `mod tests { … }`.
pub fn in_tests(code: &str, byte: usize) -> bool {
    items(code, "mod").iter().any(|item| item.name == "tests" && (item.start..item.end).contains(&byte))
}

#[test]
fn only_code_is_left() {
    let text =
        "a(\"} // \\\" x\"); // }\nlet b = '{'; /* { /* { */ } */ c(r#\"\"{\"#, br\"{\", '\\'', 'é'); fn d<'x>() {}";
    let code = code_only(text);
    assert_eq!(code.len(), text.len());
    let kept: String = code.split_whitespace().collect();
    assert_eq!(kept, "a();letb=;c(,b,,);fnd<'x>(){}");
}

#[test]
fn bodies_are_found() {
    let code =
        "trait T { fn none(&self); }\nfn one(a: [u8; 2]) -> u8 {\n  let f: fn(u8) = g;\n  { 1 }\n}\nmod tests { x }";
    let found = items(code, "fn");
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].name, line_of(code, found[0].start), line_of(code, found[0].end)), ("one", 2, 5));
    assert!(in_tests(code, code.len() - 3) && !in_tests(code, 3));
}
