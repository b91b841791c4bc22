//! The tokens that clients send.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::secret::Secret;
use hmac::{Hmac, KeyInit, Mac};
use model::Timestamp;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// To read everything.
    Read,
    /// Also to change something.
    Operate,
}

/// The tokens that are accepted.
#[derive(Clone)]
pub(crate) struct Tokens {
    /// Of equal length for all tokens, so that comparing tells nothing about them.
    token: Option<[u8; 32]>,
    /// The key of JSON Web Tokens.
    jwt: Option<Hmac<Sha256>>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    /// Extensions that a receiver has to understand.
    crit: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Claims {
    exp: f64,
    nbf: Option<f64>,
    scope: String,
}

impl Tokens {
    /// A token that allows everything, and the secret that signs others.
    pub(crate) fn new(token: Option<&Secret>, jwt_secret: Option<&Secret>) -> Self {
        Self {
            token: token.map(|token| Sha256::digest(token.expose()).into()),
            // Any length is a key.
            jwt: jwt_secret
                .and_then(|secret| Hmac::new_from_slice(secret.expose().as_bytes()).ok()),
        }
    }

    /// Whether requests need no token.
    pub(crate) const fn is_empty(&self) -> bool {
        self.token.is_none() && self.jwt.is_none()
    }

    /// What a token allows; `None` if it isn't accepted.
    pub(crate) fn scope_of(&self, token: &str, now: Timestamp) -> Option<Scope> {
        let token = token.trim();
        if let Some(expected) = &self.token {
            let given: [u8; 32] = Sha256::digest(token).into();
            if bool::from(given.ct_eq(expected)) {
                return Some(Scope::Operate);
            }
        }
        self.scope_of_jwt(token, now)
    }

    /// What a JSON Web Token (RFC 7519) with HS256 (RFC 7515) allows.
    fn scope_of_jwt(&self, token: &str, now: Timestamp) -> Option<Scope> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let mut mac = self.jwt.clone()?;
        mac.update(signed.as_bytes());
        mac.verify_slice(&signature).ok()?;
        let part = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
        let header: Header = serde_json::from_slice(&part(header)?).ok()?;
        let claims: Claims = serde_json::from_slice(&part(claims)?).ok()?;
        let now = now.since(Timestamp::from_nanos(0)).as_secs_f64();
        let is_valid = header.alg == "HS256"
            && header.crit.is_none()
            && now < claims.exp
            && claims.nbf.is_none_or(|from| from <= now);
        if !is_valid {
            return None;
        }
        let scopes = || claims.scope.split(' ');
        if scopes().any(|scope| scope == "operate") {
            Some(Scope::Operate)
        } else {
            scopes().any(|scope| scope == "read").then_some(Scope::Read)
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use common::secret::Secret;
    use hmac::{Hmac, KeyInit, Mac};
    use model::Timestamp;
    use sha2::Sha256;

    use super::{Scope, Tokens};

    const NOW: i64 = 1_800_000_000;

    fn signed(header: &str, claims: &str, key: &str) -> String {
        let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
        let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
        mac.update(format!("{header}.{claims}").as_bytes());
        let signature = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
        format!("{header}.{claims}.{signature}")
    }

    #[test]
    fn only_valid_tokens_allow_something() {
        const HS256: &str = r#"{"alg":"HS256","typ":"JWT"}"#;
        const GOOD: &str = r#"{"exp":1800000001,"scope":"read"}"#;
        let key = Secret::new("key");
        let tokens = Tokens::new(Some(&Secret::new("token")), Some(&key));
        let of = |token: &str| tokens.scope_of(token, Timestamp::from_millis(NOW * 1_000));
        assert_eq!(of("token"), Some(Scope::Operate));
        for (header, claims, key, expected) in [
            (HS256, GOOD, "key", Some(Scope::Read)),
            (
                HS256,
                r#"{"exp":1800000000.5,"scope":"read operate"}"#,
                "key",
                Some(Scope::Operate),
            ),
            (
                HS256,
                r#"{"exp":1800000001,"nbf":1800000000,"scope":"read"}"#,
                "key",
                Some(Scope::Read),
            ),
            (HS256, r#"{"exp":1800000000,"scope":"read"}"#, "key", None),
            (
                HS256,
                r#"{"exp":1800000009,"nbf":1800000001,"scope":"read"}"#,
                "key",
                None,
            ),
            (HS256, r#"{"exp":1800000001,"scope":"reader"}"#, "key", None),
            (HS256, r#"{"exp":1800000001}"#, "key", None),
            (HS256, r#"{"scope":"read"}"#, "key", None),
            (HS256, GOOD, "other", None),
            (HS256, GOOD, "", None),
            (r#"{"alg":"none"}"#, GOOD, "key", None),
            (r#"{"alg":"HS512"}"#, GOOD, "key", None),
            (r#"{"alg":"HS256","crit":["x"]}"#, GOOD, "key", None),
        ] {
            assert_eq!(
                of(&signed(header, claims, key)),
                expected,
                "{header} {claims}"
            );
        }
        let good = signed(HS256, GOOD, "key");
        let (start, _) = good.rsplit_once('.').unwrap();
        for broken in [
            start,
            &format!("{start}."),
            &good[..good.len() - 4],
            "",
            "..",
            "a.b.c",
        ] {
            assert_eq!(of(broken), None, "{broken}");
        }
        let other_claims = URL_SAFE_NO_PAD.encode(r#"{"exp":1900000000,"scope":"operate"}"#);
        let mut parts: Vec<_> = good.split('.').collect();
        parts[1] = &other_claims;
        assert_eq!(
            of(&parts.join(".")),
            None,
            "the signature is of other claims"
        );
        let without = Tokens::new(None, None);
        assert_eq!(
            without.scope_of(&signed(HS256, GOOD, ""), Timestamp::from_millis(0)),
            None
        );
    }

    #[test]
    fn example_of_the_rfc_is_verified() {
        // RFC 7515, appendix A.1, which has no scope, so only its signature can be compared.
        let key = URL_SAFE_NO_PAD
            .decode("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
            .unwrap();
        let signed = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        mac.update(signed.as_bytes());
        let signature = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert_eq!(
            URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()),
            signature
        );
    }
}
