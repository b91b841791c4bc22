//! The files of the dashboard.

use axum::http::{StatusCode, header};

use crate::fixture::Fixture;

#[tokio::test]
async fn page_and_what_it_loads_are_served_without_a_token() {
    let fixture = Fixture::with_token(Some("secret"));
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/login", "text/html; charset=utf-8"),
        ("/assets/app.js", "text/javascript; charset=utf-8"),
        ("/assets/style.css", "text/css; charset=utf-8"),
        (
            "/assets/vendor/uPlot.iife.min.js",
            "text/javascript; charset=utf-8",
        ),
    ] {
        let answer = fixture.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert_eq!(answer.header(header::CONTENT_TYPE), kind, "{path}");
        assert_eq!(answer.header(header::CACHE_CONTROL), "no-cache", "{path}");
        assert_eq!(
            answer.header(header::X_CONTENT_TYPE_OPTIONS),
            "nosniff",
            "{path}"
        );
        let policy = answer.header(header::CONTENT_SECURITY_POLICY);
        assert!(policy.starts_with("default-src 'self';"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
    }
}

#[tokio::test]
async fn document_of_the_api_is_shown_without_other_servers() {
    let fixture = Fixture::new();
    let page = fixture.get("/docs").await;
    let policy = page.header(header::CONTENT_SECURITY_POLICY);
    assert!(policy.starts_with("default-src 'self';"), "{policy}");
    assert!(!policy.contains("http"), "{policy}");
    let text = page.text();
    let loaded = text
        .split(['"', '\''])
        .filter(|part| part.starts_with("/assets/"));
    let loaded: Vec<_> = loaded.collect();
    assert_eq!(loaded.len(), 4, "{text}");
    assert!(!text.contains("//"), "{text}");
    for path in loaded {
        let answer = fixture.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        let is_compressed = answer.body.starts_with(&[0x1f, 0x8b]);
        assert_eq!(
            answer.header(header::CONTENT_ENCODING) == "gzip",
            is_compressed,
            "{path}"
        );
        assert_eq!(path.contains("swagger-ui"), is_compressed, "{path}");
    }
}

#[tokio::test]
async fn browser_that_has_a_file_does_not_get_it_again() {
    let fixture = Fixture::new();
    let first = fixture.get("/assets/app.js").await;
    let etag = first.header(header::ETAG);
    let known = format!("\"other\", {etag}");
    let again = fixture
        .get_with("/assets/app.js", &[(header::IF_NONE_MATCH, &known)])
        .await;
    assert_eq!(again.status, StatusCode::NOT_MODIFIED);
    assert!(again.body.is_empty());
    assert_eq!(again.header(header::ETAG), etag);
    let other = [(header::IF_NONE_MATCH, "\"other\"")];
    let answer = fixture.get_with("/assets/app.js", &other).await;
    assert_eq!(answer.body, first.body);
}

/// The policy forbids scripts and styles in pages, and files of other servers.
#[tokio::test]
async fn pages_load_only_files_that_are_there() {
    let fixture = Fixture::new();
    let mut modules = vec!["/assets/app.js".to_owned(), "/assets/login.js".to_owned()];
    for page in ["/", "/login"] {
        let text = fixture.get(page).await.text();
        assert!(!text.contains("<style") && !text.contains("style="));
        for script in text.split("<script").skip(1) {
            assert!(script.starts_with(" src=\"/assets/"), "{script}");
        }
        for part in text.split(['"', '\'']).filter(|part| part.contains('/')) {
            if part.starts_with("/assets/") {
                assert_eq!(fixture.get(part).await.status, StatusCode::OK, "{part}");
            }
            assert!(!part.contains("//"), "{part}");
        }
    }
    let mut place = 0;
    while let Some(path) = modules.get(place).cloned() {
        place += 1;
        let answer = fixture.get(&path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        let text = answer.text();
        assert!(!text.contains("innerHTML"), "{path}");
        for part in text.split("from './").skip(1) {
            let name = part.split('\'').next().unwrap();
            let path = format!("/assets/{name}");
            if !modules.contains(&path) {
                modules.push(path);
            }
        }
    }
    assert!(modules.len() > 10, "{modules:?}");
}
