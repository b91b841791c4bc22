//! Reads requests, with problem documents for what can't be read.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

use crate::problem::Problem;

/// The query of a request. A name may be repeated; an unknown one is refused.
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        let form = serde_html_form::Deserializer::from_bytes(query.as_bytes());
        let read = serde_path_to_error::deserialize(form);
        read.map(Self).map_err(|error| {
            let name = match error.path().to_string() {
                path if path == "." => String::new(),
                path => format!("{path}: "),
            };
            let repeated = match repeated_name(query) {
                Some(name) => format!("; {name:?} is there more than once"),
                None => String::new(),
            };
            let error = error.inner();
            Problem::invalid(format!("{name}the query can't be read: {error}{repeated}"))
        })
    }
}

/// A name that is more than once in a query, which an error doesn't say.
fn repeated_name(query: &str) -> Option<String> {
    let pairs: Vec<(String, String)> = serde_html_form::from_str(query).ok()?;
    let mut names: Vec<_> = pairs.into_iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    let repeated = names.windows(2).find(|pair| pair[0] == pair[1])?;
    repeated.first().cloned()
}

/// The body of a request, which is JSON.
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let read = Json::from_request(request, state).await;
        read.map(|Json(body)| Self(body))
            .map_err(|rejection: JsonRejection| {
                Problem::new(rejection.status(), rejection.body_text())
            })
    }
}

/// The name of the pipeline in a path.
#[derive(IntoParams)]
#[into_params(names("pipeline"), parameter_in = Path)]
pub(crate) struct PipelineName(#[param(example = "rigs")] pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for PipelineName {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = Path::<String>::from_request_parts(parts, state).await;
        read.map(|Path(name)| Self(name))
            .map_err(|error| Problem::not_found(error.body_text()))
    }
}
