//! Readers of elements in the form in which this program writes them, which take about two thirds of the time of those of
//! any JSON: without white space, escapes and exponents, with the members in their order. Whatever differs is left to
//! the readers of JSON.

#[cfg(test)]
mod tests;

pub(super) mod rigs;
pub(super) mod tagged;

use crate::name::Name;
use crate::sample::Value;
use crate::time::Timestamp;

/// What isn't read yet. Every method takes what it returns off, if it is there.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn skip(&mut self, text: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(text)?;
        Some(())
    }

    /// Takes a comma or a brace, and tells whether it was a brace.
    fn ends_object(&mut self) -> Option<bool> {
        let ends = self.0.starts_with('}');
        if !ends && !self.0.starts_with(',') {
            return None;
        }
        self.0 = &self.0[1..];
        Some(ends)
    }

    /// A string without escapes.
    fn string(&mut self) -> Option<&'a str> {
        let text = self.0.strip_prefix('"')?;
        let is_special = |byte| matches!(byte, b'"' | b'\\' | 0..=0x1f);
        let end = text.bytes().position(is_special)?;
        let (string, rest) = text.split_at(end);
        self.0 = rest.strip_prefix('"')?;
        Some(string)
    }

    fn name(&mut self) -> Option<Name<'a>> {
        Name::new(self.string()?).ok()
    }

    fn time(&mut self) -> Option<Timestamp> {
        Timestamp::parse(self.string()?).ok()
    }

    /// A number with a point.
    fn float(&mut self) -> Option<f64> {
        match self.value()? {
            Value::Float(value) => Some(value),
            _ => None,
        }
    }

    fn value(&mut self) -> Option<Value> {
        if self.0.starts_with('"') {
            return Some(Value::String(self.string()?.to_owned()));
        }
        let end = self
            .0
            .bytes()
            .position(|byte| matches!(byte, b',' | b'}'))?;
        let (text, rest) = self.0.split_at(end);
        self.0 = rest;
        match text {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            _ => number(text),
        }
    }
}

/// A number without an exponent. Of what Rust reads as a number, JSON allows no sign but a minus, no zero before other
/// digits, and no point without digits on both sides. A minus before an integer zero is a float in JSON.
fn number(text: &str) -> Option<Value> {
    let digits = text.strip_prefix('-').unwrap_or(text).as_bytes();
    if let [b'0', b'0'..=b'9', ..] = digits {
        return None;
    }
    match digits.iter().position(|byte| !byte.is_ascii_digit()) {
        None if text == "-0" => None,
        None => Some(Value::Integer(text.parse().ok()?)),
        Some(point @ 1..) if digits[point] == b'.' => {
            let fraction = &digits[point + 1..];
            if fraction.is_empty() || !fraction.iter().all(u8::is_ascii_digit) {
                return None;
            }
            // A negative zero is stored as zero.
            Some(Value::Float(text.parse::<f64>().ok()? + 0.0))
        }
        Some(_) => None,
    }
}
