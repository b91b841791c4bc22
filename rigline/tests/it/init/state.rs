//! The state of an InfluxDB, read through its API.

use serde_json::Value;
use testkit::InfluxDb;

/// All objects that `init` creates. The server's own buckets are left out.
#[derive(Debug, PartialEq)]
pub struct State {
    pub users: Vec<Value>,
    pub organisations: Vec<Value>,
    pub buckets: Vec<Value>,
    pub tokens: Vec<Value>,
    pub dashboards: Vec<Value>,
}

/// The API of an InfluxDB, with a token.
pub struct Api<'a> {
    pub server: &'a InfluxDb,
    pub token: String,
}

impl Api<'_> {
    pub fn state(&self) -> State {
        let list = |name: &str| {
            let (status, answer) = self.ask("GET", &format!("/api/v2/{name}"), &Value::Null);
            assert_eq!(status, 200, "{name}: {answer}");
            let name = name.split('?').next().unwrap();
            answer[name].as_array().unwrap().clone()
        };
        let mut buckets = list("buckets?limit=100");
        buckets.retain(|bucket| bucket["type"] == "user");
        State {
            users: list("users"),
            organisations: list("orgs"),
            buckets,
            tokens: list("authorizations"),
            dashboards: list("dashboards"),
        }
    }

    pub fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let authorization = format!("Token {}", self.token);
        self.server.ask_as(&authorization, method, path, body)
    }

    /// Like [`ask`](Self::ask), for a request that has to succeed.
    pub fn change(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.ask(method, path, body);
        assert!((200..300).contains(&status), "{method} {path}: {answer}");
        answer
    }

    /// Creates a token with the operator token's permissions for some actions (`read`, `write`). Returns
    /// its id and its value.
    pub fn copy_operator_token(&self, is_kept: impl Fn(&str) -> bool) -> (String, String) {
        let tokens = self.state().tokens;
        let permissions = |token: &Value| token["permissions"].as_array().unwrap().clone();
        let mut most = tokens.iter().map(permissions).max_by_key(Vec::len).unwrap();
        most.retain(|permission| is_kept(permission["action"].as_str().unwrap()));
        let org = &self.state().organisations[0]["id"];
        let body = serde_json::json!({ "orgID": org, "permissions": most });
        let created = self.change("POST", "/api/v2/authorizations", &body);
        let [id, token] = ["id", "token"].map(|key| created[key].as_str().unwrap().to_owned());
        (id, token)
    }

    /// Whether this token may write to the bucket.
    pub fn may_write(&self, org: &str, bucket: &str) -> bool {
        let org = org.replace(' ', "%20");
        let path = format!("/api/v2/write?org={org}&bucket={bucket}");
        let (status, _) = self.ask("POST", &path, &Value::Null);
        status == 204
    }

    /// Whether this token may read from the bucket.
    pub fn may_read(&self, org: &str, bucket: &str) -> bool {
        let org = org.replace(' ', "%20");
        let query = format!("from(bucket: \"{bucket}\") |> range(start: -1s)");
        let body = serde_json::json!({ "query": query });
        let (status, _) = self.ask("POST", &format!("/api/v2/query?org={org}"), &body);
        status == 200
    }

    /// The queries of a dashboard's charts.
    pub fn queries(&self, dashboard: &Value) -> Vec<String> {
        let id = dashboard["id"].as_str().unwrap();
        let cells = dashboard["cells"].as_array().unwrap().iter();
        let views = cells.map(|cell| {
            let cell = cell["id"].as_str().unwrap();
            let path = format!("/api/v2/dashboards/{id}/cells/{cell}/view");
            self.change("GET", &path, &Value::Null)
        });
        views
            .filter_map(|view| {
                let query = view.pointer("/properties/queries/0/text")?;
                query.as_str().map(str::to_owned)
            })
            .collect()
    }
}

/// The names of users, organisations, buckets or dashboards, sorted.
pub fn names(list: &[Value]) -> Vec<&str> {
    let mut names: Vec<_> = list
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    names.sort_unstable();
    names
}

/// The object of this name.
pub fn named<'a>(list: &'a [Value], name: &str) -> &'a Value {
    list.iter().find(|one| one["name"] == name).unwrap()
}

/// A bucket's retention, in seconds.
pub fn retention(bucket: &Value) -> u64 {
    bucket["retentionRules"][0]["everySeconds"]
        .as_u64()
        .unwrap_or_default()
}
