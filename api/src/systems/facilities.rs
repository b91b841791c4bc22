//! The paths of system 2: compacted readings of facilities from MongoDB, and how much they deviate.
//!
//! Every other path is the original's `{"error": "Not found"}`, also `/`, where it has no page; but those of Rigline
//! itself stay: `/api/v1`, `/docs`, `/login` and `/openapi.json`.

mod query;

use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use common::settings::BadSetting;
use http_server::access::{self, Access};
use serde::Serialize;
use serde_json::{Map, Value, json};
use store::{DocumentFilter, MongoHistory, Order, ReadError};
use tokio::time::timeout;
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::query::{Paging, sensors};
use super::{System, mongodb_pipeline, unusable};
use crate::dashboard;
use crate::parts::Api;
use crate::problem::OwnError;

/// The pipeline that the paths are about.
const PIPELINE: &str = "facilities-store";
/// The tag that names a facility.
const FACILITY: &str = "facility_name";
/// How long a response may take.
const RESPONSE_LIMIT: Duration = Duration::from_secs(25);

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Compacted readings of facilities",
        description = "Mean, least and greatest values of the sensors of facilities in windows of time, the newest \
                       first, and the deviations of the means."
    ),
    components(schemas(
        CompactedReading,
        Window,
        Readings,
        Pagination,
        Deviations,
        Deviation,
        Failure
    ))
)]
struct Base;

/// The routes, around which requests are checked as those of `/api/v1` are.
pub(super) fn system(api: &Api, access: &Access) -> Result<System, BadSetting> {
    let (part, history) = mongodb_pipeline("facilities", PIPELINE, api)?;
    // Without it, readings of all facilities would be those of any.
    let file = part.pipeline.file();
    if !file.is_some_and(|file| file.tags().contains(&FACILITY)) {
        let needed = format!("facilities with the tag {FACILITY} in the pipeline {PIPELINE}");
        return Err(unusable("facilities", &needed));
    }
    let (routes, document) = OpenApiRouter::with_openapi(Base::openapi())
        .routes(routes!(readings))
        .routes(routes!(stats))
        .split_for_parts();
    let routes = routes
        .method_not_allowed_fallback(async || not_found())
        .with_state(history.clone())
        .layer(middleware::from_fn_with_state(
            access.clone(),
            access::check,
        ))
        .layer(middleware::from_fn(within_limit));
    Ok(System {
        routes: routes.merge(dashboard::pages(None)),
        document,
        not_found: Some(not_found),
    })
}

/// What the sensors of a facility have measured in a window. A sensor without readings is absent.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes documents that are passed on")]
struct CompactedReading {
    #[schema(example = "facility_1")]
    facility_name: String,
    window: Window,
    avg_humidity: Option<f64>,
    avg_pressure: Option<f64>,
    avg_temperature: Option<f64>,
    max_humidity: Option<f64>,
    max_pressure: Option<f64>,
    max_temperature: Option<f64>,
    min_humidity: Option<f64>,
    min_pressure: Option<f64>,
    min_temperature: Option<f64>,
    /// When it was stored.
    #[schema(format = DateTime)]
    received_at: String,
}

/// A window of time.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes documents that are passed on")]
struct Window {
    #[schema(format = DateTime)]
    start_time: String,
    #[schema(format = DateTime)]
    end_time: String,
}

/// A page of a facility's readings.
#[derive(Serialize, ToSchema)]
struct Readings {
    #[schema(value_type = Vec<CompactedReading>)]
    data: Vec<Map<String, Value>>,
    pagination: Pagination,
}

/// Where the readings of a response are among all of the facility.
#[derive(Serialize, ToSchema)]
struct Pagination {
    /// How many readings were left out in front.
    offset: u64,
    /// Most readings of the response.
    limit: u32,
    /// The number of all readings of the facility.
    total: u64,
}

/// How much the means of a facility's windows deviate, for each sensor that was asked for.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes documents that are made by hand")]
struct Deviations {
    /// The facility.
    #[schema(example = "facility_1")]
    _id: String,
    humidity: Option<Deviation>,
    pressure: Option<Deviation>,
    temperature: Option<Deviation>,
}

/// A sample standard deviation.
#[derive(Serialize, ToSchema)]
struct Deviation {
    /// Null for fewer than two means.
    #[schema(required)]
    stdev: Option<f64>,
}

/// Why a request isn't answered.
#[derive(Serialize, ToSchema)]
struct Failure {
    #[schema(example = "Invalid limit: must be a non-negative integer; got 'abc'")]
    error: String,
}

/// An error as the original writes it.
struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self(status, error) = self;
        let mut response = (status, axum::Json(Failure { error })).into_response();
        response.extensions_mut().insert(OwnError);
        response
    }
}

/// Answers as the original does when MongoDB takes too long, before the server's own limit does.
async fn within_limit(request: Request, next: Next) -> Response {
    let response = timeout(RESPONSE_LIMIT, next.run(request)).await;
    response.unwrap_or_else(|_| {
        tracing::error!("MongoDB hasn't answered within {RESPONSE_LIMIT:?}");
        Refusal::internal().into_response()
    })
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        tracing::error!(%error, "MongoDB can't be read");
        Self::internal()
    }
}

impl Refusal {
    fn bad_request(error: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, error.into())
    }

    fn internal() -> Self {
        let error = "Internal server error".to_owned();
        Self(StatusCode::INTERNAL_SERVER_ERROR, error)
    }

    fn not_found() -> Self {
        Self(StatusCode::NOT_FOUND, "Not found".to_owned())
    }
}

/// The response to paths that there aren't.
fn not_found() -> Response {
    Refusal::not_found().into_response()
}

/// A response in lines that people can read, as the original's are.
fn pretty(body: &impl Serialize) -> Result<Response, Refusal> {
    let text = serde_json::to_string_pretty(body).map_err(|error| {
        tracing::error!(%error, "a response can't be written");
        Refusal::internal()
    })?;
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}

/// Readings of a facility, the newest window first; none of an unknown facility.
#[utoipa::path(get, path = "/api/sensors/{facility_name}", tag = "Facilities",
    params(
        ("facility_name" = String, Path, description = "The facility", example = "facility_1"),
        ("offset" = Option<u64>, Query, description = "How many readings to leave out in front [default: 0]"),
        ("limit" = Option<u32>, Query, description = "Most readings of the response, at most 20 [default: 10]"),
    ),
    responses(
        (status = 200, description = "A page of readings", body = Readings),
        (status = 400, description = "`offset` or `limit` isn't a number from 0 on", body = Failure),
        (status = 500, description = "MongoDB can't be read; the log says why", body = Failure),
    )
)]
async fn readings(
    State(history): State<MongoHistory>,
    facility: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    // It isn't UTF-8, and so the name of nothing.
    let Path(facility) = facility.map_err(|_| Refusal::not_found())?;
    let Paging { offset, limit } =
        Paging::read(&query.unwrap_or_default()).map_err(Refusal::bad_request)?;
    let filter = DocumentFilter {
        tags: &[(FACILITY, &facility)],
        ..DocumentFilter::default()
    };
    let total = history.count_documents(filter).await?;
    // MongoDB takes no offset beyond 63 bits.
    let mut data = Vec::new();
    if offset < total {
        let order = Order::NewestFirst;
        data = history.documents(filter, order, offset, limit).await?;
    }
    for reading in &mut data {
        reading.remove("_id");
        reading.remove("id");
    }
    pretty(&Readings {
        data,
        pagination: Pagination {
            offset,
            limit,
            total,
        },
    })
}

/// How much the means of each facility's windows deviate, over all of them: sample standard deviations, in order of
/// the facilities' names.
#[utoipa::path(get, path = "/api/stats", tag = "Facilities",
    params(
        ("sensors" = String, Query, description = "Names with commas in between; unknown ones are left out",
            example = "humidity,pressure"),
    ),
    responses(
        (status = 200, description = "Deviations of the sensors that were asked for", body = Vec<Deviations>),
        (status = 400, description = "There is no name of a sensor", body = Failure),
        (status = 500, description = "MongoDB can't be read; the log says why", body = Failure),
    )
)]
async fn stats(
    State(history): State<MongoHistory>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let sensors = sensors(&query.unwrap_or_default());
    if sensors.is_empty() {
        let error = "At least one valid sensor name must be provided";
        return Err(Refusal::bad_request(error));
    }
    let fields: Vec<_> = sensors
        .iter()
        .map(|sensor| format!("avg_{sensor}"))
        .collect();
    let fields: Vec<_> = fields.iter().map(String::as_str).collect();
    let groups = history.deviations(FACILITY, &fields).await?;
    let of_facility = |(facility, deviations): (String, Vec<Option<f64>>)| {
        let mut members = Map::new();
        members.insert("_id".to_owned(), facility.into());
        for (sensor, stdev) in sensors.iter().zip(deviations) {
            members.insert((*sensor).to_owned(), json!(Deviation { stdev }));
        }
        members
    };
    pretty(&groups.into_iter().map(of_facility).collect::<Vec<_>>())
}
