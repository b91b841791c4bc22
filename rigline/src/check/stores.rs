//! The stores of pipelines that files describe.

use common::clock::Clock;
use common::pipelines::Pipeline;
use common::settings::KafkaTls;
use model::pipeline::{PipelineFile, StoreKind, StoreTable};
use sink::from_file::{StoreDefaults, check_stores};
use sink::kafka::find_topic;
use sink::stores::PipelineStore;
use store::{Store, WriteError};

use super::line::{Line, limited};

const NEXT: &str =
    "do what it says, start the server, or check the store's table in the pipeline file";

/// Whether rows of a pipeline go to the InfluxDB of the variables.
pub(super) fn uses_influx(pipelines: &[Pipeline]) -> bool {
    pipelines.iter().any(|pipeline| match pipeline {
        Pipeline::Rigs(_) => true,
        Pipeline::File(file) => {
            let mut kinds = file.store.iter().map(|table| table.kind);
            file.store.is_empty() || kinds.any(|kind| kind == StoreKind::Influx)
        }
    })
}

/// A line for each store that a file names.
pub(super) async fn stores(
    defaults: StoreDefaults<'_>,
    kafka: &KafkaTls,
    pipelines: &[Pipeline],
) -> Vec<Line> {
    if let Err(error) = check_stores(defaults, pipelines) {
        return vec![Line::bad(
            "stores",
            error.to_string(),
            "correct the pipeline file",
        )];
    }
    let files = pipelines.iter().filter_map(|pipeline| match pipeline {
        Pipeline::Rigs(_) => None,
        Pipeline::File(file) => Some(&**file),
    });
    let mut lines = Vec::new();
    for file in files {
        for (name, table) in file.store_names().iter().zip(&file.store) {
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

/// Asks a store whether it takes rows. Writes none.
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
    let asked: Result<(), WriteError> = store.preflight().await;
    asked.map_err(|error| error.to_string())?;
    Ok("takes rows".to_owned())
}
