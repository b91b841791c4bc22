//! Buffered output that doesn't panic on a closed pipe.

use std::io::{self, BufWriter, StdoutLock, Write};

/// Standard output with a buffer.
pub(crate) fn stdout() -> BufWriter<StdoutLock<'static>> {
    BufWriter::with_capacity(1 << 16, io::stdout().lock())
}

/// Writes the cells of a line, padded to the widths of their columns except for the last one.
pub(crate) fn line<C: AsRef<str>>(
    out: &mut impl Write,
    widths: &[usize],
    cells: &[C],
) -> io::Result<()> {
    for (place, cell) in cells.iter().enumerate() {
        let width = widths.get(place).copied().unwrap_or_default();
        // No padding behind the last cell.
        if place + 1 == cells.len() {
            write!(out, "{}", cell.as_ref())?;
        } else {
            write!(out, "{:<width$}  ", cell.as_ref())?;
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
    use super::grouped;

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
