//! The HTTP API with the paths of another system.

use std::time::Duration;

use serde_json::Value;
use testkit::{Launch, StageProcess, http_get, stage_binary};

const SOON: Duration = Duration::from_mins(1);

/// A process of the API.
pub struct SystemApi {
    port: u16,
    process: StageProcess,
}

impl SystemApi {
    /// Starts it with these `API_PATHS` and variables.
    pub fn start(paths: &str, env: &[(&str, &str)]) -> Self {
        let process = Launch::binary(&stage_binary("rigline"))
            .args(&["api"])
            .envs(env)
            .envs(&[("API_PATHS", paths)])
            .spawn();
        assert!(
            process.ready(SOON),
            "{}\n{}",
            process.get("/readyz"),
            process.logs()
        );
        let url = "url=\"http://127.0.0.1:";
        let logs = process.logs_with(url);
        let (_, address) = logs.split_once(url).unwrap();
        let digits: String = address.chars().take_while(char::is_ascii_digit).collect();
        Self {
            port: digits.parse().unwrap(),
            process,
        }
    }

    /// Status and body of the response to `GET path`.
    pub fn text(&self, path: &str) -> (u16, String) {
        http_get(self.port, path).unwrap()
    }

    /// The report of its health.
    pub fn health(&self) -> String {
        self.process.get("/readyz")
    }

    /// The body of a response without an error.
    pub fn json(&self, path: &str) -> Value {
        let (status, body) = self.text(path);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }
}
