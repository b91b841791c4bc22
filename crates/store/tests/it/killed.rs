//! A process that is killed while it writes.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use store::Store;
use tempfile::TempDir;

use crate::fixture::{check, open, path_in, row, rows_of};

const VARIABLE: &str = "STORE_TEST_WRITES_IN";
const BATCH: i64 = 20;
/// Batches that are let through before the process is killed.
const BATCHES: usize = 25;
const ROUNDS: i64 = 4;

/// What the killed process does: it writes batch after batch from a second on, and says so after
/// each. Nothing, unless it is told where.
#[tokio::test]
async fn the_process_that_is_killed() {
    let Ok(told) = std::env::var(VARIABLE) else {
        return;
    };
    let (start, dir) = told.split_once(' ').unwrap();
    let store = open(Path::new(dir));
    let mut second: i64 = start.parse().unwrap();
    loop {
        let rows: Vec<_> = (second..second + BATCH)
            .map(|second| row("R", second, &[("a", 0.5), ("b", 1.5)]))
            .collect();
        store.write(&rows).await.unwrap();
        second += BATCH;
        println!("stored {second}");
    }
}

fn start(dir: &Path, second: i64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "killed::the_process_that_is_killed",
            "--nocapture",
        ])
        .env(VARIABLE, format!("{second} {}", dir.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_rows_survive_a_kill() {
    let dir = TempDir::with_prefix("store-").unwrap();
    for round in 0..ROUNDS {
        let from = round * 1_000_000;
        let mut child = start(dir.path(), from);
        let said = BufReader::new(child.stdout.take().unwrap());
        let mut stored = said
            .lines()
            .map_while(Result::ok)
            .filter_map(|line| line.strip_prefix("stored ")?.parse::<i64>().ok());
        let mut last = stored.nth(BATCHES).expect("the process writes");
        child.kill().unwrap();
        child.wait().unwrap();
        // What it had said before it was killed.
        last = stored.last().unwrap_or(last);

        let store = open(dir.path());
        let rows = rows_of(&store.history(), "R").await;
        let seconds: Vec<i64> = rows
            .iter()
            .map(|row| row.timestamp.seconds())
            .filter(|second| *second >= from)
            .collect();
        let count = i64::try_from(seconds.len()).unwrap();
        assert!(count >= last - from, "{count} rows of {}", last - from);
        assert_eq!(count % BATCH, 0, "a batch is there or it isn't");
        assert!(seconds.into_iter().eq(from..from + count));
        check(&path_in(dir.path()));
        store.preflight().await.unwrap();
    }
}
