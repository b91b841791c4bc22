//! The routes below `/api/v1`, and those of reports.
#![expect(
    unused_qualifications,
    reason = "the macro that describes a route qualifies the names of its parameters"
)]

mod alerts;
mod buckets;
pub(crate) mod dead_letters;
pub(crate) mod health;
mod messages;
mod pipelines;
pub(crate) mod reports;
mod rows;
mod select;
pub(crate) mod series;
mod stream;
pub(crate) mod value;
pub(crate) mod watch;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::parts::Api;

/// All routes below `/api/v1`.
pub(crate) fn all() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(pipelines::list))
        .routes(routes!(health::show))
        .routes(routes!(stream::open))
        .routes(routes!(series::list))
        .routes(routes!(series::latest))
        .routes(routes!(rows::list))
        .routes(routes!(buckets::list))
        .routes(routes!(buckets::statistics))
        .routes(routes!(alerts::show))
        .routes(routes!(messages::post, watch::open))
        .routes(routes!(dead_letters::list))
        .routes(routes!(dead_letters::counts))
        .routes(routes!(dead_letters::show))
        .routes(routes!(dead_letters::replay))
        .routes(routes!(dead_letters::discard))
}

/// The routes of reports, which have addresses for people.
pub(crate) fn of_reports() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(reports::list))
        .routes(routes!(reports::latest))
        .routes(routes!(reports::show))
}
