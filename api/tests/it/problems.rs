//! Every error is a problem document.

use axum::http::{Method, StatusCode, header};
use serde_json::json;

use crate::fixture::{Answer, Fixture};

pub(crate) fn assert_problem(answer: &Answer, status: StatusCode, part: &str, of: &str) {
    assert_eq!(answer.status, status, "{of}: {}", answer.text());
    assert_eq!(
        answer.header(header::CONTENT_TYPE),
        "application/problem+json",
        "{of}"
    );
    let problem = answer.json();
    assert_eq!(problem["status"], status.as_u16(), "{of}");
    assert_eq!(problem["title"], status.canonical_reason().unwrap(), "{of}");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains(part), "{of}: {detail}");
}

/// Requests, statuses, and a part of the detail.
const REFUSED: &[(&str, u16, &str)] = &[
    ("/nothing", 404, "openapi.json"),
    ("/assets/nothing.js", 404, "no such file"),
    ("/api/v1/nothing", 404, "openapi.json"),
    (
        "/api/v1/pipelines/nothing/health",
        404,
        "there are: rigs, elsewhere",
    ),
    ("/api/v1/pipelines/%ff/health", 404, "UTF-8"),
    (
        "/api/v1/pipelines/nothing/rows?series=R",
        404,
        "no pipeline",
    ),
    (
        "/api/v1/pipelines/rigs/rows?series=none",
        404,
        "no series \"none\"",
    ),
    (
        "/api/v1/pipelines/rigs/latest?series=none",
        404,
        "no series \"none\"",
    ),
    (
        "/api/v1/pipelines/rigs/buckets?series=none&every=1s",
        404,
        "no series",
    ),
    (
        "/api/v1/pipelines/rigs/statistics?series=none",
        404,
        "no series",
    ),
    (
        "/api/v1/pipelines/rigs/dead-letters/none",
        404,
        "no dead letter \"none\"",
    ),
    ("/api/v1/pipelines/rigs/rows", 422, "series"),
    (
        "/api/v1/pipelines/rigs/rows?series=RIG-1&colour=red",
        422,
        "colour",
    ),
    (
        "/api/v1/pipelines/rigs/rows?series=RIG-1&series=RIG-2",
        422,
        "\"series\" is there more than once",
    ),
    (
        "/api/v1/pipelines/rigs/rows?series=RIG-1&from=yesterday",
        422,
        "from: \"yesterday\" isn't a time",
    ),
    (
        "/api/v1/pipelines/rigs/rows?series=RIG-1&to=1e9",
        422,
        "to: ",
    ),
    (
        "/api/v1/pipelines/rigs/rows?series=RIG-1&limit=0",
        422,
        "limit",
    ),
    (
        "/api/v1/pipelines/rigs/rows?series=RIG-1&limit=10001",
        422,
        "at most 10000",
    ),
    (
        "/api/v1/pipelines/rigs/rows?series=RIG-1&limit=-1",
        422,
        "limit: ",
    ),
    (
        "/api/v1/pipelines/rigs/rows?series=RIG-1&cursor=x",
        422,
        "cursor",
    ),
    (
        "/api/v1/pipelines/rigs/rows?series=RIG-1&order=random",
        422,
        "random",
    ),
    ("/api/v1/pipelines/rigs/buckets?series=RIG-1", 422, "every"),
    (
        "/api/v1/pipelines/rigs/buckets?series=RIG-1&every=0s",
        422,
        "above 0",
    ),
    (
        "/api/v1/pipelines/rigs/buckets?series=RIG-1&every=soon",
        422,
        "every: \"soon\"",
    ),
    (
        "/api/v1/pipelines/rigs/buckets?series=RIG-1&every=1ms&from=-1d",
        422,
        "at most 100000",
    ),
    (
        "/api/v1/pipelines/rigs/dead-letters?reason=none",
        422,
        "reason: ",
    ),
    (
        "/api/v1/pipelines/rigs/dead-letters?stage=none",
        422,
        "stage: ",
    ),
    (
        "/api/v1/pipelines/rigs/dead-letters?limit=1001",
        422,
        "at most 1000",
    ),
    (
        "/api/v1/pipelines/elsewhere/rows?series=%7B%7D",
        503,
        "http://127.0.0.1:9",
    ),
    ("/api/v1/pipelines/elsewhere/series", 503, "refused"),
];

#[tokio::test]
async fn requests_that_cannot_be_answered_say_why() {
    let fixture = Fixture::new();
    fixture.store("RIG-1", 3).await;
    let of = |path: &str| format!("/api/v1/pipelines/{path}");
    for &(path, status, part) in REFUSED {
        let status = StatusCode::from_u16(status).unwrap();
        assert_problem(&fixture.get(path).await, status, part, path);
    }
    let answer = fixture.ask(Method::DELETE, "/api/v1/pipelines", &[]).await;
    assert_problem(&answer, StatusCode::METHOD_NOT_ALLOWED, "DELETE", "DELETE");
    assert_eq!(answer.header(header::ALLOW), "GET,HEAD");
    let answer = fixture.ask(Method::POST, "/api/v1/pipelines", &[]).await;
    assert_problem(&answer, StatusCode::METHOD_NOT_ALLOWED, "POST", "POST");
    let path = of("rigs/rows?series=RIG-1&limit=5");
    let answer = fixture
        .get_with(&path, &[(header::ACCEPT, "text/csv")])
        .await;
    assert_problem(
        &answer,
        StatusCode::UNPROCESSABLE_ENTITY,
        "leave out limit",
        "csv",
    );
}

#[tokio::test]
async fn bodies_that_cannot_be_used_say_why() {
    let fixture = Fixture::new();
    let path = "/api/v1/pipelines/rigs/dead-letters/replay";
    for (body, status, part) in [
        (json!({"ids": []}), 422, "at least 1"),
        (json!({"ids": vec!["x"; 1_001]}), 422, "at most 1000"),
        (json!({"ids": ["x"], "all": true}), 422, "all"),
        (json!({"ids": "x"}), 422, "ids"),
        (json!([]), 422, "JSON body"),
        (json!({"ids": ["x".repeat(1 << 20)]}), 413, "length limit"),
    ] {
        let status = StatusCode::from_u16(status).unwrap();
        let answer = fixture.post(path, &[], &body).await;
        assert_problem(&answer, status, part, part);
    }
    let answer = fixture.ask(Method::POST, path, &[]).await;
    assert_problem(
        &answer,
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "application/json",
        "no type",
    );
    let kind = [(header::CONTENT_TYPE, "application/json")];
    let answer = fixture.ask(Method::POST, path, &kind).await;
    assert_problem(&answer, StatusCode::BAD_REQUEST, "JSON", "no body");
    let body = json!({"ids": ["x"]});
    let unknown = "/api/v1/pipelines/none/dead-letters/discard";
    let answer = fixture.post(unknown, &[], &body).await;
    assert_problem(&answer, StatusCode::NOT_FOUND, "no pipeline", "none");
}
