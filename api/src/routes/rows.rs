//! Rows of a series: as a page of JSON, or all of a range as NDJSON or CSV.

mod stream;

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use model::Row;
use serde::{Deserialize, Serialize};
use store::history::{History, MAX_PAGE};
use utoipa::{IntoParams, ToSchema};

use self::stream::Format;
use super::select::{Range, check_series, known_series};
use super::value::{Cell, Time, tags};
use crate::cursor;
use crate::extract::{PipelineName, Query};
use crate::parts::Api;
use crate::problem::{Problem, SeriesProblems, unreadable};
use crate::time;

/// Rows of a page unless the query says otherwise.
const DEFAULT_LIMIT: usize = 1_000;

/// Which rows to read.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RowsQuery {
    /// The key of the series, as the list of series has it.
    #[param(example = "RIG-01")]
    series: String,
    /// A field to read; may be repeated [default: all].
    #[serde(default)]
    field: Vec<String>,
    /// The first time [default: an hour ago].
    #[param(schema_with = time::schema, example = "-1h")]
    from: Option<String>,
    /// The first time after the range [default: an hour ahead].
    #[param(schema_with = time::schema, example = "now")]
    to: Option<String>,
    /// The order of the rows [default: oldest].
    #[serde(default)]
    #[param(inline)]
    order: RowOrder,
    /// Most rows of a page of JSON [default: 1000].
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<usize>,
    /// `next` of the page before, with the same other parameters. A row that is stored late, behind the
    /// cursor, is missing in the pages.
    #[param(pattern = "^A[QRSTUVWXYZa-f][A-Za-z0-9_-]{10}$")]
    cursor: Option<String>,
}

/// Which rows come first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RowOrder {
    /// The oldest rows first.
    #[default]
    Oldest,
    /// The newest rows first; only as JSON.
    Newest,
}

/// A page of rows.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RowsPage {
    /// The rows.
    rows: Vec<RowInfo>,
    /// The cursor of the next page, if there are more rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A row; also a line of NDJSON.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RowInfo {
    /// Its time.
    time: Time,
    /// The tags of its series.
    tags: BTreeMap<String, String>,
    /// Its values by field.
    values: BTreeMap<String, Cell>,
}

impl RowInfo {
    fn new(row: Row<'_>) -> Self {
        let values = row.fields.into_iter();
        Self {
            time: Time(row.timestamp),
            tags: tags(&row.tags),
            values: values
                .map(|(name, value)| (name.to_string(), Cell(value)))
                .collect(),
        }
    }
}

/// Reads the rows of a series in a time range. `Accept: application/x-ndjson` and `text/csv` answer with all rows
/// of the range, as they are read.
#[utoipa::path(
    get,
    operation_id = "listRows",
    path = "/pipelines/{pipeline}/rows",
    tag = "rows",
    params(PipelineName, RowsQuery),
    responses(
        (status = 200, description = "Rows", content(
            (RowsPage = "application/json"),
            (String = "application/x-ndjson"),
            (String = "text/csv"),
        )),
        SeriesProblems,
    ),
)]
pub(crate) async fn list(
    State(api): State<Api>,
    PipelineName(name): PipelineName,
    headers: HeaderMap,
    Query(query): Query<RowsQuery>,
) -> Result<Response, Problem> {
    let history = &api.pipeline(&name)?.history;
    let (from, to) = (query.from.as_deref(), query.to.as_deref());
    let mut range = Range::new(&api, query.series, query.field, from, to)?;
    if let Some(format) = Format::of(&headers) {
        let span = known_series(history, &range.series).await?;
        let is_whole = query.limit.is_none() && query.cursor.is_none();
        if !is_whole || query.order == RowOrder::Newest {
            let detail = "NDJSON and CSV are all rows of the range, the oldest first: leave out limit, cursor \
                          and order, or accept application/json";
            return Err(Problem::invalid(detail));
        }
        return stream::rows(history.clone(), range, span.tags, format).await;
    }
    check_series(history, &range.series).await?;
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    if limit == 0 || limit > MAX_PAGE {
        let detail = format!("limit: at least 1 and at most {MAX_PAGE}");
        return Err(Problem::invalid(detail));
    }
    if let Some(text) = query.cursor {
        let time = cursor::decode(&text)
            .ok_or_else(|| Problem::invalid("cursor: it isn't the next of a page"))?;
        match query.order {
            RowOrder::Oldest => range.from = range.from.max(time),
            RowOrder::Newest => range.to = range.to.min(time),
        }
    }
    let page = match query.order {
        RowOrder::Oldest => history
            .range(range.selection(), limit)
            .await
            .map_err(unreadable)?,
        RowOrder::Newest => history
            .newest(range.selection(), limit)
            .await
            .map_err(unreadable)?,
    };
    let vary = [(header::VARY, "accept")];
    let page = Json(RowsPage {
        rows: page.rows.into_iter().map(RowInfo::new).collect(),
        next: page.next.map(cursor::encode),
    });
    Ok((vary, page).into_response())
}
