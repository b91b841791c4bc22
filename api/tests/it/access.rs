//! Who may use the API.

use axum::http::{Method, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;

use crate::fixture::Fixture;
use crate::problems::assert_problem;

#[tokio::test]
async fn token_is_required_if_one_is_set() {
    let fixture = Fixture::with_token(Some("secret"));
    for given in [
        "",
        "Bearer wrong",
        "Bearer secrets",
        "Basic secret",
        "secret",
    ] {
        let headers = [(header::AUTHORIZATION, given)];
        let answer = fixture.get_with("/api/v1/pipelines", &headers).await;
        assert_problem(&answer, StatusCode::UNAUTHORIZED, "API_TOKEN", given);
        assert_eq!(answer.header(header::WWW_AUTHENTICATE), "Bearer");
    }
    for given in ["Bearer secret", "bearer secret"] {
        let headers = [(header::AUTHORIZATION, given)];
        let answer = fixture.get_with("/api/v1/pipelines", &headers).await;
        assert_eq!(answer.status, StatusCode::OK, "{given}");
    }
    assert_eq!(fixture.get("/openapi.json").await.status, StatusCode::OK);
}

#[tokio::test]
async fn public_names_are_refused_without_a_token() {
    let fixture = Fixture::new();
    for (host, status) in [
        ("evil.example:8050", StatusCode::FORBIDDEN),
        ("127.0.0.1.evil.example", StatusCode::FORBIDDEN),
        ("localhost.evil.example", StatusCode::FORBIDDEN),
        ("192.168.1.7:8050", StatusCode::OK),
        ("rig-server", StatusCode::OK),
        ("localhost:8050", StatusCode::OK),
        ("127.0.0.1", StatusCode::OK),
        ("[::1]:8050", StatusCode::OK),
    ] {
        let answer = fixture
            .get_with("/api/v1/pipelines", &[(header::HOST, host)])
            .await;
        assert_eq!(answer.status, status, "{host}");
        if status != StatusCode::OK {
            assert_problem(&answer, status, "localhost", host);
        }
    }
    let fixture = Fixture::with_token(Some("secret"));
    let headers = [
        (header::HOST, "rig.example"),
        (header::AUTHORIZATION, "Bearer secret"),
    ];
    let answer = fixture.get_with("/api/v1/pipelines", &headers).await;
    assert_eq!(answer.status, StatusCode::OK);
}

/// A JSON Web Token with this scope.
fn jwt(scope: &str, secret: &str) -> String {
    let claims = json!({"exp": 4_000_000_000_u64, "scope": scope}).to_string();
    let [header, claims] = [r#"{"alg":"HS256"}"#, &claims].map(|part| URL_SAFE_NO_PAD.encode(part));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{header}.{claims}").as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
    format!("{header}.{claims}.{signature}")
}

const DISCARD: &str = "/api/v1/pipelines/rigs/dead-letters/discard";

#[tokio::test]
async fn scope_of_a_web_token_decides_what_it_allows() {
    let secret = "0123456789abcdef0123456789abcdef";
    let fixture = Fixture::with_tokens(None, Some(secret));
    let body = json!({"ids": ["x"]});
    for (scope, secret, reads, changes) in [
        ("read", secret, 200, 403),
        ("operate", secret, 200, 200),
        ("write", secret, 401, 401),
        ("operate", "another", 401, 401),
    ] {
        let bearer = format!("Bearer {}", jwt(scope, secret));
        let headers = [(header::AUTHORIZATION, &*bearer)];
        let answer = fixture.get_with("/api/v1/pipelines", &headers).await;
        assert_eq!(answer.status.as_u16(), reads, "{scope}");
        let answer = fixture.post(DISCARD, &headers, &body).await;
        assert_eq!(
            answer.status.as_u16(),
            changes,
            "{scope}: {}",
            answer.text()
        );
    }
}

#[tokio::test]
async fn browsers_log_in_with_a_cookie_and_out_again() {
    let fixture = Fixture::with_token(Some("sec;ret \u{e9}"));
    let login = "/api/v1/login";
    let answer = fixture.post(login, &[], &json!({"token": "wrong"})).await;
    assert_problem(&answer, StatusCode::UNAUTHORIZED, "token", "wrong");
    assert_eq!(answer.header(header::SET_COOKIE), "");
    let token = json!({"token": " sec;ret \u{e9}\n"});
    let other = [
        (header::ORIGIN, "http://evil.example"),
        (header::HOST, "127.0.0.1:8050"),
    ];
    let answer = fixture.post(login, &other, &token).await;
    assert_problem(&answer, StatusCode::FORBIDDEN, "another site", "login");

    let answer = fixture.post(login, &[], &token).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    let cookie = answer.header(header::SET_COOKIE).to_owned();
    let (pair, attributes) = cookie.split_once("; ").unwrap();
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Strict");
    let pair = format!("theme=dark; {pair}");
    let headers = [(header::COOKIE, &*pair)];
    let answer = fixture.get_with("/api/v1/pipelines", &headers).await;
    assert_eq!(answer.status, StatusCode::OK);
    let answer = fixture.ask(Method::POST, "/api/v1/logout", &headers).await;
    let cookie = answer.header(header::SET_COOKIE);
    assert!(
        cookie.starts_with("rigline_token=; Max-Age=0; "),
        "{cookie}"
    );
}

#[tokio::test]
async fn pages_of_other_sites_change_nothing() {
    let fixture = Fixture::new();
    let body = json!({"ids": ["x"]});
    let host = (header::HOST, "127.0.0.1:8050");
    for (name, value, status) in [
        (header::ORIGIN, "http://127.0.0.1:8050", StatusCode::OK),
        (
            header::ORIGIN,
            "http://127.0.0.1:8051",
            StatusCode::FORBIDDEN,
        ),
        (
            header::ORIGIN,
            "http://localhost:8050",
            StatusCode::FORBIDDEN,
        ),
        (header::ORIGIN, "null", StatusCode::FORBIDDEN),
        (
            header::HeaderName::from_static("sec-fetch-site"),
            "same-origin",
            StatusCode::OK,
        ),
        (
            header::HeaderName::from_static("sec-fetch-site"),
            "cross-site",
            StatusCode::FORBIDDEN,
        ),
    ] {
        let headers = [host.clone(), (name, value)];
        let answer = fixture.post(DISCARD, &headers, &body).await;
        assert_eq!(answer.status, status, "{value}");
    }
}

#[tokio::test]
async fn address_with_many_wrong_tokens_has_to_wait() {
    let fixture = Fixture::with_token(Some("secret"));
    let of = |token| [(header::AUTHORIZATION, token)];
    let path = "/api/v1/pipelines";
    for _ in 0..5 {
        let answer = fixture.get_with(path, &of("Bearer wrong")).await;
        assert_problem(&answer, StatusCode::UNAUTHORIZED, "token", "wrong");
        let answer = fixture.get(path).await;
        assert_problem(
            &answer,
            StatusCode::UNAUTHORIZED,
            "token",
            "none is not wrong",
        );
        let body = json!({"token": "wrong"});
        let answer = fixture.post("/api/v1/login", &[], &body).await;
        assert_problem(&answer, StatusCode::UNAUTHORIZED, "token", "login");
    }
    for token in ["Bearer wrong", "Bearer secret"] {
        let answer = fixture.get_with(path, &of(token)).await;
        assert_problem(
            &answer,
            StatusCode::TOO_MANY_REQUESTS,
            "try again in",
            token,
        );
        let wait: u64 = answer.header(header::RETRY_AFTER).parse().unwrap();
        assert!((1..=61).contains(&wait), "{wait}");
    }
}
