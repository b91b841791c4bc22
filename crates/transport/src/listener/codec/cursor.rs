//! Decodes the fields of a packet. Every read checks its length, and nothing panics.

use super::ProtocolError;

/// The bytes of a packet that aren't decoded yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// All bytes that are left.
    pub(crate) const fn rest(self) -> &'a [u8] {
        self.0
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], ProtocolError> {
        let (taken, rest) = self
            .0
            .split_at_checked(count)
            .ok_or(ProtocolError::Malformed("it ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ProtocolError> {
        let (taken, rest) = self
            .0
            .split_first_chunk()
            .ok_or(ProtocolError::Malformed("it ends too early"))?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, ProtocolError> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, ProtocolError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, ProtocolError> {
        self.array().map(u32::from_be_bytes)
    }

    /// A packet id, which is never 0.
    pub(crate) fn packet_id(&mut self) -> Result<u16, ProtocolError> {
        match self.u16()? {
            0 => Err(ProtocolError::Malformed("its packet id is 0")),
            id => Ok(id),
        }
    }

    /// A variable byte integer, of one to four bytes.
    pub(crate) fn variable_int(&mut self) -> Result<usize, ProtocolError> {
        match variable_int(self.0)? {
            Some((value, taken)) => {
                self.take(taken)?;
                Ok(value)
            }
            None => Err(ProtocolError::Malformed("it ends too early")),
        }
    }

    /// Bytes with their length in front.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], ProtocolError> {
        let length = self.u16()?;
        self.take(length.into())
    }

    /// A string with its length in front.
    pub(crate) fn string(&mut self) -> Result<&'a str, ProtocolError> {
        let bytes = self.bytes()?;
        let string =
            std::str::from_utf8(bytes).map_err(|_| ProtocolError::Malformed("bad UTF-8"))?;
        if bytes.contains(&0) {
            return Err(ProtocolError::Malformed("a string with NUL in it"));
        }
        Ok(string)
    }
}

/// A variable byte integer and its length of one to four bytes; `None` if it isn't complete.
pub(crate) fn variable_int(bytes: &[u8]) -> Result<Option<(usize, usize)>, ProtocolError> {
    let mut value = 0;
    for (place, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            // More bytes than the value needs are accepted: some devices always send four.
            return Ok(Some((value, place + 1)));
        }
    }
    if bytes.len() >= 4 {
        return Err(ProtocolError::Malformed("a length of more than four bytes"));
    }
    Ok(None)
}
