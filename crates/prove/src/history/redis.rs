//! Reads the changes from Redis's append-only file, which has all of them in order.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use super::{History, mentions};
use crate::message::{Cell, Epoch};

const LEASE: &[u8] = b"rigline:rigs:lease:";
const CONSUMER: &[u8] = b"rigline:rigs:consumer:";

/// Reads all changes from the files in Redis's directory.
pub fn read(redis: &Path, epoch: Epoch) -> io::Result<History> {
    let mut reading = Reading {
        epoch,
        leases: HashMap::new(),
        history: History::default(),
    };
    for_each(redis, |_, command| reading.take(command))?;
    Ok(reading.history)
}

struct Reading {
    epoch: Epoch,
    /// The token that holds each lease.
    leases: HashMap<String, String>,
    history: History,
}

impl Reading {
    fn take(&mut self, command: &[Vec<u8>]) {
        let word = command[0].to_ascii_uppercase();
        let key = command.get(1).map_or(&[][..], Vec::as_slice);
        match (word.as_slice(), key) {
            (b"RPUSH", b"raw_events") => {
                for item in &command[2..] {
                    self.history.append(item, self.epoch);
                }
            }
            (b"RPUSH", b"normalized_events") => {
                for item in &command[2..] {
                    self.history.emit(item, self.epoch);
                }
            }
            (b"RPUSH", b"dead_letters") => self.history.dead_letters += command.len() - 2,
            (b"FLUSHALL" | b"FLUSHDB", _) => {
                self.leases.clear();
                self.history.numbers.clear();
            }
            (b"SET", key) if key.starts_with(LEASE) => {
                self.leases
                    .insert(text(&key[LEASE.len()..]), text(&command[2]));
            }
            (b"DEL" | b"UNLINK", key) if key.starts_with(LEASE) => {
                self.leases.remove(&text(&key[LEASE.len()..]));
            }
            (b"HSET", key) if key.starts_with(CONSUMER) => {
                self.commit(&text(&key[CONSUMER.len()..]), &command[2..]);
            }
            _ => {}
        }
    }

    /// The fields are `number N by TOKEN`.
    fn commit(&mut self, consumer: &str, fields: &[Vec<u8>]) {
        let [_, number, _, by] = fields else { return };
        let holder = self.leases.get(consumer).map(String::as_str);
        let number = text(number).parse().unwrap_or(0);
        self.history.commit(consumer, number, &text(by), holder);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The changes that concern one cell, in order, one line each.
pub fn trail(redis: &Path, cell: Cell, epoch: Epoch) -> io::Result<Vec<String>> {
    let mut trail = Trail {
        cell,
        epoch,
        lists: [
            Followed::new("raw_events"),
            Followed::new("normalized_events"),
        ],
        lines: Vec::new(),
    };
    for_each(redis, |time, command| trail.take(time, command))?;
    Ok(trail.lines)
}

struct Trail {
    cell: Cell,
    epoch: Epoch,
    lists: [Followed; 2],
    lines: Vec<String>,
}

/// A list with the positions of the cell's elements, counted from the first element ever appended.
struct Followed {
    name: &'static str,
    pushed: usize,
    trimmed: usize,
    positions: Vec<usize>,
}

impl Followed {
    const fn new(name: &'static str) -> Self {
        Self {
            name,
            pushed: 0,
            trimmed: 0,
            positions: Vec::new(),
        }
    }
}

impl Trail {
    fn take(&mut self, time: &str, command: &[Vec<u8>]) {
        let word = String::from_utf8_lossy(&command[0]).to_ascii_uppercase();
        if word.starts_with("FLUSH") {
            self.lines.push(format!("{time} {word}"));
        }
        let Some(key) = command.get(1) else { return };
        let Some(list) = self
            .lists
            .iter_mut()
            .find(|list| list.name.as_bytes() == key)
        else {
            return;
        };
        match word.as_str() {
            "RPUSH" => {
                for item in &command[2..] {
                    if mentions(item, self.cell, self.epoch) {
                        list.positions.push(list.pushed);
                        let item = String::from_utf8_lossy(item);
                        self.lines
                            .push(format!("{time} appended to {}: {item}", list.name));
                    }
                    list.pushed += 1;
                }
            }
            "LTRIM" => {
                let count = command
                    .get(2)
                    .and_then(|count| String::from_utf8_lossy(count).parse::<usize>().ok());
                list.trimmed += count.unwrap_or(0);
                let gone = list
                    .positions
                    .iter()
                    .filter(|index| **index < list.trimmed)
                    .count();
                list.positions.drain(..gone);
                if gone > 0 {
                    self.lines
                        .push(format!("{time} trimmed from {}", list.name));
                }
            }
            other => self.lines.push(format!("{time} {other} {}", list.name)),
        }
    }
}

/// Calls `take` with every command and the last timestamp before it, in Unix seconds.
fn for_each(redis: &Path, mut take: impl FnMut(&str, &[Vec<u8>])) -> io::Result<()> {
    for path in files(redis)? {
        let mut reader = BufReader::with_capacity(1 << 20, File::open(path)?);
        let mut time = String::new();
        let mut line = Vec::new();
        loop {
            line.clear();
            if reader.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            match line.first() {
                Some(b'#') => {
                    let text = String::from_utf8_lossy(&line);
                    text.trim_start_matches("#TS:").trim().clone_into(&mut time);
                }
                Some(b'*') => match command(&mut reader, &line)? {
                    Some(command) if !command.is_empty() => take(&time, &command),
                    Some(_) => {}
                    // The file ends within a command.
                    None => break,
                },
                _ => return Err(io::Error::other("not an append-only file")),
            }
        }
    }
    Ok(())
}

fn command(reader: &mut impl BufRead, header: &[u8]) -> io::Result<Option<Vec<Vec<u8>>>> {
    let Some(count) = number(header) else {
        return Ok(None);
    };
    let mut parts = Vec::with_capacity(count);
    let mut line = Vec::new();
    for _ in 0..count {
        line.clear();
        reader.read_until(b'\n', &mut line)?;
        let Some(length) = number(&line) else {
            return Ok(None);
        };
        let mut part = vec![0; length + 2];
        if reader.read_exact(&mut part).is_err() {
            return Ok(None);
        }
        part.truncate(length);
        parts.push(part);
    }
    Ok(Some(parts))
}

/// The number in a line such as `*3\r\n`.
fn number(line: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(line.get(1..)?).ok()?;
    text.strip_suffix("\r\n")?.parse().ok()
}

/// The incremental files, oldest first. Data from before the first of them isn't of this run.
fn files(redis: &Path) -> io::Result<Vec<PathBuf>> {
    let dir = redis.join("appendonlydir");
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // appendonly.aof.7.incr.aof
        let mut parts = name.rsplit('.');
        if let (Some("aof"), Some("incr"), Some(number)) =
            (parts.next(), parts.next(), parts.next())
            && let Ok(number) = number.parse::<u32>()
        {
            files.push((number, path));
        }
    }
    files.sort();
    Ok(files.into_iter().map(|(_, path)| path).collect())
}
