//! Reading the pieces of a packet, from whoever sent it: nothing is taken on trust, and nothing
//! panics.

use super::fault::Fault;

/// A packet's bytes that haven't been read yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// All that is left.
    pub(crate) const fn rest(self) -> &'a [u8] {
        self.0
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self
            .0
            .split_at_checked(count)
            .ok_or(Fault::Malformed("it ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (taken, rest) = self
            .0
            .split_first_chunk()
            .ok_or(Fault::Malformed("it ends too early"))?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Fault> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Fault> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Fault> {
        self.array().map(u32::from_be_bytes)
    }

    /// A packet id, which is never 0.
    pub(crate) fn packet_id(&mut self) -> Result<u16, Fault> {
        match self.u16()? {
            0 => Err(Fault::Malformed("its packet id is 0")),
            id => Ok(id),
        }
    }

    /// A number of one to four bytes.
    pub(crate) fn number(&mut self) -> Result<usize, Fault> {
        match number(self.0)? {
            Some((number, taken)) => {
                self.take(taken)?;
                Ok(number)
            }
            None => Err(Fault::Malformed("it ends too early")),
        }
    }

    /// Bytes with their length in front.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Fault> {
        let length = self.u16()?;
        self.take(length.into())
    }

    /// A text with its length in front.
    pub(crate) fn text(&mut self) -> Result<&'a str, Fault> {
        let bytes = self.bytes()?;
        let text = std::str::from_utf8(bytes).map_err(|_| Fault::Malformed("bad UTF-8"))?;
        if bytes.contains(&0) {
            return Err(Fault::Malformed("a text with NUL in it"));
        }
        Ok(text)
    }
}

/// A number of one to four bytes, and how many they are; nothing if it isn't complete.
pub(crate) fn number(bytes: &[u8]) -> Result<Option<(usize, usize)>, Fault> {
    let mut number = 0;
    for (place, byte) in bytes.iter().take(4).enumerate() {
        number |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            // In more bytes than it needs, too: some devices leave themselves room for long ones.
            return Ok(Some((number, place + 1)));
        }
    }
    if bytes.len() >= 4 {
        return Err(Fault::Malformed("a length of more than four bytes"));
    }
    Ok(None)
}
