//! A broker that pipeline files name, by both versions of MQTT, plain and with TLS and a password.

use std::process::Command;

use tempfile::TempDir;
use testkit::{Certificates, Mosquitto, write_password_file};

use crate::fixture::{Up, binary, text};
use crate::pipelines::files;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    Plain,
    TlsWithPassword,
}

/// A broker beside `rigline up`.
struct OwnBroker {
    server: Mosquitto,
    url: String,
    made: Certificates,
    case: Case,
}

impl OwnBroker {
    fn start(case: Case) -> Self {
        let made = Certificates::new();
        made.issue("broker", &["localhost"]);
        let users = made.dir().join("users");
        write_password_file(&users, "ann", "p@ss");
        let file = format!("password_file {}", users.display());
        let lines = ["allow_anonymous false", &file];
        let (server, start) = match case {
            Case::Plain => (Mosquitto::start(), "mqtt://"),
            Case::TlsWithPassword => (
                Mosquitto::start_with_tls(&made, &lines),
                "mqtts://ann:p%40ss@",
            ),
        };
        let url = format!("{start}localhost:{}", server.port());
        Self {
            server,
            url,
            made,
            case,
        }
    }

    /// The settings with which it is used.
    fn env(&self, version: &str) -> Vec<(&'static str, String)> {
        let mut env = vec![("MQTT_VERSION", version.to_owned())];
        if self.case == Case::TlsWithPassword {
            env.push(("MQTT_CA_FILE", self.made.ca().display().to_string()));
        }
        env
    }

    fn publish(&self, topic: &str, payload: &str, more: &[&str]) {
        let mut client = self.server.client("mosquitto_pub");
        if self.case == Case::TlsWithPassword {
            // The last host counts.
            client.args(["-h", "localhost", "-u", "ann", "-P", "p@ss"]);
            client.arg("--cafile").arg(self.made.ca());
        }
        client.args(["-q", "1", "-t", topic, "-m", payload]);
        assert!(client.args(more).status().unwrap().success());
    }
}

#[test]
fn new_file_fits_what_a_broker_sends() {
    for case in [Case::Plain, Case::TlsWithPassword] {
        let broker = OwnBroker::start(case);
        for (topic, payload) in [("home/k/temp", "21"), ("home/b/hum", "50")] {
            // Retained, so that it comes with the subscription.
            broker.publish(topic, payload, &["-r"]);
        }
        for version in ["3.1.1", "5"] {
            write_new_file(&broker, version);
        }
        assert!(broker.server.logs().contains("(p5, "));
    }
}

fn write_new_file(broker: &OwnBroker, version: &str) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("my home.toml").display().to_string();
    let new = || {
        let mut command = Command::new(binary());
        command.args(["pipelines", "new", "--url", &broker.url]);
        command.args(["--topic", "home/#", "--for", "1s", &path]);
        command.env_clear().envs(broker.env(version));
        command.output().unwrap()
    };
    let written = new();
    let said = text(&written);
    assert!(written.status.success(), "{said}");
    assert!(
        said.contains("2 messages, of which the pipeline makes 2 samples and 0 dead letters"),
        "{said}"
    );
    let file = std::fs::read_to_string(&path).unwrap();
    assert!(
        file.contains("name = \"myhome\"") && file.contains("home/{level2}/{field}"),
        "{file}"
    );
    // It isn't overwritten.
    assert_eq!(new().status.code(), Some(2));
}

#[test]
fn pipeline_receives_from_a_broker_of_its_own() {
    for (case, version, client) in [
        (Case::Plain, "3.1.1", "(p2, "),
        (Case::Plain, "5", "(p5, "),
        (Case::TlsWithPassword, "5", "(p5, "),
    ] {
        let broker = OwnBroker::start(case);
        let text = format!(
            "[source]\ntopic = \"plant/{{line}}\"\nurl = \"{}\"",
            broker.url
        );
        let (_dir, paths) = files(&[("plant", &text)]);
        let env = broker.env(version);
        let mut env: Vec<_> = env.iter().map(|(name, value)| (*name, &**value)).collect();
        env.push(("PIPELINES", &paths));
        // It is ready once it has subscribed.
        let up = Up::start(&env);
        for number in 0..10 {
            let payload = format!("{{\"value\":{number}.5}}");
            broker.publish(&format!("plant/L{number}"), &payload, &[]);
        }
        let ledger = ["ledger", "--pipeline", "plant"];
        up.wait_for_output(&ledger, "stored 10 rows");
        let rows = up.run_ok(&["rows", "--pipeline", "plant", "--format", "csv"]);
        for number in 0..10 {
            let (line, value) = (format!("L{number},"), format!(",{number}.5"));
            let is_row = |row: &str| row.starts_with(&line) && row.ends_with(&value);
            assert!(rows.lines().any(is_row), "{number}: {rows}");
        }
        let logs = broker.server.logs();
        let is_login = |line: &&str| line.contains("New client") && line.contains("rigline-plant");
        let login = logs.lines().find(is_login).unwrap_or_default();
        assert!(login.contains(client), "{logs}");
        drop(up.stop());
    }
}
