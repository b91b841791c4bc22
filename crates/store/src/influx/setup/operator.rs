//! What the operator token is for.

use std::time::Duration;

use common::secret::Secret;
use reqwest::Method;
use serde_json::{Value, json};

use super::call::{Answer, Ask, Caller};
use super::{Access, SetupError, dashboard, text_at};

/// An id of the server's: 16 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Id(String);

impl Id {
    /// Its digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn read(text: &str) -> Option<Self> {
        let is_id = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_id.then(|| Self(text.to_owned()))
    }

    fn at(answer: &Answer, value: &Value, place: &str) -> Result<Self, SetupError> {
        let id = text_at(value, place).and_then(Self::read);
        // Not with the answer's words: they may hold a token.
        id.ok_or_else(|| SetupError::Unexpected {
            detail: format!("an answer of status {} without an id", answer.status),
        })
    }
}

/// A token without its value, which the server tells only once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorization {
    /// What it is revoked by.
    pub id: Id,
    /// What it was made for.
    pub description: String,
}

/// The server, asked with the operator token.
#[derive(Debug, Clone)]
pub struct Operator {
    caller: Caller,
    token: Secret,
}

impl Operator {
    pub(super) fn new(caller: Caller, token: Secret) -> Self {
        Self { caller, token }
    }

    /// The organisation of this name, if there is one that the token may see.
    /// [`SetupError::Unauthorized`] if the server doesn't know the token.
    pub async fn organisation(&self, name: &str) -> Result<Option<Id>, SetupError> {
        let ask = Ask::get("/api/v2/orgs").query([("org", name)]);
        self.found(ask, "/orgs", "name", name).await
    }

    /// Makes an organisation.
    pub async fn make_organisation(&self, name: &str) -> Result<Id, SetupError> {
        self.made("/api/v2/orgs", &json!({ "name": name })).await
    }

    /// The bucket of this name, if there is one.
    pub async fn bucket(&self, org: &Id, name: &str) -> Result<Option<Id>, SetupError> {
        let ask = Ask::get("/api/v2/buckets").query([("orgID", org.as_str()), ("name", name)]);
        self.found(ask, "/buckets", "name", name).await
    }

    /// Makes a bucket that keeps rows this long.
    pub async fn make_bucket(
        &self,
        org: &Id,
        name: &str,
        kept_for: Duration,
    ) -> Result<Id, SetupError> {
        let rule = json!({ "type": "expire", "everySeconds": kept_for.as_secs() });
        let body = json!({ "orgID": org.as_str(), "name": name, "retentionRules": [rule] });
        self.made("/api/v2/buckets", &body).await
    }

    /// The user of this name, if there is one.
    pub async fn user(&self, name: &str) -> Result<Option<Id>, SetupError> {
        let ask = Ask::get("/api/v2/users").query([("name", name)]);
        self.found(ask, "/users", "name", name).await
    }

    /// Gives a user another password.
    pub async fn set_password(&self, user: &Id, password: &Secret) -> Result<(), SetupError> {
        let path = format!("/api/v2/users/{}/password", user.as_str());
        let ask = Ask::new(Method::POST, path)
            .json(&json!({ "password": password.expose() }))
            .hiding([password]);
        self.ask(ask).await?.expect(&[204]).map(drop)
    }

    /// All tokens of all organisations.
    pub async fn authorizations(&self) -> Result<Vec<Authorization>, SetupError> {
        let answer = self.ask(Ask::get("/api/v2/authorizations")).await?;
        let answer = answer.expect(&[200])?;
        let list = answer.json()?;
        let Some(entries) = list["authorizations"].as_array() else {
            return Err(answer.unexpected("no \"authorizations\""));
        };
        let read = |entry: &Value| {
            Ok(Authorization {
                id: Id::at(&answer, entry, "/id")?,
                description: text_at(entry, "/description")
                    .unwrap_or_default()
                    .to_owned(),
            })
        };
        entries.iter().map(read).collect()
    }

    /// Revokes a token; one that is gone already is fine.
    pub async fn revoke(&self, authorization: &Id) -> Result<(), SetupError> {
        let path = format!("/api/v2/authorizations/{}", authorization.as_str());
        let answer = self.ask(Ask::new(Method::DELETE, path)).await?;
        answer.expect(&[204, 404]).map(drop)
    }

    /// Makes a token that may do this with this bucket and nothing else.
    pub async fn make_token(
        &self,
        description: &str,
        access: Access,
        org: &Id,
        bucket: &Id,
    ) -> Result<Secret, SetupError> {
        let resource = json!({ "type": "buckets", "id": bucket.as_str(), "orgID": org.as_str() });
        let body = json!({
            "orgID": org.as_str(),
            "status": "active",
            "description": description,
            "permissions": [{ "action": access.action(), "resource": resource }],
        });
        let ask = Ask::new(Method::POST, "/api/v2/authorizations").json(&body);
        let answer = self.ask(ask).await?.expect(&[201])?;
        let made = answer.json()?;
        let token = text_at(&made, "/token").filter(|token| !token.is_empty());
        token
            .map(Secret::from)
            .ok_or_else(|| answer.unexpected("no token"))
    }

    /// Whether the organisation has a dashboard of this name.
    pub async fn has_dashboard(&self, org: &Id, name: &str) -> Result<bool, SetupError> {
        let ask = Ask::get("/api/v2/dashboards").query([("orgID", org.as_str()), ("limit", "100")]);
        Ok(self
            .found(ask, "/dashboards", "name", name)
            .await?
            .is_some())
    }

    /// Makes the dashboard of the rigs for a bucket.
    pub async fn make_dashboard(
        &self,
        org: &Id,
        name: &str,
        bucket: &str,
    ) -> Result<(), SetupError> {
        let body = json!({
            "dryRun": false,
            "orgID": org.as_str(),
            "template": { "contentType": "json", "contents": dashboard::template(name, bucket)? },
        });
        let ask = Ask::new(Method::POST, "/api/v2/templates/apply").json(&body);
        let answer = self.ask(ask).await?.expect(&[201])?;
        let applied = answer.json()?;
        // Success of the request isn't success of the template.
        let errors = applied["errors"]
            .as_array()
            .is_some_and(|list| !list.is_empty());
        let made = applied["summary"]["dashboards"].as_array().map(Vec::len);
        if errors || made != Some(1) {
            let detail = format!("the dashboard wasn't made: {}", applied["errors"]);
            return Err(SetupError::Unexpected { detail });
        }
        Ok(())
    }

    /// The id of the entry of an answered list whose `key` is `name`. Not found is also 404.
    async fn found(
        &self,
        ask: Ask,
        list: &str,
        key: &str,
        name: &str,
    ) -> Result<Option<Id>, SetupError> {
        let answer = self.ask(ask).await?.expect(&[200, 404])?;
        if answer.status == 404 {
            return Ok(None);
        }
        let value = answer.json()?;
        let Some(entries) = value.pointer(list).and_then(Value::as_array) else {
            return Err(answer.unexpected("no list"));
        };
        let entry = entries.iter().find(|entry| entry[key] == name);
        entry.map(|entry| Id::at(&answer, entry, "/id")).transpose()
    }

    async fn made(&self, path: &str, body: &Value) -> Result<Id, SetupError> {
        let ask = Ask::new(Method::POST, path).json(body);
        let answer = self.ask(ask).await?.expect(&[201])?;
        Id::at(&answer, &answer.json()?, "/id")
    }

    async fn ask(&self, ask: Ask) -> Result<Answer, SetupError> {
        self.caller.call(ask.by(&self.token)).await
    }
}
