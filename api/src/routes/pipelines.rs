//! The pipelines.

use axum::Json;
use axum::extract::State;
use common::pipelines::Pipeline;
use model::pipeline::{ShapeKind, SourceKind};
use serde::Serialize;
use utoipa::ToSchema;

use crate::parts::{Api, ServedPipeline};

/// The pipelines of this process.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Pipelines {
    pipelines: Vec<PipelineInfo>,
}

/// A pipeline.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PipelineInfo {
    /// Its name, as in the paths of this API.
    #[schema(example = "rigs")]
    name: String,
    /// Where its messages come from.
    #[schema(example = "mqtt")]
    source: &'static str,
    /// How rows are made: pivot, window or sample.
    #[schema(example = "pivot")]
    shape: &'static str,
    /// Where its rows are.
    #[schema(example = "sqlite")]
    store: &'static str,
}

impl PipelineInfo {
    fn of(part: &ServedPipeline) -> Self {
        let (source, shape) = match &part.pipeline {
            Pipeline::Rigs(_) => (SourceKind::Mqtt.name(), ShapeKind::Pivot),
            Pipeline::File(file) => (file.source.kind().name(), file.shape()),
        };
        Self {
            name: part.pipeline.name().to_owned(),
            source,
            shape: match shape {
                ShapeKind::Pivot => "pivot",
                ShapeKind::Window => "window",
                ShapeKind::Sample => "sample",
            },
            store: part.history.kind(),
        }
    }
}

/// Lists the pipelines.
#[utoipa::path(
    get,
    operation_id = "listPipelines",
    path = "/pipelines",
    tag = "pipelines",
    responses((status = 200, body = Pipelines)),
)]
pub(crate) async fn list(State(api): State<Api>) -> Json<Pipelines> {
    Json(Pipelines {
        pipelines: api.pipelines().iter().map(PipelineInfo::of).collect(),
    })
}
