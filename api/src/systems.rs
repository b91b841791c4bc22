//! HTTP APIs that other systems define, instead of the dashboard's pages.

#[cfg(feature = "mongodb")]
mod facilities;
#[cfg(feature = "mongodb")]
mod sensors;

use axum::Router;
use axum::response::Response;
use clap::ValueEnum;
use common::settings::BadSetting;
use http_server::Access;
#[cfg(feature = "mongodb")]
use store::MongoHistory;
use utoipa::openapi::OpenApi as Document;

use crate::parts::Api;
#[cfg(feature = "mongodb")]
use crate::parts::{PipelineHistory, ServedPipeline};

/// What is at the paths outside `/api/v1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum ApiPaths {
    /// The dashboard
    #[default]
    Dashboard,
    /// Readings of the pipeline `sensors` by date, and its last ten
    Sensors,
    /// Compacted readings of the pipeline `facilities-store`, and their deviations
    Facilities,
}

/// The routes of a system, with their document.
pub(crate) struct System {
    pub(crate) routes: Router,
    pub(crate) document: Document,
    /// The response to unknown paths, if it isn't a problem document.
    pub(crate) not_found: Option<fn() -> Response>,
}

/// The pipeline that the paths of a system are about, and where its documents are. `paths` is the value of `API_PATHS`.
#[cfg(feature = "mongodb")]
fn mongodb_pipeline<'a>(
    paths: &str,
    pipeline: &str,
    api: &'a Api,
) -> Result<(&'a ServedPipeline, &'a MongoHistory), BadSetting> {
    let mut pipelines = api.pipelines().iter();
    let part = pipelines.find(|part| part.pipeline.name() == pipeline);
    let part = part.ok_or_else(|| {
        unusable(
            paths,
            &format!("{paths} with the pipeline {pipeline} in PIPELINES"),
        )
    })?;
    let PipelineHistory::Mongodb(history) = &part.history else {
        let needed =
            format!("{paths} with a first store of kind mongodb in the pipeline {pipeline}");
        return Err(unusable(paths, &needed));
    };
    Ok((part, history))
}

fn unusable(paths: &str, accepted: &str) -> BadSetting {
    BadSetting::new("API_PATHS", paths, accepted)
}

impl System {
    /// The routes of the system, if the dashboard isn't wanted. Fails if its pipeline isn't served, or has other stores
    /// than the paths are answered from.
    pub(crate) fn of(
        paths: ApiPaths,
        api: &Api,
        access: &Access,
    ) -> Result<Option<Self>, BadSetting> {
        match paths {
            ApiPaths::Dashboard => Ok(None),
            #[cfg(feature = "mongodb")]
            ApiPaths::Sensors => sensors::system(api, access).map(Some),
            #[cfg(feature = "mongodb")]
            ApiPaths::Facilities => facilities::system(api, access).map(Some),
            #[cfg(not(feature = "mongodb"))]
            ApiPaths::Sensors | ApiPaths::Facilities => {
                let _ = (api, access);
                let accepted = format!("dashboard; {}", common::settings::built_without("mongodb"));
                Err(unusable("sensors and facilities", &accepted))
            }
        }
    }
}
