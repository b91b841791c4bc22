//! The HTTP API: reads series, rows, dead letters and the state of pipelines, also as a live stream, and replays or
//! discards dead letters. The dashboard, a page that shows them.
//!
//! Every error is a problem document (RFC 9457). The `OpenAPI` document is made from the code, served at
//! `/openapi.json`, and committed as `api/openapi.json`.

mod alerts;
mod client;
mod cursor;
mod dashboard;
mod extract;
mod live;
mod login;
mod openapi;
mod parts;
mod problem;
mod routes;
mod serve;
mod settings;
mod staleness;
mod systems;
mod time;

pub use self::alerts::{AlertBoard, AlertWork, run as run_alerts};
pub use self::client::{ClientError, MessageLines};
pub use self::openapi::document;
pub use self::parts::{Api, PipelineHistory, ServedPipeline, StageChecks};
pub use self::routes::watch::{WatchLine, WatchedMessage};
pub use self::serve::{Server, router};
pub use self::settings::ApiSettings;
pub use self::systems::ApiPaths;
