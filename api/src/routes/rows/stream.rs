//! All rows of a range, page by page, so that a long range takes little memory.

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use model::{Row, Tags};
use store::history::{History, MAX_PAGE, Page};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::RowInfo;
use crate::parts::PipelineHistory;
use crate::problem::{Problem, unreadable};
use crate::routes::select::Range;

/// Pages that are read ahead of a slow client.
const READ_AHEAD: usize = 1;

/// A format that holds all rows of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Ndjson,
    Csv,
}

impl Format {
    /// The first one that the client accepts; `None` for JSON.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let accept = headers.get(header::ACCEPT)?.to_str().ok()?;
        let kinds = accept.split(',').filter_map(|kind| kind.split(';').next());
        for kind in kinds {
            match kind.trim() {
                "application/x-ndjson" => return Some(Self::Ndjson),
                "text/csv" => return Some(Self::Csv),
                "application/json" | "*/*" => return None,
                _ => {}
            }
        }
        None
    }

    const fn content_type(self) -> &'static str {
        match self {
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8",
        }
    }
}

/// Answers with the rows. What goes wrong before the first page is a problem; later, the response breaks off.
pub(super) async fn rows(
    history: PipelineHistory,
    mut range: Range,
    tags: Tags<'static>,
    format: Format,
) -> Result<Response, Problem> {
    let mut fields = history
        .fields(Some(&range.series))
        .await
        .map_err(unreadable)?;
    if !range.fields.is_empty() {
        fields.retain(|field| range.fields.contains(field));
    }
    let first = history
        .range(range.selection(), MAX_PAGE)
        .await
        .map_err(unreadable)?;
    let (send, receive) = mpsc::channel::<Result<Bytes, std::io::Error>>(READ_AHEAD);
    let columns = Columns { tags, fields };
    tokio::spawn(async move {
        let mut page = first;
        let mut head = columns.head(format);
        loop {
            let Page { rows, next } = page;
            let lines = columns.lines(format, rows);
            let lines = lines.map(|lines| [std::mem::take(&mut head), lines].concat());
            let is_broken = lines.is_err();
            // The client may have gone.
            if send.send(lines.map(Bytes::from)).await.is_err() || is_broken {
                return;
            }
            let Some(next) = next else { return };
            range.from = next;
            page = match history.range(range.selection(), MAX_PAGE).await {
                Ok(page) => page,
                Err(error) => {
                    tracing::warn!(%error, "a response with rows broke off");
                    let _ = send.send(Err(std::io::Error::other(error))).await;
                    return;
                }
            };
        }
    });
    let headers = [
        (header::CONTENT_TYPE, format.content_type()),
        (header::VARY, "accept"),
    ];
    let body = Body::from_stream(ReceiverStream::new(receive));
    Ok((headers, body).into_response())
}

/// The columns of CSV: `time`, tags, fields.
struct Columns {
    tags: Tags<'static>,
    fields: Vec<String>,
}

impl Columns {
    /// What goes before the rows.
    fn head(&self, format: Format) -> Vec<u8> {
        if format == Format::Ndjson {
            return Vec::new();
        }
        let tags = self.tags.iter().map(|(name, _)| name.as_str());
        let fields = self.fields.iter().map(String::as_str);
        let mut out = csv::Writer::from_writer(Vec::new());
        // Writing to memory can't fail.
        let _ = out.write_record(["time"].into_iter().chain(tags).chain(fields));
        out.into_inner().unwrap_or_default()
    }

    fn lines(&self, format: Format, rows: Vec<Row<'_>>) -> Result<Vec<u8>, std::io::Error> {
        match format {
            Format::Ndjson => {
                let mut out = Vec::new();
                for row in rows {
                    serde_json::to_writer(&mut out, &RowInfo::new(row))?;
                    out.push(b'\n');
                }
                Ok(out)
            }
            Format::Csv => {
                let mut out = csv::Writer::from_writer(Vec::new());
                for row in &rows {
                    self.record(&mut out, row)?;
                }
                out.into_inner().map_err(csv::IntoInnerError::into_error)
            }
        }
    }

    fn record(&self, out: &mut csv::Writer<Vec<u8>>, row: &Row<'_>) -> csv::Result<()> {
        out.write_field(row.timestamp.to_string())?;
        for (_, value) in &self.tags {
            out.write_field(value.as_str())?;
        }
        // Both are ordered by name; a field that came meanwhile has no column.
        let mut values = row.fields.iter().peekable();
        for field in &self.fields {
            while values
                .next_if(|(name, _)| name.as_str() < field.as_str())
                .is_some()
            {}
            let value = values.next_if(|(name, _)| name.as_str() == field.as_str());
            out.write_field(
                value
                    .map(|(_, value)| value.to_string())
                    .unwrap_or_default(),
            )?;
        }
        out.write_record(None::<&[u8]>)
    }
}
