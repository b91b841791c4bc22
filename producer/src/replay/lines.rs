//! Reading a recording line by line, in a thread of its own: standard input may let wait for ever.

use std::io::{self, BufRead, BufReader, Read};

use tokio::sync::mpsc;

use super::line::{BadLine, Line};

/// The longest line, in bytes.
const MAX_LINE: usize = 1 << 20;
/// Lines that are read before it is their turn.
const AHEAD: usize = 256;

/// A line and where it is.
#[derive(Debug)]
pub(crate) struct Numbered {
    /// From 1.
    pub number: u64,
    /// How many bytes of the file there are up to its end.
    pub end: u64,
    /// What it says.
    pub line: Result<Line, BadLine>,
}

/// The lines of a recording. The reading ends with the receiver, or with the first error.
pub(crate) fn read(
    reader: impl FnOnce() -> Box<dyn Read> + Send + 'static,
) -> mpsc::Receiver<io::Result<Numbered>> {
    let (lines, received) = mpsc::channel(AHEAD);
    // At the end of the process nobody waits for it.
    tokio::task::spawn_blocking(move || {
        let source = Lines::new(BufReader::with_capacity(1 << 16, reader()), MAX_LINE);
        for line in source {
            if lines.blocking_send(line).is_err() {
                break;
            }
        }
    });
    received
}

struct Lines<R> {
    reader: R,
    longest: usize,
    number: u64,
    end: u64,
    failed: bool,
}

impl<R: BufRead> Lines<R> {
    fn new(reader: R, longest: usize) -> Self {
        Self {
            reader,
            longest,
            number: 0,
            end: 0,
            failed: false,
        }
    }

    /// The next line that isn't blank.
    fn read(&mut self) -> io::Result<Option<Numbered>> {
        let mut text = Vec::new();
        loop {
            text.clear();
            // One more than the longest, so that a longer one shows.
            let most = self.longest as u64 + 1;
            let read = self
                .reader
                .by_ref()
                .take(most)
                .read_until(b'\n', &mut text)?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            self.end += read as u64;
            let ended = text.pop_if(|last| *last == b'\n').is_some();
            let line = if text.len() > self.longest {
                self.end += if ended { 0 } else { self.skip()? };
                Err(BadLine::TooLong(self.longest))
            } else if text.trim_ascii().is_empty() {
                continue;
            } else {
                Line::parse(&text)
            };
            let (number, end) = (self.number, self.end);
            return Ok(Some(Numbered { number, end, line }));
        }
    }

    /// Reads on to the end of the line; how many bytes that were.
    fn skip(&mut self) -> io::Result<u64> {
        self.reader.skip_until(b'\n').map(|read| read as u64)
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = io::Result<Numbered>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.read().transpose();
        self.failed = matches!(next, Some(Err(_)));
        next
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use proptest::prelude::*;

    use super::{BadLine, Lines, Numbered};

    /// The numbers, ends and payloads of all lines, read through a small buffer.
    fn lines(text: &[u8], longest: usize) -> Vec<(u64, u64, Result<String, BadLine>)> {
        let said = |Numbered { number, end, line }| {
            let payload = line.map(|line| String::from_utf8(line.payload).unwrap());
            (number, end, payload)
        };
        let lines = Lines::new(BufReader::with_capacity(7, text), longest);
        lines.map(|line| said(line.unwrap())).collect()
    }

    #[test]
    fn lines_are_numbered_and_blank_lines_are_skipped() {
        let text = b"\n{\"topic\":\"t\",\"payload\":1}\r\n  \n{\"topic\":\"t\",\"payload\":2}";
        let want = [(2, 28, Ok("1".to_owned())), (4, 56, Ok("2".to_owned()))];
        assert_eq!(lines(text, 100), want);
        assert_eq!(text.len(), 56);
        assert_eq!(lines(b"", 100), []);
    }

    #[test]
    fn too_long_line_is_skipped_to_its_end() {
        let good = "{\"topic\":\"t\",\"payload\":1}";
        for (long, ending) in [(26, "\n"), (27, "\n"), (1_000, "\n"), (1_000, "")] {
            let text = format!("{good}\n{}{ending}", "x".repeat(long));
            let bad = Err(BadLine::TooLong(25));
            let mut want = vec![(1, 26, Ok("1".to_owned())), (2, text.len() as u64, bad)];
            assert_eq!(lines(text.as_bytes(), 25), want, "{long}");
            if !ending.is_empty() {
                let more = format!("{text}{good}");
                want.push((3, more.len() as u64, Ok("1".to_owned())));
                assert_eq!(lines(more.as_bytes(), 25), want, "{long}");
            }
        }
    }

    proptest! {
        #[test]
        fn line_numbers_and_offsets_are_exact(text in "[x\n]{0,60}", longest in 1..10_usize) {
            let lines = lines(text.as_bytes(), longest);
            let written = text.lines().enumerate().filter(|(_, line)| !line.is_empty());
            let numbers: Vec<u64> = written.map(|(place, _)| place as u64 + 1).collect();
            let read: Vec<u64> = lines.iter().map(|line| line.0).collect();
            prop_assert_eq!(read, numbers);
            for (number, end, _) in lines {
                let places = text.match_indices('\n').map(|(place, _)| place + 1);
                let mut ends = places.chain([text.len()]);
                prop_assert_eq!(ends.nth(usize::try_from(number).unwrap() - 1), Some(usize::try_from(end).unwrap()));
            }
        }
    }
}
