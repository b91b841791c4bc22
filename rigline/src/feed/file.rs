//! A file whose items are streamed, and the cursors in it.

use std::fmt;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use super::scanner::{Broken, Scanner};

/// How much of a file is read at once.
const PIECE: usize = 64 << 10;

/// What tells a file from the one that was at its path before: its length and the time of its last change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    length: u64,
    seconds: i64,
    nanos: i64,
}

impl Stamp {
    fn of(file: &Metadata) -> Self {
        Self {
            length: file.len(),
            seconds: file.mtime(),
            nanos: file.mtime_nsec(),
        }
    }

    /// Of the file that is at this path now, if there is one.
    pub(super) fn at(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().map(|file| Self::of(&file))
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.{:x}.{:x}", self.length, self.seconds, self.nanos)
    }
}

/// A place between two items: the file, and the offset of what ends the item before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) stamp: Stamp,
    pub(super) end: u64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:x}", self.stamp, self.end)
    }
}

/// A string that is no cursor.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoCursor;

impl FromStr for Cursor {
    type Err = NoCursor;

    fn from_str(text: &str) -> Result<Self, NoCursor> {
        let number = |text| u64::from_str_radix(text, 16).map_err(|_| NoCursor);
        let (file, end) = text.split_once('-').ok_or(NoCursor)?;
        let mut parts = file.split('.').map(number);
        let mut next = || parts.next().unwrap_or(Err(NoCursor));
        let stamp = Stamp {
            length: next()?,
            // Times before 1970 are shown as the large numbers of their bits.
            seconds: next()?.cast_signed(),
            nanos: next()?.cast_signed(),
        };
        let cursor = Self {
            stamp,
            end: number(end)?,
        };
        // What is shown otherwise wasn't made here.
        if cursor.to_string() == text {
            Ok(cursor)
        } else {
            Err(NoCursor)
        }
    }
}

/// Why a file can't be streamed.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    #[error("the file can't be read: {0}")]
    Io(#[from] io::Error),
    #[error("it isn't a file")]
    NoFile,
    #[error(transparent)]
    Broken(#[from] Broken),
}

/// A file that was opened, and what it was then.
#[derive(Debug, Clone)]
pub(super) struct OpenFile {
    file: Arc<File>,
    pub(super) stamp: Stamp,
}

impl OpenFile {
    /// Opens a file that begins as an array does.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        // Before it is opened, which waits for the other side of a pipe.
        if !fs::metadata(path)?.is_file() {
            return Err(OpenError::NoFile);
        }
        let file = File::open(path)?;
        let stamp = Stamp::of(&file.metadata()?);
        let opened = Self {
            file: Arc::new(file),
            stamp,
        };
        let piece = opened.read(0)?;
        let mut scanner = Scanner::new();
        let mut rest = piece.as_slice();
        scanner.next(&mut rest)?;
        if piece.is_empty() {
            return Err(Broken::Empty.into());
        }
        Ok(opened)
    }

    /// The bytes from this offset on, as many as are read at once; none at the end.
    fn read(&self, offset: u64) -> io::Result<Vec<u8>> {
        let mut piece = vec![0; PIECE];
        let length = self.file.read_at(&mut piece, offset)?;
        piece.truncate(length);
        Ok(piece)
    }

    /// Whether an item ends at this place.
    pub(super) fn has_end_at(&self, end: u64) -> io::Result<bool> {
        let mut byte = [0];
        let length = self.file.read_at(&mut byte, end)?;
        Ok(length == 1 && matches!(byte[0], b',' | b']'))
    }

    /// The bytes from this offset on, as [`read`](Self::read). `None`: the file is no longer what it was.
    pub(super) async fn piece(&self, offset: u64) -> io::Result<Option<Vec<u8>>> {
        let opened = self.clone();
        blocking(move || {
            let piece = opened.read(offset)?;
            // Afterwards, so that what was read is of the file that was opened.
            let is_same = Stamp::of(&opened.file.metadata()?) == opened.stamp;
            Ok(is_same.then_some(piece))
        })
        .await?
    }
}

/// Does what waits for a disk on a thread for such work.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::{Cursor, NoCursor, Stamp};

    #[test]
    fn cursors_are_read_back() {
        for (seconds, nanos) in [(1_767_600_000, 999_999_999), (-5, 0)] {
            let stamp = Stamp {
                length: 399_394,
                seconds,
                nanos,
            };
            let cursor = Cursor { stamp, end: 77 };
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        for text in [
            "",
            "-",
            "1.2.3",
            "1.2-3",
            "1.2.3.4-5",
            "1.2.3-",
            "1.2.3-x",
            "1.2.3-+4",
            "01.2.3-4",
        ] {
            assert_eq!(text.parse::<Cursor>(), Err(NoCursor), "{text}");
        }
    }
}
