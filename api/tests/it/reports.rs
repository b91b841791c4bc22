//! Reports of a directory.

use std::fs;
use std::os::unix::fs::symlink;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use serde_json::json;
use tempfile::TempDir;

use crate::fixture::{Answer, Fixture, answer, settings};
use crate::problems::assert_problem;

const PAGE: &str = "<!doctype html>\n<style>p { color: red; }</style><p>Ä</p>\n";

/// A directory with reports, and other files that aren't any.
struct Reports {
    dir: TempDir,
    router: Router,
    _fixture: Fixture,
}

impl Reports {
    fn new(arguments: &[&str]) -> Self {
        let dir = TempDir::with_prefix("reports-").unwrap();
        let fixture = Fixture::new();
        let path = dir.path().join("reports").display().to_string();
        let arguments = [&["--report-dir", &path], arguments].concat();
        let router = api::router(fixture.api.clone(), &settings(&arguments)).unwrap();
        Self {
            dir,
            router,
            _fixture: fixture,
        }
    }

    fn write(&self, names: &[&str]) {
        let reports = self.dir.path().join("reports");
        fs::create_dir_all(&reports).unwrap();
        for name in names {
            fs::write(reports.join(name), PAGE).unwrap();
        }
    }

    async fn get_with(&self, path: &str, token: &str) -> Answer {
        let mut request = Request::get(path);
        if !token.is_empty() {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        answer(&self.router, request.body(Body::empty()).unwrap()).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.get_with(path, "").await
    }
}

#[tokio::test]
async fn reports_are_listed_newest_first_and_the_latest_has_an_address() {
    let reports = Reports::new(&[]);
    let none = reports.get("/reports").await;
    assert_eq!(none.json(), json!({"reports": []}), "no directory yet");
    let latest = reports.get("/reports/latest").await;
    assert_problem(&latest, StatusCode::NOT_FOUND, "no reports yet", "latest");
    reports.write(&[
        "report_20260105T120000Z.json",
        "report_20260105T120000Z.html",
        "report_20260105T120000Z.csv",
        "report_20251231T235959Z.html",
        // Not complete yet.
        "report_20260105T130000Z.csv",
        "report.lock",
        ".reportabc",
        "metrics.json",
    ]);
    let listed = reports.get("/reports").await.json();
    let new = "report_20260105T120000Z";
    let expected = json!({"reports": [
        {"name": "report_20260105T130000Z", "files": ["report_20260105T130000Z.csv"]},
        {"name": new, "files": [format!("{new}.html"), format!("{new}.csv"), format!("{new}.json")]},
        {"name": "report_20251231T235959Z", "files": ["report_20251231T235959Z.html"]},
    ]});
    assert_eq!(listed, expected);
    let latest = reports.get("/reports/latest").await;
    assert_eq!(latest.status, StatusCode::TEMPORARY_REDIRECT);
    let address = latest.header(header::LOCATION);
    assert_eq!(address, "/reports/report_20260105T120000Z.html");
    let page = reports.get(address).await;
    assert_eq!((page.status, page.text().as_str()), (StatusCode::OK, PAGE));
}

#[tokio::test]
async fn files_have_their_types_and_pages_may_only_have_styles() {
    let reports = Reports::new(&[]);
    for (kind, media_type) in [
        ("html", "text/html; charset=utf-8"),
        ("csv", "text/csv; charset=utf-8"),
        ("json", "application/json"),
    ] {
        let name = format!("report_20260105T120000Z.{kind}");
        reports.write(&[&name]);
        let file = reports.get(&format!("/reports/{name}")).await;
        assert_eq!(file.status, StatusCode::OK, "{name}");
        assert_eq!(file.header(header::CONTENT_TYPE), media_type);
        assert_eq!(file.header(header::X_CONTENT_TYPE_OPTIONS), "nosniff");
        let policy = file.header(header::CONTENT_SECURITY_POLICY);
        assert!(policy.starts_with("default-src 'none'; style-src 'unsafe-inline';"));
        for part in ["sandbox", "frame-ancestors 'none'"] {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(
            !policy.contains("script") && !policy.contains("http"),
            "{policy}"
        );
    }
}

#[tokio::test]
async fn nothing_else_of_the_machine_can_be_read() {
    let reports = Reports::new(&[]);
    let new = "report_20260105T120000Z.html";
    reports.write(&[new, "secret.html", "report_x.html", "report.lock"]);
    let outside = reports.dir.path().join(new);
    fs::write(&outside, "outside").unwrap();
    let inside = reports.dir.path().join("reports");
    symlink(&outside, inside.join("report_20260105T130000Z.html")).unwrap();
    fs::create_dir(inside.join("report_20260105T140000Z.html")).unwrap();
    for name in [
        "secret.html",
        "report_x.html",
        "report.lock",
        "report_20260105T130000Z.html",
        "report_20260105T140000Z.html",
        "report_20260105T150000Z.html",
        "report_20260105T120000Z.HTML",
        "..%2Freport_20260105T120000Z.html",
        "%2e%2e%2freport_20260105T120000Z.html",
        "..%5creport_20260105T120000Z.html",
        "../report_20260105T120000Z.html",
        ".%2freport_20260105T120000Z.html",
        "report_20260105T120000Z.html%00",
        "report_20260105T120000Z.html%2f..%2fsecret.html",
        "%2fetc%2fpasswd",
        "%ff",
    ] {
        let answer = reports.get(&format!("/reports/{name}")).await;
        assert_problem(&answer, StatusCode::NOT_FOUND, "", name);
    }
    let read = reports.get(&format!("/reports/{new}")).await;
    assert_eq!(read.text(), PAGE);
}

#[tokio::test]
async fn reports_need_the_token_if_there_is_one() {
    let reports = Reports::new(&["--api-token", "secret"]);
    reports.write(&["report_20260105T120000Z.html"]);
    for path in [
        "/reports",
        "/reports/latest",
        "/reports/report_20260105T120000Z.html",
    ] {
        let refused = reports.get(path).await;
        assert_problem(&refused, StatusCode::UNAUTHORIZED, "API_TOKEN", path);
        let given = reports.get_with(path, "secret").await.status;
        assert!(
            given.is_success() || given.is_redirection(),
            "{path} {given}"
        );
    }
}

#[tokio::test]
async fn without_a_directory_there_are_no_reports() {
    let fixture = Fixture::new();
    assert_eq!(fixture.get_json("/reports").await, json!({"reports": []}));
    for path in ["/reports/latest", "/reports/report_20260105T120000Z.html"] {
        let answer = fixture.get(path).await;
        assert_problem(&answer, StatusCode::NOT_FOUND, "REPORT_DIR", path);
    }
}
