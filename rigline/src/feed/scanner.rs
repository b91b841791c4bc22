//! The items of a JSON array, found in pieces of a file.

use serde_json::value::RawValue;

#[cfg(test)]
mod tests;

/// The most bytes of an item. A longer one is passed on as invalid.
const MAX_ITEM: usize = 1 << 20;
/// The most bytes that are shown of an item that can't be used.
pub(super) const MAX_SHOWN: usize = 1 << 10;
/// What some editors write at the beginning of a file.
const BYTE_ORDER_MARK: [u8; 3] = [0xEF, 0xBB, 0xBF];

/// Finds the items of an array in the bytes of a file, which are handed over in pieces. Memory is bounded by the longest
/// item, and by [`MAX_ITEM`].
#[derive(Debug)]
pub(super) struct Scanner {
    /// The offset in the file of the next byte.
    offset: u64,
    state: State,
    /// The item as far as it was read, without what surrounds it.
    item: Vec<u8>,
    is_too_long: bool,
    /// Whether the array has had no item yet, so that it may be empty.
    is_first: bool,
}

/// Where the next byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the array.
    Before,
    /// At what ends an item: a comma, or the end of the array.
    Delimiter,
    /// In an item, or before it, within this many brackets.
    Item(u64),
    /// In a string of an item, within this many brackets.
    Text(u64),
    /// Behind a backslash in a string.
    Escape(u64),
    /// Behind the array.
    After,
}

/// An item, and the offset of what ends it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) item: Item,
    pub(super) end: u64,
}

/// An item of an array.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// As it is in the file, in one line.
    Json(Vec<u8>),
    /// The beginning of something that isn't JSON, or that is too long.
    Invalid(String),
}

/// Why a file can't be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Broken {
    #[error("the file is empty; it should be a JSON array")]
    Empty,
    #[error("the file doesn't begin with [, so it isn't a JSON array")]
    NoArray,
    #[error("the file ends before the ] of its array")]
    Truncated,
    #[error("there is something behind the ] of the file's array")]
    Trailing,
    #[error("no item of the file ends at this cursor")]
    NoItem,
}

impl Scanner {
    /// Begins at the beginning of a file.
    pub(super) const fn new() -> Self {
        Self::at(0, State::Before)
    }

    /// Begins at the offset of what ends an item.
    pub(super) const fn after(end: u64) -> Self {
        Self::at(end, State::Delimiter)
    }

    const fn at(offset: u64, state: State) -> Self {
        Self {
            offset,
            state,
            item: Vec::new(),
            is_too_long: false,
            is_first: true,
        }
    }

    /// The offset of the byte that is needed next.
    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    /// Takes bytes from `piece` until an item has ended. `None`: all were taken.
    pub(super) fn next(&mut self, piece: &mut &[u8]) -> Result<Option<Found>, Broken> {
        while let Some((&byte, rest)) = piece.split_first() {
            let has_ended = self.take(byte)?;
            *piece = rest;
            let end = self.offset;
            self.offset += 1;
            if has_ended {
                let item = self.take_item();
                return Ok(Some(Found { item, end }));
            }
        }
        Ok(None)
    }

    /// Checks whether the file may end here.
    pub(super) const fn finish(&self) -> Result<(), Broken> {
        match self.state {
            State::After => Ok(()),
            State::Before => Err(Broken::Empty),
            _ => Err(Broken::Truncated),
        }
    }

    /// Takes a byte, and returns whether it ends an item.
    fn take(&mut self, byte: u8) -> Result<bool, Broken> {
        let is_space = matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        self.state = match (self.state, byte) {
            (State::Before | State::After, _) if is_space => return Ok(false),
            (State::Before, b'[') => State::Item(0),
            (State::Before, _) => {
                let place = usize::try_from(self.offset).unwrap_or(usize::MAX);
                if BYTE_ORDER_MARK.get(place) != Some(&byte) {
                    return Err(Broken::NoArray);
                }
                State::Before
            }
            (State::After, _) => return Err(Broken::Trailing),
            (State::Delimiter, b',') => {
                self.is_first = false;
                State::Item(0)
            }
            (State::Delimiter, b']') => State::After,
            (State::Delimiter, _) => return Err(Broken::NoItem),
            (State::Item(0), b',') => {
                self.is_first = false;
                return Ok(true);
            }
            (State::Item(0), b']') => {
                self.state = State::After;
                return Ok(!(self.is_first && self.item.is_empty()));
            }
            (State::Item(depth), _) => {
                // Space before an item isn't part of it.
                if !(is_space && self.item.is_empty()) {
                    self.keep(byte);
                }
                match byte {
                    b'"' => State::Text(depth),
                    b'[' | b'{' => State::Item(depth + 1),
                    b']' | b'}' => State::Item(depth.saturating_sub(1)),
                    _ => State::Item(depth),
                }
            }
            (State::Text(depth), _) => {
                self.keep(byte);
                match byte {
                    b'"' => State::Item(depth),
                    b'\\' => State::Escape(depth),
                    _ => State::Text(depth),
                }
            }
            (State::Escape(depth), _) => {
                self.keep(byte);
                State::Text(depth)
            }
        };
        Ok(false)
    }

    fn keep(&mut self, byte: u8) {
        if self.is_too_long {
            return;
        }
        if self.item.len() == MAX_ITEM {
            self.is_too_long = true;
            self.item.truncate(MAX_SHOWN);
            self.item.shrink_to_fit();
        } else {
            self.item.push(byte);
        }
    }

    fn take_item(&mut self) -> Item {
        let is_too_long = std::mem::take(&mut self.is_too_long);
        let mut text = std::mem::take(&mut self.item);
        text.truncate(text.trim_ascii_end().len());
        if is_too_long || serde_json::from_slice::<&RawValue>(&text).is_err() {
            return Item::Invalid(beginning(&text));
        }
        // In a string of valid JSON there are none.
        for byte in &mut text {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
        Item::Json(text)
    }
}

/// The beginning of bytes that may not be UTF-8.
fn beginning(text: &[u8]) -> String {
    let kept = &text[..text.len().min(MAX_SHOWN)];
    let mut shown = String::from_utf8_lossy(kept).into_owned();
    shown.truncate(shown.floor_char_boundary(MAX_SHOWN));
    shown
}
