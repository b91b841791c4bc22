//! Requests that need the operator token.

use std::time::Duration;

use common::secret::Secret;
use reqwest::Method;
use serde_json::{Value, json};

use super::api::{ApiClient, ApiRequest, ApiResponse};
use super::{Access, SetupError, dashboard, string_at};

/// An object's id: 16 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Id(String);

impl Id {
    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parse(text: &str) -> Option<Self> {
        let is_id = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_id.then(|| Self(text.to_owned()))
    }

    fn at(response: &ApiResponse, value: &Value, place: &str) -> Result<Self, SetupError> {
        let id = string_at(value, place).and_then(Self::parse);
        // Without the body, which may contain a token.
        id.ok_or_else(|| SetupError::Unexpected {
            detail: format!("a response of status {} without an id", response.status),
        })
    }
}

/// A token without its value, which the server returns only when it creates the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorization {
    /// The id to revoke it by.
    pub id: Id,
    /// Its description.
    pub description: String,
}

/// A client with the operator token.
#[derive(Debug, Clone)]
pub struct Operator {
    client: ApiClient,
    token: Secret,
}

impl Operator {
    pub(super) fn new(client: ApiClient, token: Secret) -> Self {
        Self { client, token }
    }

    /// Whether the token may read an organisation. Tokens for a single bucket may not: the server returns
    /// an empty list to them. [`SetupError::Unauthorized`] if the server doesn't know the token.
    pub async fn may_read_organisations(&self) -> Result<bool, SetupError> {
        let request = ApiRequest::get("/api/v2/orgs").query([("limit", "1")]);
        let response = self.send(request).await?.expect(&[200])?;
        let found = response.json()?;
        let Some(entries) = found["orgs"].as_array() else {
            return Err(response.unexpected("no \"orgs\""));
        };
        Ok(!entries.is_empty())
    }

    /// The id of the organisation of this name, if it exists and the token may read it.
    /// [`SetupError::Unauthorized`] if the server doesn't know the token.
    pub async fn organisation(&self, name: &str) -> Result<Option<Id>, SetupError> {
        let request = ApiRequest::get("/api/v2/orgs").query([("org", name)]);
        self.find_id(request, "/orgs", "name", name).await
    }

    /// Creates an organisation.
    pub async fn create_organisation(&self, name: &str) -> Result<Id, SetupError> {
        self.create("/api/v2/orgs", &json!({ "name": name })).await
    }

    /// The id of the bucket of this name, if it exists.
    pub async fn bucket(&self, org: &Id, name: &str) -> Result<Option<Id>, SetupError> {
        let request =
            ApiRequest::get("/api/v2/buckets").query([("orgID", org.as_str()), ("name", name)]);
        self.find_id(request, "/buckets", "name", name).await
    }

    /// Creates a bucket with this retention period.
    pub async fn create_bucket(
        &self,
        org: &Id,
        name: &str,
        kept_for: Duration,
    ) -> Result<Id, SetupError> {
        let rule = json!({ "type": "expire", "everySeconds": kept_for.as_secs() });
        let body = json!({ "orgID": org.as_str(), "name": name, "retentionRules": [rule] });
        self.create("/api/v2/buckets", &body).await
    }

    /// The id of the user of this name, if it exists.
    pub async fn user(&self, name: &str) -> Result<Option<Id>, SetupError> {
        let request = ApiRequest::get("/api/v2/users").query([("name", name)]);
        self.find_id(request, "/users", "name", name).await
    }

    /// Changes a user's password.
    pub async fn set_password(&self, user: &Id, password: &Secret) -> Result<(), SetupError> {
        let path = format!("/api/v2/users/{}/password", user.as_str());
        let request = ApiRequest::new(Method::POST, path)
            .json(&json!({ "password": password.expose() }))
            .redacting([password]);
        self.send(request).await?.expect(&[204]).map(drop)
    }

    /// All tokens of all organisations.
    pub async fn authorizations(&self) -> Result<Vec<Authorization>, SetupError> {
        let response = self.send(ApiRequest::get("/api/v2/authorizations")).await?;
        let response = response.expect(&[200])?;
        let list = response.json()?;
        let Some(entries) = list["authorizations"].as_array() else {
            return Err(response.unexpected("no \"authorizations\""));
        };
        let read = |entry: &Value| {
            Ok(Authorization {
                id: Id::at(&response, entry, "/id")?,
                description: string_at(entry, "/description")
                    .unwrap_or_default()
                    .to_owned(),
            })
        };
        entries.iter().map(read).collect()
    }

    /// Revokes a token. A token that doesn't exist any more isn't an error.
    pub async fn revoke(&self, authorization: &Id) -> Result<(), SetupError> {
        let path = format!("/api/v2/authorizations/{}", authorization.as_str());
        let response = self.send(ApiRequest::new(Method::DELETE, path)).await?;
        response.expect(&[204, 404]).map(drop)
    }

    /// Creates a token with this access to this bucket and no other permissions.
    pub async fn create_token(
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
        let request = ApiRequest::new(Method::POST, "/api/v2/authorizations").json(&body);
        let response = self.send(request).await?.expect(&[201])?;
        let created = response.json()?;
        let token = string_at(&created, "/token").filter(|token| !token.is_empty());
        token
            .map(Secret::from)
            .ok_or_else(|| response.unexpected("no token"))
    }

    /// Whether the organisation has a dashboard of this name.
    pub async fn has_dashboard(&self, org: &Id, name: &str) -> Result<bool, SetupError> {
        let request = ApiRequest::get("/api/v2/dashboards")
            .query([("orgID", org.as_str()), ("limit", "100")]);
        Ok(self
            .find_id(request, "/dashboards", "name", name)
            .await?
            .is_some())
    }

    /// Creates the dashboard for a bucket. A second request changes the dashboard of the first, because
    /// both are of one stack, which the server records the dashboard in. Two requests at the same time
    /// may create two.
    pub async fn create_dashboard(
        &self,
        org: &Id,
        name: &str,
        bucket: &str,
    ) -> Result<(), SetupError> {
        let stack = self.stack(org, &format!("rigline {name}")).await?;
        let body = json!({
            "dryRun": false,
            "orgID": org.as_str(),
            "stackID": stack.as_str(),
            "template": { "contentType": "json", "contents": dashboard::template(name, bucket)? },
        });
        let request = ApiRequest::new(Method::POST, "/api/v2/templates/apply").json(&body);
        let response = self.send(request).await?.expect(&[201])?;
        let applied = response.json()?;
        // A successful request may report that the template failed.
        let errors = applied["errors"]
            .as_array()
            .is_some_and(|list| !list.is_empty());
        let created = applied["summary"]["dashboards"].as_array().map(Vec::len);
        if errors || created != Some(1) {
            let detail = format!("the dashboard wasn't created: {}", applied["errors"]);
            return Err(SetupError::Unexpected { detail });
        }
        Ok(())
    }

    /// The id of the stack of this name. Creates it if it doesn't exist.
    async fn stack(&self, org: &Id, name: &str) -> Result<Id, SetupError> {
        let path = "/api/v2/stacks";
        let request = ApiRequest::get(path).query([("orgID", org.as_str()), ("name", name)]);
        if let Some(stack) = self.find_id(request, "/stacks", "name", name).await? {
            return Ok(stack);
        }
        let body = json!({ "orgID": org.as_str(), "name": name });
        self.create(path, &body).await
    }

    /// The id of the entry whose `key` is `name`, in the list that the request returns. The server also
    /// answers 404 if there is none.
    async fn find_id(
        &self,
        request: ApiRequest,
        list: &str,
        key: &str,
        name: &str,
    ) -> Result<Option<Id>, SetupError> {
        let response = self.send(request).await?.expect(&[200, 404])?;
        if response.status == 404 {
            return Ok(None);
        }
        let value = response.json()?;
        let Some(entries) = value.pointer(list).and_then(Value::as_array) else {
            return Err(response.unexpected("no list"));
        };
        let entry = entries.iter().find(|entry| entry[key] == name);
        entry
            .map(|entry| Id::at(&response, entry, "/id"))
            .transpose()
    }

    async fn create(&self, path: &str, body: &Value) -> Result<Id, SetupError> {
        let request = ApiRequest::new(Method::POST, path).json(body);
        let response = self.send(request).await?.expect(&[201])?;
        Id::at(&response, &response.json()?, "/id")
    }

    async fn send(&self, request: ApiRequest) -> Result<ApiResponse, SetupError> {
        self.client.send(request.with_token(&self.token)).await
    }
}
