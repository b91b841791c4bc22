//! The paths of system 3: readings of sensors by date from MongoDB, and the last ten from Redis.

mod query;

use axum::extract::{Path, State};
use axum::{Json, middleware};
use common::settings::BadSetting;
use http_server::access::{self, Access};
use serde::Serialize;
use serde_json::{Map, Value, json};
use store::{DocumentFilter, LatestStore, MongoHistory, Order};
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::query::{DateQuery, PageQuery, Paging, ReadingsQuery};
use super::{System, mongodb_pipeline, unusable};
use crate::dashboard;
use crate::extract::Query;
use crate::parts::Api;
use crate::problem::{ListProblems, Problem, unreadable};

/// The pipeline that the paths are about.
const PIPELINE: &str = "sensors";
/// The tag that names a sensor.
const SENSOR: &str = "sensor_id";

/// What the paths are answered from.
#[derive(Debug, Clone)]
struct Sensors {
    history: MongoHistory,
    latest: LatestStore,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Sensor readings",
        description = "Readings of sensors by date, and the last ten. Times are RFC 3339, in UTC if they name no zone, \
                       or dates; both ends of a range are included."
    ),
    components(schemas(Reading, Pagination))
)]
struct Base;

/// The routes, around which requests are checked as those of `/api/v1` are.
pub(super) fn system(api: &Api, access: &Access) -> Result<System, BadSetting> {
    let (part, history) = mongodb_pipeline("sensors", PIPELINE, api)?;
    let latest = part.latest.clone();
    let sensors = Sensors {
        history: history.clone(),
        latest: latest.ok_or_else(|| {
            unusable(
                "sensors",
                "sensors with a store of kind redis-latest in the pipeline sensors",
            )
        })?,
    };
    let (routes, document) = OpenApiRouter::with_openapi(Base::openapi())
        .routes(routes!(latest_ten))
        .routes(routes!(latest_ten_of_sensor))
        .routes(routes!(between_dates))
        .routes(routes!(all_data))
        .routes(routes!(readings))
        .routes(routes!(latest_readings))
        .split_for_parts();
    // Spellings of the original's page and program, which differ.
    let routes = routes
        .route("/starttoenddate", axum::routing::get(between_dates))
        .route("/alldata", axum::routing::get(all_data))
        .route("/readings", axum::routing::get(readings))
        .route("/sensor-readings", axum::routing::get(readings))
        .with_state(sensors)
        .layer(middleware::from_fn_with_state(
            access.clone(),
            access::check,
        ));
    Ok(System {
        routes: routes.merge(dashboard::pages(Some("sensors.html"))),
        document,
        not_found: None,
    })
}

/// A reading as MongoDB has it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes documents that are passed on")]
struct Reading {
    /// `{"$oid": …}`.
    #[schema(value_type = Object, example = json!({ "$oid": "65a000000000000000000000" }))]
    _id: Value,
    /// The sensor.
    #[schema(example = "temperature_sensor")]
    sensor_id: String,
    /// The last level of its topic.
    #[schema(example = "temperature")]
    kind: String,
    #[schema(example = 21.75)]
    value: f64,
    #[schema(format = DateTime)]
    timestamp: String,
}

/// Where the readings of a response are among all of them.
#[derive(Debug, Serialize, ToSchema)]
struct Pagination {
    /// How many readings were left out in front.
    offset: u64,
    /// Most readings of the response.
    limit: u32,
    /// The number of all readings that fit.
    total: u64,
}

type Item = Map<String, Value>;

impl Sensors {
    async fn latest(&self, sensor: Option<&str>) -> Result<Vec<Item>, Problem> {
        let group = sensor.map(|sensor| json!({ SENSOR: sensor }).to_string());
        let rows = self.latest.newest(group.as_deref()).await;
        let rows = rows.map_err(unreadable)?;
        Ok(rows
            .iter()
            .map(|row| self.history.document_of(row))
            .collect())
    }

    async fn page(
        &self,
        filter: DocumentFilter<'_>,
        order: Order,
        paging: Paging,
    ) -> Result<(Vec<Item>, Pagination), Problem> {
        let Paging { offset, limit } = paging;
        let items = self.history.documents(filter, order, offset, limit).await;
        let items = items.map_err(unreadable)?;
        let total = self.history.count_documents(filter).await;
        let total = total.map_err(unreadable)?;
        Ok((
            items,
            Pagination {
                offset,
                limit,
                total,
            },
        ))
    }
}

/// The last ten readings of all sensors, the newest first.
#[utoipa::path(get, path = "/latestten", tag = "Sensors", responses(
    (status = 200, description = "`{\"latestten\": [reading, …]}`", body = Object),
    ListProblems,
))]
async fn latest_ten(State(sensors): State<Sensors>) -> Result<Json<Value>, Problem> {
    let readings = sensors.latest(None).await?;
    Ok(Json(json!({ "latestten": readings })))
}

/// The last ten readings of a sensor, the newest first; none of an unknown sensor.
#[utoipa::path(get, path = "/latestten/{sensor_id}", tag = "Sensors",
    params(("sensor_id" = String, Path, description = "The sensor", example = "temperature_sensor")),
    responses(
        (status = 200, description = "`{\"latestTenBySensorID\": [reading, …]}`", body = Object),
        ListProblems,
    )
)]
async fn latest_ten_of_sensor(
    State(sensors): State<Sensors>,
    Path(sensor): Path<String>,
) -> Result<Json<Value>, Problem> {
    let readings = sensors.latest(Some(&sensor)).await?;
    Ok(Json(json!({ "latestTenBySensorID": readings })))
}

/// The last ten readings of a sensor as `/latestten/{sensor_id}` has them, but 404 for an unknown sensor.
#[utoipa::path(get, path = "/latest-readings/{sensor_id}", tag = "Sensors",
    params(("sensor_id" = String, Path, description = "The sensor", example = "temperature_sensor")),
    responses(
        (status = 200, description = "`{\"latestTenBySensorID\": [reading, …]}`", body = Object),
        (status = 404, description = "The sensor has no readings", body = Problem, content_type = "application/problem+json"),
        ListProblems,
    )
)]
async fn latest_readings(
    State(sensors): State<Sensors>,
    Path(sensor): Path<String>,
) -> Result<Json<Value>, Problem> {
    let readings = sensors.latest(Some(&sensor)).await?;
    if readings.is_empty() {
        return Err(Problem::not_found(format!(
            "the sensor {sensor:?} has no readings"
        )));
    }
    Ok(Json(json!({ "latestTenBySensorID": readings })))
}

/// Readings between two dates, both included, the oldest first. Also at `/starttoenddate`.
#[utoipa::path(get, path = "/startoenddate", tag = "Sensors", params(DateQuery), responses(
    (status = 200, description = "`{\"From START to END\": [reading, …], \"pagination\": {…}}`, with the dates as they were given", body = Object),
    ListProblems,
))]
async fn between_dates(
    State(sensors): State<Sensors>,
    Query(query): Query<DateQuery>,
) -> Result<Json<Value>, Problem> {
    let (from, until) = query.range()?;
    let filter = DocumentFilter {
        from: Some(from),
        until: Some(until),
        ..DocumentFilter::default()
    };
    let paging = query.paging()?;
    let (readings, pagination) = sensors.page(filter, Order::OldestFirst, paging).await?;
    let name = format!("From {} to {}", query.start_date, query.end_date);
    Ok(Json(json!({ name: readings, "pagination": pagination })))
}

/// All readings, the newest first, in pages. Also at `/alldata`.
#[utoipa::path(get, path = "/allData", tag = "Sensors", params(PageQuery), responses(
    (status = 200, description = "`{\"alldata\": [reading, …], \"pagination\": {…}}`", body = Object),
    ListProblems,
))]
async fn all_data(
    State(sensors): State<Sensors>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Value>, Problem> {
    let filter = DocumentFilter::default();
    let (readings, pagination) = sensors
        .page(filter, Order::NewestFirst, query.paging()?)
        .await?;
    Ok(Json(
        json!({ "alldata": readings, "pagination": pagination }),
    ))
}

/// Readings of a range of times and of values, of one sensor or of all, the oldest first. Also at `/readings` and
/// `/sensor-readings`.
#[utoipa::path(get, path = "/readings/", tag = "Sensors", params(ReadingsQuery), responses(
    (status = 200, description = "`{\"readings\": [reading, …], \"pagination\": {…}}`", body = Object),
    ListProblems,
))]
async fn readings(
    State(sensors): State<Sensors>,
    Query(query): Query<ReadingsQuery>,
) -> Result<Json<Value>, Problem> {
    let sensor = query.sensor_id();
    let tags: Vec<_> = sensor.map(|sensor| (SENSOR, sensor)).into_iter().collect();
    let (from, until) = query.range()?;
    let filter = DocumentFilter {
        tags: &tags,
        from,
        until,
        field: query.values()?,
    };
    let paging = query.paging()?;
    let (readings, pagination) = sensors.page(filter, Order::OldestFirst, paging).await?;
    Ok(Json(
        json!({ "readings": readings, "pagination": pagination }),
    ))
}
