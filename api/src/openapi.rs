//! The `OpenAPI` document, made from the routes.

use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, OpenApi as Document, Ref, RefOr, ResponseBuilder};
use utoipa_axum::router::OpenApiRouter;

use crate::live::{Figures, LiveProblem, LiveRows, Recovered};
use crate::parts::Api;
use crate::problem::Problem;
use crate::routes;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Rigline",
        description = "Reads series, rows, dead letters and the state of pipelines, also as a live stream; takes \
                       messages; replays and discards dead letters; shows reports. Times in requests: RFC 3339 with an offset, seconds or milliseconds \
                       since 1970, `now`, or relative to now (`-1h`). Time ranges are half-open: `from` is included, \
                       `to` isn't. Every error is a problem document (RFC 9457).",
    ),
    components(schemas(Problem, LiveRows, Figures, LiveProblem, Recovered)),
    modifiers(&BearerToken),
    security((), ("token" = [])),
)]
struct Base;

struct BearerToken;

impl utoipa::Modify for BearerToken {
    fn modify(&self, document: &mut Document) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(
                "The token of API_TOKEN, or one that API_JWT_SECRET signs (HS256, with the claims exp and scope)",
            ));
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme.build()));
    }
}

/// The routes with their document.
pub(crate) fn routes() -> (axum::Router<Api>, Document) {
    let (routes, mut document) = OpenApiRouter::with_openapi(Base::openapi())
        .nest("/api/v1", routes::all())
        .merge(routes::of_reports())
        .split_for_parts();
    // The checks are around all routes, so none of them names their responses.
    let refusals = [
        ("401", "The token is missing or wrong"),
        (
            "403",
            "The token doesn't allow this, or the request is for or from another site",
        ),
        ("429", "There were too many wrong tokens from this address"),
    ];
    let operations = document
        .paths
        .paths
        .values_mut()
        .flat_map(|path| [path.get.as_mut(), path.post.as_mut()])
        .flatten();
    for operation in operations {
        for (status, description) in refusals {
            let response = ResponseBuilder::new().description(description).content(
                "application/problem+json",
                Content::new(Some(Ref::from_schema_name("Problem"))),
            );
            let responses = &mut operation.responses.responses;
            responses.insert(status.to_owned(), RefOr::T(response.build()));
        }
    }
    (routes, document)
}

/// The document as JSON, as it is committed.
pub fn document() -> Result<String, serde_json::Error> {
    let (_, document) = routes();
    Ok(document.to_pretty_json()? + "\n")
}
