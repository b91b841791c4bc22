//! The data directory of `rigline up`.

use std::path::Path;

use common::pipelines::Pipeline;
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

/// The lines about the process that has the directory, and about lists and store of each pipeline.
pub(super) async fn files(places: Vec<Where>, pipelines: &[Pipeline]) -> Vec<Line> {
    let mut lines = Vec::new();
    let has_several = places.len() > 1;
    for mut place in places {
        if lines.is_empty() {
            lines.push(process(&place.dir()));
        }
        let mut found = pipelines.iter().filter_map(Pipeline::file);
        let file = found.find(|file| *file.name == *place.pipeline());
        let has_own_store = file.is_some_and(|file| !file.store.is_empty());
        let mut of_pipeline = of_pipeline(&mut place, has_own_store).await;
        if has_several {
            for line in &mut of_pipeline {
                *line = line.clone().of(place.pipeline());
            }
        }
        lines.extend(of_pipeline);
    }
    lines
}

/// The lines about the lists of a pipeline, and about its store, unless its file names others.
async fn of_pipeline(place: &mut Where, has_own_store: bool) -> Vec<Line> {
    let path = place.files().join(STORE_FILE);
    let queue = async {
        let lists = place.open(Purpose::Read).await?;
        let first = lists.snapshot().await?;
        let mut lines = vec![Line::ok(QUEUE, lists.place())];
        lines.extend(lists::lists(&lists, first, place.limits()).await?);
        anyhow::Ok(lines)
    };
    let (queue, store) = tokio::join!(limited(QUEUE, queue), limited(STORE, store(&path)));
    let mut lines = match queue {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => vec![Line::bad(
            QUEUE,
            format!("{error:#}"),
            "check --data and RIGLINE_DATA, and whether this user may read the directory",
        )],
        Err(line) => vec![line],
    };
    if !has_own_store {
        lines.push(store.unwrap_or_else(|line| line));
    }
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
