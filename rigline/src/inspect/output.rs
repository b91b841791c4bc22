//! Buffered output that doesn't panic on a closed pipe.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, BufWriter, StdoutLock, Write};

/// Columns of a screen that isn't known.
const SCREEN: usize = 80;

/// Columns of the terminal, or 80 if standard output isn't one.
pub(crate) fn screen_width() -> usize {
    let size = terminal_size::terminal_size_of(io::stdout());
    size.map_or(SCREEN, |(width, _)| usize::from(width.0))
}

/// Standard output with a buffer.
pub(crate) fn stdout() -> BufWriter<StdoutLock<'static>> {
    BufWriter::with_capacity(1 << 16, io::stdout().lock())
}

/// Whether a terminal may act on a character instead of showing it: control characters, and those that
/// change the direction of the characters around them or show nothing.
fn is_active(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// The string with escapes (`\n`, `\u{1b}`) for characters that a terminal may act on.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    escape(text, is_active)
}

/// Like [`printable`], but with line ends and tabs.
pub(crate) fn printable_lines(text: &str) -> Cow<'_, str> {
    escape(text, |c| is_active(c) && c != '\n' && c != '\t')
}

fn escape(text: &str, is_escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_escaped(c) {
            // Writing to a string can't fail.
            let _ = write!(escaped, "{}", c.escape_default());
        } else {
            escaped.push(c);
        }
    }
    Cow::Owned(escaped)
}

/// Writes the cells of a line, escaped, and padded to the widths of their columns except for the last
/// one.
pub(crate) fn line<C: AsRef<str>>(
    out: &mut impl Write,
    widths: &[usize],
    cells: &[C],
) -> io::Result<()> {
    for (place, cell) in cells.iter().enumerate() {
        let width = widths.get(place).copied().unwrap_or_default();
        let cell = printable(cell.as_ref());
        // No padding behind the last cell.
        if place + 1 == cells.len() {
            write!(out, "{cell}")?;
        } else {
            write!(out, "{cell:<width$}  ")?;
        }
    }
    writeln!(out)
}

/// A number with commas between groups of three digits.
pub(crate) fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0 { format!("-{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::{grouped, line, printable, printable_lines};

    #[test]
    fn characters_that_a_terminal_acts_on_are_escaped() {
        let cases = [
            ("rigs/RIG-1/temp °C 温度", "rigs/RIG-1/temp °C 温度"),
            ("\x1b[2J\x07", "\\u{1b}[2J\\u{7}"),
            ("a\r\nb\tc", "a\\r\\nb\\tc"),
            (
                "\u{9b}31m\u{202e}x\u{feff}\x7f",
                "\\u{9b}31m\\u{202e}x\\u{feff}\\u{7f}",
            ),
        ];
        for (text, shown) in cases {
            assert_eq!(printable(text), shown);
            let mut out = Vec::new();
            line(&mut out, &[3], &[text, text]).unwrap();
            let out = String::from_utf8(out).unwrap();
            assert_eq!(out, format!("{shown:<3}  {shown}\n"));
        }
        assert_eq!(printable_lines("a\n\tb\x1b"), "a\n\tb\\u{1b}");
    }

    #[test]
    fn thousands_are_separated() {
        let cases = [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (-12_345_678, "-12,345,678"),
        ];
        for (number, text) in cases {
            assert_eq!(grouped(number), text);
        }
    }
}
