//! The command `feed`.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{Answer, Certificates, Launch, StageProcess, free_port, http_request, wait_until};

use crate::fixture::{SOON, Up, binary, second, text};

/// A process `rigline feed` that streams `items.json`.
struct Feed {
    stage: StageProcess,
    port: u16,
    dir: TempDir,
}

impl Feed {
    fn start(file: &str, args: &[&str]) -> Self {
        let (dir, port) = (TempDir::with_prefix("feed-").unwrap(), free_port());
        let path = dir.path().join("items.json");
        fs::write(&path, file).unwrap();
        let stage = Launch::binary(binary())
            .args(&["feed", &format!("items={}", path.display())])
            .args(args)
            .env("FEED_ADDR", &format!("127.0.0.1:{port}"))
            .spawn();
        assert!(stage.ready(SOON), "{}", stage.logs());
        Self { stage, port, dir }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("items.json")
    }

    /// Replaces the file, as programs do that write a new one first.
    fn replace(&self, file: &str) {
        let new = self.dir.path().join("new");
        fs::write(&new, file).unwrap();
        fs::rename(new, self.path()).unwrap();
    }

    fn get(&self, path: &str) -> Answer {
        self.get_with(path, &[])
    }

    fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        http_request(self.port, ("GET", path), headers, b"", SOON).unwrap()
    }

    /// All lines of a stream.
    fn lines(&self, query: &str) -> Vec<Value> {
        let answer = self.get(&format!("/items{query}"));
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.header("content-type"), "application/x-ndjson");
        let lines = answer.body.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Reads a stream whose response stays open.
    fn open(&self, query: &str) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let head = format!("GET /items{query} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut reader = BufReader::new(stream);
        while !next_line(&mut reader).unwrap().is_empty() {}
        reader
    }

    fn stop(mut self) {
        self.stage.terminate();
        let ended = self.stage.wait_exit(SOON);
        let logs = self.stage.logs();
        assert!(
            ended.is_some_and(|ended| ended.success()),
            "{ended:?}\n{logs}"
        );
    }
}

/// The most memory that it has had so far, in kB.
fn most_memory(feed: &Feed) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", feed.stage.pid())).unwrap();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    most.unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

/// The next line; `None` at the end.
fn next_line(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = String::new();
    let length = reader.read_line(&mut line).unwrap();
    (length > 0).then(|| line.trim_end().to_owned())
}

fn cursor(line: &Value) -> &str {
    line["cursor"].as_str().unwrap()
}

/// An array of this many items, whose lengths differ.
fn numbered(count: usize) -> String {
    let item = |number: usize| json!({ "n": number, "text": "x".repeat(number % 90) });
    let items: Vec<_> = (0..count).map(item).collect();
    serde_json::to_string_pretty(&items).unwrap()
}

fn has_numbers(lines: &[Value], numbers: std::ops::Range<usize>) -> bool {
    let found = lines.iter().map(|line| line["item"]["n"].as_u64().unwrap());
    found.eq(numbers.map(|number| u64::try_from(number).unwrap()))
}

#[test]
fn items_are_streamed_as_they_are_and_read_on_from_every_cursor() {
    let file = "[ {\"id\": 3,\n \"val\": -1.50, \"x\": \"a\\n[\"}, null, nonsense, 12345678901234567890123,\n[1, {}], \"]\" ]\n";
    let feed = Feed::start(file, &["--speed", "max"]);
    let answer = feed.get("/items");
    let items: Vec<_> = answer
        .body
        .lines()
        .map(|line| line.split_once("\",").unwrap().1)
        .collect();
    let expected = [
        "\"item\":{\"id\": 3,  \"val\": -1.50, \"x\": \"a\\n[\"}}",
        "\"item\":null}",
        "\"invalid\":\"nonsense\"}",
        "\"item\":12345678901234567890123}",
        "\"item\":[1, {}]}",
        "\"item\":\"]\"}",
    ];
    assert_eq!(items, expected);
    let all = feed.lines("");
    for (place, line) in all.iter().enumerate() {
        let rest = feed.lines(&format!("?after={}", cursor(line)));
        assert_eq!(rest, all[place + 1..]);
    }
    let list: Value = serde_json::from_str(&feed.get("/").body).unwrap();
    assert_eq!(
        list,
        json!({ "streams": [{ "name": "items", "path": "/items" }] })
    );
    let after_second = cursor(&all[1]);
    let inside = after_second.rsplit_once('-').unwrap().0.to_owned() + "-5";
    let beyond = inside.clone() + "ffffff";
    for (path, status, part) in [
        ("/nothing", 404, "/ lists"),
        ("/items/1", 404, "/ lists"),
        ("/items?after=x", 400, "isn't a cursor"),
        ("/items?after=", 400, "isn't a cursor"),
        (&format!("/items?after={inside}"), 400, "no item ends there"),
        (&format!("/items?after={beyond}"), 400, "no item ends there"),
        ("/items?follow=perhaps", 400, "the query"),
        ("/items?before=1", 400, "the query"),
    ] {
        let answer = feed.get(path);
        let problem: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(
            (answer.status, problem["status"].as_u64()),
            (status, Some(status.into()))
        );
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(part), "{path}: {detail}");
    }
    let _ = feed.stage.logs_with("a reader's response has ended");
    feed.stop();
}

#[test]
fn readers_at_the_same_time_get_all_and_memory_stays_small() {
    const COUNT: usize = 150_000;
    let file = numbered(COUNT);
    let feed = Feed::start(&file, &["--speed", "max"]);
    let before = most_memory(&feed);
    thread::scope(|scope| {
        let read = || {
            let lines = feed.lines("");
            assert!(has_numbers(&lines, 0..COUNT));
            let last = &lines[COUNT / 3];
            let rest = feed.lines(&format!("?after={}", cursor(last)));
            assert!(has_numbers(&rest, COUNT / 3 + 1..COUNT));
        };
        for _ in 0..3 {
            scope.spawn(read);
        }
    });
    let grown = most_memory(&feed) - before;
    assert!(
        grown < 8 << 10,
        "{grown} kB for a file of {} bytes",
        file.len()
    );
    assert!(file.len() > 12_000_000, "{}", file.len());
    feed.stop();
}

#[test]
fn replaced_file_ends_a_follower_and_its_cursors() {
    let feed = Feed::start(&numbered(3), &["--speed", "max"]);
    let mut follower = feed.open("?follow=true");
    let lines: Vec<_> = (0..3).map(|_| next_line(&mut follower).unwrap()).collect();
    // Nothing more for now.
    assert_eq!(next_line(&mut follower).as_deref(), Some(""));
    let last: Value = serde_json::from_str(&lines[2]).unwrap();
    let after = format!("/items?after={}", cursor(&last));
    assert_eq!(feed.get(&after).status, 200);
    feed.replace(&numbered(4));
    while let Some(line) = next_line(&mut follower) {
        assert_eq!(line, "", "only heartbeats");
    }
    let answer = feed.get(&after);
    assert_eq!(answer.status, 410, "{}", answer.body);
    assert!(
        answer.body.contains("start without after"),
        "{}",
        answer.body
    );
    assert!(has_numbers(&feed.lines(""), 0..4));
    // A slow reader of the file that was there gets the rest of it, if it isn't changed itself.
    let big = numbered(60_000);
    feed.replace(&big);
    let mut slow = feed.open("?follow=true");
    feed.replace(&numbered(1));
    let mut lines = Vec::new();
    while let Some(line) = next_line(&mut slow).filter(|line| !line.is_empty()) {
        lines.push(serde_json::from_str(&line).unwrap());
    }
    assert!(has_numbers(&lines, 0..60_000), "{} lines", lines.len());
    feed.replace(&big);
    let mut slow = feed.open("");
    fs::write(feed.path(), numbered(1)).unwrap();
    let mut lines = Vec::new();
    while let Some(line) = next_line(&mut slow) {
        lines.push(serde_json::from_str(&line).unwrap());
    }
    assert!(lines.len() < 60_000 && has_numbers(&lines, 0..lines.len()));
    feed.stop();
}

#[test]
fn files_that_break_say_so_at_the_end() {
    let feed = Feed::start("[1]", &["--speed", "max"]);
    for (file, items, part) in [
        ("[1,2,{\"a\":", 2, "ends before the ]"),
        ("[1,2] 3", 2, "behind the ]"),
        ("[", 0, "ends before the ]"),
    ] {
        feed.replace(file);
        let mut lines = feed.lines("?follow=true");
        let last = lines.pop().unwrap();
        assert!(last["error"].as_str().unwrap().contains(part), "{last}");
        assert_eq!(lines.len(), items);
    }
    for (file, part) in [("{}", "doesn't begin with ["), ("", "is empty")] {
        feed.replace(file);
        let answer = feed.get("/items");
        assert_eq!(answer.status, 500);
        assert!(answer.body.contains(part), "{}", answer.body);
    }
    fs::remove_file(feed.path()).unwrap();
    assert_eq!(feed.get("/items").status, 500);
    let logs = feed.stage.logs_with("ends before the ]");
    assert!(logs.contains("WARN"), "{logs}");
    feed.replace("[1]");
    assert_eq!(feed.lines("").len(), 1);
    feed.stop();
}

#[test]
fn stop_ends_readers_that_wait() {
    let feed = Feed::start("[1,2]", &["--interval", "1h"]);
    let mut paused = feed.open("");
    assert!(next_line(&mut paused).unwrap().contains("\"item\":1"));
    let cursor = feed.open("").lines().next().unwrap().unwrap();
    assert!(cursor.contains("\"item\":1"), "{cursor}");
    feed.stop();
    assert_eq!(next_line(&mut paused), None);
    let feed = Feed::start("[1]", &["--interval", "1ms"]);
    let mut follower = feed.open("?follow=true");
    assert!(next_line(&mut follower).unwrap().contains("\"item\":1"));
    assert_eq!(next_line(&mut follower).as_deref(), Some(""));
    feed.stop();
    assert_eq!(next_line(&mut follower), None);
}

#[test]
fn token_is_needed_if_there_is_one() {
    let feed = Feed::start("[1]", &["--token", "a-b"]);
    assert_eq!(feed.get("/items").status, 401);
    assert_eq!(feed.get("/").status, 401);
    let bearer = |token| [("Authorization", token)];
    assert_eq!(feed.get_with("/items", &bearer("Bearer a-b")).status, 200);
    assert_eq!(feed.get_with("/items", &bearer("Bearer other")).status, 401);
    feed.stop();
}

#[test]
fn settings_that_cannot_be_are_64() {
    let dir = TempDir::new().unwrap();
    for (name, content) in [("good", "[1]"), ("object", "{}"), ("empty", "")] {
        fs::write(dir.path().join(name), content).unwrap();
    }
    let run = |args: &[&str]| {
        let mut command = Command::new(binary());
        command
            .arg("feed")
            .args(args)
            .env_clear()
            .current_dir(dir.path());
        command.env("ADMIN_ADDR", "127.0.0.1:0").output().unwrap()
    };
    for (args, part) in [
        (&[] as &[&str], "one file or more"),
        (&["good"], "a name of small letters"),
        (&["a=missing"], "can't be read"),
        (&["a=."], "isn't a file"),
        (&["a=object"], "doesn't begin with ["),
        (&["a=empty"], "is empty"),
        (&["a=good", "a=good"], "a name of its own"),
        (
            &["a=good", "--interval", "1s", "--speed", "max"],
            "cannot be used with",
        ),
        (&["a=good", "--interval", "fast"], "FEED_INTERVAL"),
        (&["a=good", "--listen", "0.0.0.0:0"], "FEED_ALLOW_OPEN"),
        (&["a=good", "--tls-cert-file", "good"], "FEED_TLS_KEY_FILE"),
    ] {
        let output = run(args);
        let said = text(&output);
        assert_eq!(output.status.code(), Some(64), "{args:?}: {said}");
        assert!(said.contains(part), "{args:?}: {said}");
    }
    let help = run(&["--help"]);
    assert!(help.status.success());
    for part in [
        "NAME=FILE",
        "FEED_ADDR",
        "127.0.0.1:8060",
        "FEED_TOKEN",
        "50ms",
    ] {
        assert!(text(&help).contains(part), "{part}: {}", text(&help));
    }
}

#[test]
fn one_process_reads_a_stream_with_tls() {
    let made = Certificates::new();
    made.issue("feed", &["localhost"]);
    let shown = |path: PathBuf| path.display().to_string();
    let (cert, key) = (shown(made.certificate("feed")), shown(made.key("feed")));
    let time = second().to_string();
    let item = |id: u32| json!({ "id": id, "val": 1.5, "time": time });
    let items = json!([item(1), item(2), "no object", item(3)]).to_string();
    let tls = ["--tls-cert-file", &cert, "--tls-key-file", &key];
    let feed = Feed::start(&items, &[&["--interval", "1ms"], &tls[..]].concat());
    let port = feed.port;
    let lines = format!(
        "name = \"plant\"\n[source]\nkind = \"http-stream\"\nurl = \"https://localhost:{port}/items\"\n\
         [message]\ntags = {{ id = \"/id\" }}\nfields = {{ val = \"/val\" }}\ntime = \"/time\"\n"
    );
    let pipeline = feed.dir.path().join("plant.toml");
    fs::write(&pipeline, lines).unwrap();
    let pipeline = shown(pipeline);
    let untrusting = Launch::binary(binary())
        .args(&["up"])
        .env("PIPELINES", &pipeline)
        .env("MQTT_LISTEN", &format!("127.0.0.1:{}", free_port()))
        .spawn();
    let names_the_remedy = || untrusting.get("/readyz").contains("HTTP_STREAM_CA_FILE");
    assert!(wait_until(SOON, names_the_remedy), "{}", untrusting.logs());
    drop(untrusting);
    let ca = shown(made.ca());
    let env = [("PIPELINES", &*pipeline), ("HTTP_STREAM_CA_FILE", &*ca)];
    let up = Up::start(&env);
    let said = up.wait_for_output(&["ledger", "--pipeline", "plant"], "stored 3 rows");
    assert!(said.contains("dead letters 1"), "{said}");
    // Ready: the stream is read on, and there is nothing more.
    let up = Up::start_in(up.stop(), &env);
    let said = up.run_ok(&["ledger", "--pipeline", "plant"]);
    assert!(said.contains("stored 3 rows"), "{said}");
    assert!(said.contains("dead letters 1"), "{said}");
    up.stop();
    feed.stop();
}
