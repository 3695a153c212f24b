//! The tokens of a JSON text, for what has to be known about data that is not parsed.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

/// One token of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// `[` or `{`
    Open(&'a str),
    /// `]` or `}`
    Close(&'a str),
    /// `:`
    Colon,
    /// `,`
    Comma,
    /// A string, quotes included.
    Text(&'a str),
    /// Anything else: numbers, `true`, `NaN`.
    Word(&'a str),
}

#[cfg(test)]
impl<'a> Token<'a> {
    pub(crate) fn as_str(self) -> &'a str {
        match self {
            Self::Open(bracket) | Self::Close(bracket) => bracket,
            Self::Colon => ":",
            Self::Comma => ",",
            Self::Text(text) | Self::Word(text) => text,
        }
    }
}

/// Splits a text into tokens; where the text is not JSON the tokens are of no meaning, but there is an end to them.
#[derive(Clone, Debug)]
pub(crate) struct Tokens<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Tokens<'a> {
    pub(crate) fn of(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Where in the text the next token is looked for.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    fn end_of_text(&self, start: usize) -> usize {
        let bytes = self.text.as_bytes();
        let mut at = start + 1;
        while let Some(found) = memchr2(b'"', b'\\', &bytes[at.min(bytes.len())..]) {
            at += found + 1;
            if bytes[at - 1] == b'"' {
                return at;
            }
            at += 1;
        }
        bytes.len()
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let bytes = self.text.as_bytes();
        let start = self.at + bytes[self.at..].iter().position(|byte| !byte.is_ascii_whitespace())?;
        let (token, end) = match bytes[start] {
            b'[' | b'{' => (Token::Open(&self.text[start..=start]), start + 1),
            b']' | b'}' => (Token::Close(&self.text[start..=start]), start + 1),
            b':' => (Token::Colon, start + 1),
            b',' => (Token::Comma, start + 1),
            b'"' => {
                let end = self.end_of_text(start);
                (Token::Text(&self.text[start..end]), end)
            }
            _ => {
                let length = bytes[start..]
                    .iter()
                    .position(|byte| {
                        matches!(byte, b'[' | b']' | b'{' | b'}' | b':' | b',' | b'"') || byte.is_ascii_whitespace()
                    })
                    .unwrap_or(bytes.len() - start);
                (Token::Word(&self.text[start..start + length]), start + length)
            }
        };
        self.at = end;
        Some(token)
    }
}

/// Whether arrays and objects are nested in more than `limit` levels.
pub(crate) fn deeper_than(limit: usize, text: &str) -> bool {
    if text.len() <= limit {
        return false;
    }
    let mut depth = 0usize;
    Tokens::of(text).any(|token| {
        match token {
            Token::Open(_) => depth += 1,
            Token::Close(_) => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth > limit
    })
}

/// Whether every `{"_placeholder":true,"num":N}` names one of `attachments` attachments.
/// A client that is sent another one ends its connection.
pub(crate) fn placeholders_fit(text: &str, attachments: usize) -> bool {
    /// An object or array that has not ended; of a key that comes twice the last value counts, as for every client.
    #[derive(Default)]
    struct Open<'a> {
        key: Cow<'a, str>,
        is_placeholder: bool,
        num: Option<usize>,
    }
    let fits =
        |object: &Open<'_>| !object.is_placeholder || object.num.is_some_and(|attachment| attachment < attachments);
    let mut open: Vec<Open<'_>> = Vec::new();
    let mut tokens = Tokens::of(text);
    while let Some(token) = tokens.next() {
        if let Some(object) = open.last_mut() {
            match token {
                Token::Text(text) if tokens.clone().next() == Some(Token::Colon) => object.key = key(text),
                Token::Close(_) | Token::Colon | Token::Comma => {}
                value if object.key == "_placeholder" => object.is_placeholder = value == Token::Word("true"),
                value if object.key == "num" => {
                    object.num = match value {
                        Token::Word(word) => word.parse().ok(),
                        _ => None,
                    };
                }
                _ => {}
            }
        }
        match token {
            Token::Open(_) => open.push(Open::default()),
            Token::Close(_) if open.pop().is_some_and(|object| !fits(&object)) => return false,
            _ => {}
        }
    }
    true
}

/// The key a string stands for; as good as always it holds no escape.
fn key(text: &str) -> Cow<'_, str> {
    match memchr(b'\\', text.as_bytes()) {
        None => Cow::Borrowed(text.trim_matches('"')),
        Some(_) => Cow::Owned(serde_json::from_str(text).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn depth_counts_brackets_outside_strings() {
        for (text, depth) in [
            ("1", 0),
            ("[]", 1),
            (r#"{"a":[{"b":"[[[["}]}"#, 3),
            (r#"["\"[[["]"#, 1),
            ("", 0),
        ] {
            assert!(!deeper_than(depth, text), "{text}");
            assert!(depth == 0 || deeper_than(depth - 1, text), "{text}");
        }
    }

    #[test]
    fn placeholders_must_name_an_attachment() {
        for (text, fits) in [
            (r#"[{"_placeholder":true,"num":1}]"#, true),
            (r#"[{"_placeholder":true,"num":2}]"#, false),
            (r#"[{"num": 7, "_placeholder": true}]"#, false),
            (r#"[{"_placeholder":true}]"#, false),
            (r#"[{"_placeholder":false,"num":7},{"num":7},"_placeholder"]"#, true),
            (r#"[{"x":{"_placeholder":true,"num":-1}}]"#, false),
            (r#"["{\"_placeholder\":true,\"num\":7}"]"#, true),
            (r#"[{"\u005fplaceholder":true,"num":7}]"#, false),
            (r#"[{"_placeholder":true,"n\u0075m":1}]"#, true),
            (r#"[{"_placeholder":true,"num":1,"num":"x"}]"#, false),
            (r#"[{"_placeholder":true,"num":1,"num":[]}]"#, false),
            (r#"[{"_placeholder":true,"num":7,"_placeholder":false}]"#, true),
        ] {
            assert_eq!(placeholders_fit(text, 2), fits, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_has_an_end(text in ".*") {
            let covered: usize = Tokens::of(&text).map(|token| token.as_str().len()).sum();
            prop_assert!(covered <= text.len());
        }
    }
}
