//! The data directory of `rigline up`.

use std::path::Path;

use store::{History, SqliteHistory};

use super::line::{Line, limited};
use super::lists;
use crate::called::up_command;
use crate::inspect::lists::{Purpose, Where};
use crate::inspect::output::grouped;
use crate::up::{STORE_FILE, is_held};

const PROCESS: &str = "process";
const QUEUE: &str = "queue";
const STORE: &str = "store";

/// The lines about the process that has the directory, its lists and its store.
pub(super) async fn files(place: &mut Where) -> Vec<Line> {
    let (dir, files) = (place.dir(), place.files());
    let mut lines = vec![process(&dir)];
    let queue = async {
        let lists = place.open(Purpose::Read).await?;
        let first = lists.snapshot().await?;
        let mut lines = vec![Line::ok(QUEUE, lists.place())];
        lines.extend(lists::lists(&lists, first, place.limits()).await?);
        anyhow::Ok(lines)
    };
    let path = files.join(STORE_FILE);
    let (queue, store) = tokio::join!(limited(QUEUE, queue), limited(STORE, store(&path)));
    match queue {
        Ok(Ok(found)) => lines.extend(found),
        Ok(Err(error)) => lines.push(Line::bad(
            QUEUE,
            format!("{error:#}"),
            "check --data and RIGLINE_DATA, and whether this user may read the directory",
        )),
        Err(line) => lines.push(line),
    }
    lines.push(store.unwrap_or_else(|line| line));
    lines
}

fn process(dir: &Path) -> Line {
    let detail = dir.display().to_string();
    if is_held(dir) {
        Line::ok(PROCESS, format!("runs on {detail}"))
    } else {
        let next = format!("start it with `{}`", up_command(dir));
        Line::bad(PROCESS, format!("none runs on {detail}"), next)
    }
}

async fn store(path: &Path) -> Line {
    let at = path.display();
    let series = async {
        let history = SqliteHistory::open_read_only(path)?;
        anyhow::Ok(history.series().await?)
    };
    match series.await {
        Ok(series) => {
            let count = i64::try_from(series.len()).unwrap_or(i64::MAX);
            let newest = series.iter().map(|span| span.last).max();
            let newest = newest.map_or_else(String::new, |time| format!(", newest row {time}"));
            Line::ok(STORE, format!("{at}, {} series{newest}", grouped(count)))
        }
        Err(error) => Line::bad(
            STORE,
            format!("{at}: {error:#}"),
            "check --data and RIGLINE_DATA, and whether this user may read the directory",
        ),
    }
}
