//! Reports in a directory: what `rigline report` has written there.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::{Extension, Json};
use serde::Serialize;
use utoipa::ToSchema;

use crate::problem::{Problem, ReportProblems};

/// Pages of reports have styles and drawings in them, and load and run nothing.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'; sandbox";
/// Most reports in the list.
const MOST: usize = 1_000;
/// A name without its extension: `0` stands for a digit.
const STEM: &[u8] = b"report_00000000T000000Z";

/// Where reports are.
#[derive(Debug, Clone)]
pub(crate) struct Reports(Option<Arc<PathBuf>>);

impl Reports {
    /// Those of this directory; without one, or with an empty path, there are none.
    pub(crate) fn new(directory: Option<&PathBuf>) -> Self {
        let directory = directory.filter(|path| !path.as_os_str().is_empty());
        Self(directory.cloned().map(Arc::new))
    }

    /// The kinds of each report by its name, the newest first. Only regular files with exact names count.
    fn list(&self) -> Result<BTreeMap<Reverse<String>, BTreeSet<Kind>>, Problem> {
        let mut reports = BTreeMap::<_, BTreeSet<Kind>>::new();
        let Some(directory) = &self.0 else {
            return Ok(reports);
        };
        let unreadable = |error: std::io::Error| {
            Problem::unavailable(format!("the directory of reports can't be read: {error}"))
        };
        let entries = match directory.read_dir() {
            Ok(entries) => entries,
            // The first report creates it.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(reports),
            Err(error) => return Err(unreadable(error)),
        };
        for entry in entries {
            let entry = entry.map_err(unreadable)?;
            let name = entry.file_name();
            let Some((stem, kind)) = name.to_str().and_then(parts) else {
                continue;
            };
            if entry.file_type().is_ok_and(|it| it.is_file()) {
                let kinds = reports.entry(Reverse(stem.to_owned()));
                kinds.or_default().insert(kind);
            }
        }
        Ok(reports)
    }

    /// The content of a file of this exact name.
    fn read(&self, name: &str) -> Result<(Kind, Vec<u8>), Problem> {
        let no_such = || Problem::not_found(format!("there is no report {name:?}; see /reports"));
        let (stem, kind) = parts(name).ok_or_else(no_such)?;
        let directory = self.0.as_ref().ok_or_else(none_set)?;
        let reports = self.list()?;
        let kinds = reports.get(&Reverse(stem.to_owned()));
        if !kinds.is_some_and(|kinds| kinds.contains(&kind)) {
            return Err(no_such());
        }
        let content = std::fs::read(directory.join(name)).map_err(|error| match error.kind() {
            ErrorKind::NotFound => no_such(),
            _ => Problem::unavailable(format!("{name} can't be read: {error}")),
        })?;
        Ok((kind, content))
    }
}

fn none_set() -> Problem {
    Problem::not_found("there are no reports: REPORT_DIR isn't set")
}

/// What a file of a report holds, and its extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Html,
    Csv,
    Json,
}

impl Kind {
    const fn extension(self) -> &'static str {
        match self {
            Self::Html => "html",
            Self::Csv => "csv",
            Self::Json => "json",
        }
    }

    const fn media_type(self) -> &'static str {
        match self {
            Self::Html => "text/html; charset=utf-8",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Json => "application/json",
        }
    }
}

/// The stem and the kind, if it is the name of a report.
fn parts(name: &str) -> Option<(&str, Kind)> {
    let (stem, extension) = name.split_once('.')?;
    let mut kinds = [Kind::Html, Kind::Csv, Kind::Json].into_iter();
    let kind = kinds.find(|kind| kind.extension() == extension)?;
    let is_like = |(form, given): (&u8, u8)| match form {
        b'0' => given.is_ascii_digit(),
        _ => *form == given,
    };
    let is_report = stem.len() == STEM.len() && STEM.iter().zip(stem.bytes()).all(is_like);
    is_report.then_some((stem, kind))
}

/// Reports that were written.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReportList {
    /// At most 1,000, the newest first.
    reports: Vec<ReportInfo>,
}

/// A report.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReportInfo {
    /// Its name, with the time in UTC.
    #[schema(example = "report_20260105T120000Z")]
    name: String,
    /// Its files, each at `/reports/{name}`.
    #[schema(example = json!(["report_20260105T120000Z.html"]))]
    files: Vec<String>,
}

/// Lists the reports of `REPORT_DIR`. Without the setting there are none.
#[utoipa::path(
    get,
    operation_id = "listReports",
    path = "/reports",
    tag = "reports",
    responses(
        (status = 200, body = ReportList),
        (status = 503, description = "The directory can't be read now", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn list(
    Extension(reports): Extension<Reports>,
) -> Result<Json<ReportList>, Problem> {
    let found = blocking(move || reports.list()).await?;
    let reports = found.into_iter().take(MOST).map(|(Reverse(name), kinds)| {
        let files = kinds
            .into_iter()
            .map(|kind| format!("{name}.{}", kind.extension()));
        let files = files.collect();
        ReportInfo { name, files }
    });
    Ok(Json(ReportList {
        reports: reports.collect(),
    }))
}

/// Goes on to the page of the newest report.
#[utoipa::path(
    get,
    operation_id = "getLatestReport",
    path = "/reports/latest",
    tag = "reports",
    responses(
        (status = 307, description = "Where the page is"),
        ReportProblems,
    ),
)]
pub(crate) async fn latest(Extension(reports): Extension<Reports>) -> Result<Redirect, Problem> {
    if reports.0.is_none() {
        return Err(none_set());
    }
    let found = blocking(move || reports.list()).await?;
    let mut pages = found
        .iter()
        .filter(|(_, kinds)| kinds.contains(&Kind::Html));
    let (Reverse(newest), _) = pages
        .next()
        .ok_or_else(|| Problem::not_found("there are no reports yet"))?;
    Ok(Redirect::temporary(&format!("/reports/{newest}.html")))
}

/// Shows a file of a report.
#[utoipa::path(
    get,
    operation_id = "getReport",
    path = "/reports/{name}",
    tag = "reports",
    params(("name" = String, Path, description = "The name of the file",
        example = "report_20260105T120000Z.html")),
    responses(
        (status = 200, description = "The file", content(
            (String = "text/html"),
            (String = "text/csv"),
            (serde_json::Value = "application/json"),
        )),
        ReportProblems,
    ),
)]
pub(crate) async fn show(
    Extension(reports): Extension<Reports>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let Path(name) = name.map_err(|error| Problem::not_found(error.body_text()))?;
    let (kind, content) = blocking(move || reports.read(&name)).await?;
    let headers = [
        (header::CONTENT_TYPE, kind.media_type()),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ];
    Ok((headers, content).into_response())
}

/// Files are read in threads for it.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Problem::unavailable(format!("the reports can't be read: {error}")))?
}

#[cfg(test)]
mod tests {
    use super::{Kind, parts};

    #[test]
    fn only_exact_names_are_reports() {
        let name = "report_20260105T120000Z";
        for kind in [Kind::Html, Kind::Csv, Kind::Json] {
            let file = format!("{name}.{}", kind.extension());
            assert_eq!(parts(&file), Some((name, kind)));
        }
        for other in [
            "report_20260105T120000Z",
            "report_20260105T120000Z.",
            "report_20260105T120000Z.HTML",
            "report_20260105T120000Z.html.html",
            "report_20260105T120000Z.html/",
            "report_20260105T120000Z.html\0",
            "report_20260105x120000Z.html",
            "report_2026010五T1200Z.html",
            "report_../20260105T120Z.html",
            "../report_20260105T120000Z.html",
            "report.lock",
            "report_.html",
            "",
        ] {
            assert_eq!(parts(other), None, "{other}");
        }
    }
}
