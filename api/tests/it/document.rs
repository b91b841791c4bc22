//! The committed `OpenAPI` document. With `RIGLINE_WRITE` set, it is written instead of compared.

use std::path::Path;

use axum::http::StatusCode;
use serde_json::Value as Json;

use crate::fixture::Fixture;

#[tokio::test]
async fn committed_document_is_what_the_code_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    let document = api::document().unwrap();
    if std::env::var_os("RIGLINE_WRITE").is_some() {
        std::fs::write(&path, &document).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == document,
        "api/openapi.json isn't what the code says: `make settings` writes it"
    );
    let answer = Fixture::new().get("/openapi.json").await;
    assert_eq!(answer.status, StatusCode::OK);
    let served: Json = answer.json();
    assert_eq!(served, serde_json::from_str::<Json>(&committed).unwrap());
    assert!(served["openapi"].as_str().unwrap().starts_with("3.1"));
}

#[test]
fn each_operation_has_an_id_of_its_own() {
    let document: Json = serde_json::from_str(&api::document().unwrap()).unwrap();
    let paths = document["paths"].as_object().unwrap().values();
    let operations = paths.flat_map(|path| path.as_object().unwrap().values());
    let mut ids: Vec<_> = operations
        .map(|one| one["operationId"].as_str().unwrap())
        .collect();
    ids.sort_unstable();
    let count = ids.len();
    ids.dedup();
    assert_eq!((count, ids.len()), (19, 19), "{ids:?}");
}
