//! Text of images, guests and registries without what a terminal would obey.

use std::borrow::Cow;

/// What a terminal obeys, or what changes the order of what is read or hides it: control characters, and of
/// Unicode's formatting ones those for line ends, directions, and invisible text. Joiners stay: scripts need them.
fn is_unsafe(letter: char) -> bool {
    letter.is_control()
        || matches!(
            letter,
            '\u{61c}'
                | '\u{200b}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// Whether a text needs no look at each of its letters. No byte ends the search: processors take many at once.
fn is_plain(text: &str) -> bool {
    text.bytes()
        .fold(true, |plain, byte| plain & matches!(byte, b' '..=b'~'))
}

/// The same of several lines.
fn are_plain(text: &str) -> bool {
    text.bytes().fold(true, |plain, byte| {
        plain & (matches!(byte, b' '..=b'~') | (byte == b'\n'))
    })
}

/// Several lines: line ends and tabs stay, what is unsafe becomes visible, as `\x1b`.
pub fn lines(text: &str) -> Cow<'_, str> {
    let escape = |letter: char| !matches!(letter, '\n' | '\t') && is_unsafe(letter);
    if are_plain(text) || !text.contains(escape) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        if escape(letter) {
            push_visible(&mut safe, letter);
        } else {
            safe.push(letter);
        }
    }
    Cow::Owned(safe)
}

/// One line: as [`lines`], and line ends and tabs are spaces, so that no text makes a second line of a list.
pub fn line(text: &str) -> Cow<'_, str> {
    if is_plain(text) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        match letter {
            '\n' | '\t' | '\r' => safe.push(' '),
            letter if is_unsafe(letter) => push_visible(&mut safe, letter),
            letter => safe.push(letter),
        }
    }
    Cow::Owned(safe)
}

/// JSON: what its writer leaves and is unsafe becomes an escape that any reader of JSON undoes. Outside of
/// strings there is none of it.
pub fn json(text: &str) -> Cow<'_, str> {
    let escape = |letter: char| letter != '\n' && is_unsafe(letter);
    if are_plain(text) || !text.contains(escape) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        if escape(letter) {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                safe.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            safe.push(letter);
        }
    }
    Cow::Owned(safe)
}

fn push_visible(text: &mut String, letter: char) {
    let number = u32::from(letter);
    text.push_str(&match number {
        0..=0xff => format!("\\x{number:02x}"),
        0x100..=0xffff => format!("\\u{number:04x}"),
        _ => format!("\\U{number:08x}"),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// C0, DEL, C1, a direction, a line separator, and a letter of invisible text.
    const HOSTILE: &str = "\x1b]0;x\x07\r\x08\x7f\u{9b}2J\u{202e}\u{2028}\u{e0041}";

    #[test]
    fn what_a_terminal_obeys_becomes_visible() {
        let safe = "\\x1b]0;x\\x07\\x0d\\x08\\x7f\\x9b2J\\u202e\\u2028\\U000e0041";
        assert_eq!(lines(HOSTILE), safe);
        assert_eq!(lines("a\tb\n日本 \u{200d}é"), "a\tb\n日本 \u{200d}é");
        assert_eq!(lines(&lines(HOSTILE)), safe, "twice is as once");
    }

    #[test]
    fn line_of_a_list_stays_one() {
        assert_eq!(line("a\r\nb\tc\x1b[A"), "a  b c\\x1b[A");
        assert_eq!(line("plain"), "plain");
    }

    #[test]
    fn json_means_what_it_meant() {
        let value = serde_json::json!({ "key\u{9b}": HOSTILE });
        let text = serde_json::to_string_pretty(&value).unwrap();
        let safe = json(&text);
        assert!(
            safe.chars()
                .all(|letter| letter == '\n' || !is_unsafe(letter)),
            "{safe}"
        );
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&safe).unwrap(),
            value
        );
    }
}
