//! What Python writes or reads as JSON, and others do not, made into JSON.
//!
//! Python's `json` module reads UTF-8 with or without a byte order mark, UTF-16 and UTF-32, and writes `NaN`, `Infinity` and halves of
//! surrogate pairs. Strict parsers refuse some of these, so none of them is passed on to clients.

use bytes::Bytes;
use bytestring::ByteString;

use crate::json::{Token, Tokens};

/// The text of a message, in whichever encoding it came; `None` when it is not text.
/// UTF-8, what everybody sends, is not copied.
pub(super) fn text_of(body: Bytes) -> Option<ByteString> {
    match body.as_ref() {
        [0xef, 0xbb, 0xbf, ..] => utf8(body.slice(3..)),
        [0xff, 0xfe, 0, 0, ..] | [_, 0, 0, 0, ..] => utf32(&body, u32::from_le_bytes),
        [0, 0, ..] => utf32(&body, u32::from_be_bytes),
        [0xff, 0xfe, ..] | [_, 0, ..] => utf16(&body, u16::from_le_bytes),
        [0xfe, 0xff, ..] | [0, ..] => utf16(&body, u16::from_be_bytes),
        _ => utf8(body),
    }
}

fn utf8(body: Bytes) -> Option<ByteString> {
    match ByteString::try_from(body.clone()) {
        Ok(text) => Some(text),
        Err(_) => utf8_with_surrogates(&body),
    }
}

fn utf16(body: &[u8], unit: fn([u8; 2]) -> u16) -> Option<ByteString> {
    let units = body.chunks(2).map(|pair| <[u8; 2]>::try_from(pair).map(unit));
    let units = units.collect::<Result<Vec<u16>, _>>().ok()?;
    Some(
        escaped(char::decode_utf16(units).map(|unit| unit.map_err(|half| u32::from(half.unpaired_surrogate())))).into(),
    )
}

fn utf32(body: &[u8], unit: fn([u8; 4]) -> u32) -> Option<ByteString> {
    let mut chars = Vec::with_capacity(body.len() / 4);
    for four in body.chunks(4) {
        let code = unit(four.try_into().ok()?);
        chars.push(char::from_u32(code).ok_or(code));
        if matches!(chars.last(), Some(Err(code)) if !(0xd800..0xe000).contains(code)) {
            return None;
        }
    }
    Some(escaped(chars).into())
}

/// Surrogates encoded as if they were characters (`surrogatepass` in Python), which UTF-8 forbids.
fn utf8_with_surrogates(body: &[u8]) -> Option<ByteString> {
    let mut units = Vec::with_capacity(body.len());
    let mut rest = body;
    while !rest.is_empty() {
        let valid = match std::str::from_utf8(rest) {
            Ok(text) => text,
            Err(error) => std::str::from_utf8(&rest[..error.valid_up_to()]).ok()?,
        };
        units.extend(valid.encode_utf16());
        rest = &rest[valid.len()..];
        if let [0xed, second @ 0xa0..=0xbf, third @ 0x80..=0xbf, after @ ..] = rest {
            units.push(0xd000 | u16::from(second & 0x3f) << 6 | u16::from(third & 0x3f));
            rest = after;
        } else if !rest.is_empty() {
            return None;
        }
    }
    Some(
        escaped(char::decode_utf16(units).map(|unit| unit.map_err(|half| u32::from(half.unpaired_surrogate())))).into(),
    )
}

/// Characters as they are, half pairs as JSON escapes, no byte order mark.
fn escaped(chars: impl IntoIterator<Item = Result<char, u32>>) -> String {
    let mut text = String::new();
    for (index, char) in chars.into_iter().enumerate() {
        match char {
            Ok('\u{feff}') if index == 0 => {}
            Ok(char) => text.push(char),
            Err(half) => text.push_str(&format!("\\u{half:04x}")),
        }
    }
    text
}

/// `NaN`, `Infinity` and `-Infinity` become `null`, as `JSON.stringify` writes them. `None` when there are none.
pub(super) fn replace_non_finite(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut copied = 0;
    let mut tokens = Tokens::of(text);
    while let Some(token) = tokens.next() {
        if let Token::Word(word @ ("NaN" | "Infinity" | "-Infinity")) = token {
            let end = tokens.position();
            out.push_str(&text[copied..end - word.len()]);
            out.push_str("null");
            copied = end;
        }
    }
    (copied > 0).then(|| out + &text[copied..])
}

/// Halves of surrogate pairs, written as JSON escapes, become U+FFFD.
pub(crate) fn replace_lone_surrogates(text: &str) -> String {
    let escape = |at: usize| -> Option<u16> {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(char) = text[at..].chars().next() {
        let step = match (escape(at), escape(at + 6)) {
            (Some(0xd800..0xdc00), Some(0xdc00..0xe000)) => 12,
            (Some(0xd800..0xe000), _) => {
                out.push_str("\\ufffd");
                at += 6;
                continue;
            }
            _ if char == '\\' => 1 + text[at + 1..].chars().next().map_or(0, char::len_utf8),
            _ => char.len_utf8(),
        };
        out.push_str(&text[at..at + step]);
        at += step;
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(body: &[u8]) -> Option<String> {
        text_of(Bytes::copy_from_slice(body)).map(|text| text.to_string())
    }

    #[test]
    fn encodings_that_python_reads() {
        let text = r#"{"a":"é😀"}"#;
        let utf16 = |unit: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(unit).collect::<Vec<u8>>();
        let utf32 = |unit: fn(u32) -> [u8; 4]| text.chars().flat_map(|char| unit(char.into())).collect::<Vec<u8>>();
        let with_mark = |mark: &[u8], body: &[u8]| [mark, body].concat();
        for body in [
            text.as_bytes().to_vec(),
            with_mark(b"\xef\xbb\xbf", text.as_bytes()),
            utf16(u16::to_le_bytes),
            utf16(u16::to_be_bytes),
            with_mark(b"\xff\xfe", &utf16(u16::to_le_bytes)),
            with_mark(b"\xfe\xff", &utf16(u16::to_be_bytes)),
            utf32(u32::to_le_bytes),
            utf32(u32::to_be_bytes),
            with_mark(b"\xff\xfe\0\0", &utf32(u32::to_le_bytes)),
        ] {
            assert_eq!(read(&body).as_deref(), Some(text), "{body:?}");
        }
    }

    #[test]
    fn half_pairs_become_escapes_and_other_bytes_are_not_text() {
        assert_eq!(read(b"\"\xed\xa0\x80\"").as_deref(), Some(r#""\ud800""#));
        assert_eq!(read(b"\"\xed\xa0\xbd\xed\xb8\x80\"").as_deref(), Some("\"😀\""));
        assert_eq!(read(b"\"\xff\"\xff"), None);
        assert_eq!(read(b"{\0}"), None);
    }

    #[test]
    fn one_byte_order_mark_is_passed_over() {
        let marks = "\u{feff}".repeat(500_000);
        assert_eq!(read(marks.as_bytes()).as_deref(), marks.strip_prefix('\u{feff}'));
    }

    #[test]
    fn numbers_that_are_not_json() {
        assert_eq!(
            replace_non_finite(r#"[NaN, -Infinity,{"NaN":"Infinity"},Infinity]"#).as_deref(),
            Some(r#"[null, null,{"NaN":"Infinity"},null]"#)
        );
        assert_eq!(replace_non_finite(r#"["NaN", 1]"#), None);
    }

    #[test]
    fn lone_surrogates() {
        assert_eq!(replace_lone_surrogates(r"a\ud800b"), r"a\ufffdb");
        assert_eq!(replace_lone_surrogates(r"\ud83d\ude00"), r"\ud83d\ude00");
        assert_eq!(replace_lone_surrogates(r"\\ud800"), r"\\ud800");
        assert_eq!(replace_lone_surrogates(r"\udc00\ud800"), r"\ufffd\ufffd");
        assert_eq!(replace_lone_surrogates("é\\"), "é\\");
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(body in prop::collection::vec(any::<u8>(), 0..64), text in ".*") {
            if let Some(read) = read(&body) {
                replace_non_finite(&read);
                replace_lone_surrogates(&read);
            }
            replace_lone_surrogates(&text);
        }
    }
}
