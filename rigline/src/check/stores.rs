//! The stores of pipelines that files describe.

use common::clock::Clock;
use common::pipelines::Pipeline;
use common::settings::{BadSetting, KafkaTls};
use model::pipeline::{At, PipelineFile, StoreKind, StoreTable, given};
use sink::from_file::{StoreDefaults, check_servers};
use sink::kafka::find_topic;
use sink::stores::PipelineStore;

use super::line::{Line, limited};

const NEXT: &str =
    "do what it says, start the server, or check the store's table in the pipeline file";

/// Whether rows of a pipeline go to the InfluxDB of the variables.
pub(super) fn uses_influx(pipelines: &[Pipeline]) -> bool {
    pipelines.iter().any(|pipeline| match pipeline {
        Pipeline::Rigs(_) => true,
        Pipeline::File(file) => {
            let is_default = |table: &At<StoreTable>| {
                table.kind == StoreKind::Influx && given(table.url.as_ref()).is_none()
            };
            file.store.is_empty() || file.store.iter().any(is_default)
        }
    })
}

/// A line for each server that a file names as a store. `checked` is the result of the check of the settings.
pub(super) async fn stores(
    defaults: StoreDefaults<'_>,
    kafka: &KafkaTls,
    pipelines: &[Pipeline],
    checked: Result<(), BadSetting>,
) -> Vec<Line> {
    if let Err(error) = checked {
        return vec![Line::bad(
            "stores",
            error.to_string(),
            "correct the pipeline file",
        )];
    }
    let mut lines = Vec::new();
    for file in described(pipelines) {
        let named = file.store_names().into_iter().zip(&file.store);
        for (name, table) in named.filter(|(_, table)| table.kind != StoreKind::Sqlite) {
            let check = format!("{name} of {}", *file.name);
            let answer = limited("", ask(defaults, kafka, file, table)).await;
            lines.push(match answer {
                Ok(Ok(detail)) => Line::ok(check, detail),
                Ok(Err(detail)) => Line::bad(check, detail, NEXT),
                Err(line) => Line {
                    check: check.into(),
                    ..line
                },
            });
        }
    }
    lines
}

/// Checks the settings of the servers that files name, in one process.
pub(super) fn check_all_servers(
    defaults: StoreDefaults<'_>,
    pipelines: &[Pipeline],
) -> Result<(), BadSetting> {
    described(pipelines).try_for_each(|file| check_servers(defaults, file))
}

/// The files of pipelines that are described by one.
fn described(pipelines: &[Pipeline]) -> impl Iterator<Item = &PipelineFile> {
    pipelines.iter().filter_map(|pipeline| match pipeline {
        Pipeline::Rigs(_) => None,
        Pipeline::File(file) => Some(&**file),
    })
}

/// Asks a store whether it takes rows. Changes nothing there.
async fn ask(
    defaults: StoreDefaults<'_>,
    kafka: &KafkaTls,
    file: &PipelineFile,
    table: &StoreTable,
) -> Result<String, String> {
    if table.kind == StoreKind::Kafka {
        return find_topic(file, table, kafka).await;
    }
    let opened = PipelineStore::of_table(defaults, file, Some(table), Clock::system());
    let store = opened.map_err(|error| format!("{error:#}"))?;
    let asked = store.check().await;
    asked.map(str::to_owned).map_err(|error| error.to_string())
}
