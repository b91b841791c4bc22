//! Servers that others have set up, or whose set-up is incomplete.

use serde_json::{Value, json};
use testkit::InfluxDb;
use testkit::influx_proxy::{Forward, Reply};

use super::fixture::{Site, creating};
use super::state::names;
use crate::fixture::text;

/// Sets the server up with `influx setup`.
fn set_up_by_another(server: &InfluxDb) {
    let body = json!({
        "username": "them", "password": "their password", "org": "their-org",
        "bucket": "their-bucket", "token": "their-token",
    });
    let (status, answer) = server.ask_as("", "POST", "/api/v2/setup", &body);
    assert_eq!(status, 201, "{answer}");
}

#[test]
fn server_set_up_by_others_is_left_alone_without_its_token() {
    let site = Site::new();
    set_up_by_another(&site.server);
    for env in [&[][..], &[("INFLUX_TOKEN", "not-theirs")]] {
        let before = site.api_of("their-token").state();
        let ended = site.init(env);
        let said = text(&ended);
        assert_eq!(ended.status.code(), Some(1), "{said}");
        for part in [
            "error: ",
            "operator token",
            "INFLUX_TOKEN in .env",
            "docker compose down -v",
            "deletes",
        ] {
            assert!(said.contains(part), "{said}");
        }
        assert!(!said.contains("not-theirs"), "{said}");
        assert_eq!(site.api_of("their-token").state(), before);
        assert_eq!(creating(&site.proxy.requests()), Vec::<String>::new());
    }
}

#[test]
fn server_set_up_by_others_is_used_with_its_token() {
    let site = Site::new();
    set_up_by_another(&site.server);
    let env = [
        ("INFLUX_TOKEN", "their-token"),
        ("INFLUX_PASSWORD", "my password"),
    ];
    let ended = site.init(&env);
    let said = text(&ended);
    assert!(ended.status.success(), "{said}");
    assert!(said.contains("no user admin"), "{said}");
    let state = site.state();
    assert_eq!(names(&state.users), ["them"]);
    assert!(site.server.accepts_password("them", "their password"));
    assert_eq!(names(&state.organisations), ["my-org", "their-org"]);
    assert_eq!(site.read("admin/influx-token"), "their-token");
    let rights = site.rights("sink/influx-token", "my-org", "rigs");
    assert_eq!(rights, (true, false));
    // From now on it is stored.
    assert!(site.init(&[]).status.success());
    let shown = text(&site.run("passwords", &[]));
    assert!(
        shown.contains("their-token") && shown.contains("not known here"),
        "{shown}"
    );
}

#[test]
fn token_without_all_permissions_is_detected() {
    let site = Site::new();
    assert!(site.init(&[]).status.success());
    let sink = site.read("sink/influx-token");
    let other = Site::new();
    let url = site.proxy.url();
    let ended = other.init(&[("INFLUX_TOKEN", &sink), ("INFLUX_URL", &url)]);
    let said = text(&ended);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("isn't an operator token"), "{said}");
    assert!(!said.contains(&sink), "{said}");
    site.assert_good();
}

#[test]
fn weaker_token_does_not_replace_the_operator_token() {
    let site = Site::new();
    assert!(site.init(&[]).status.success());
    let (operator, files) = (site.read("admin/influx-token"), site.files());
    for name in ["sink/influx-token", "notebook/influx-token"] {
        let ended = site.init(&[("INFLUX_TOKEN", &site.read(name))]);
        let said = text(&ended);
        assert_eq!(ended.status.code(), Some(1), "{said}");
        for part in ["isn't an operator token", "take INFLUX_TOKEN out of .env"] {
            assert!(said.contains(part), "{said}");
        }
        assert_eq!(site.read("admin/influx-token"), operator);
    }
    let (id, token) = site.api().copy_operator_token(|action| action == "read");
    let ended = site.init(&[("INFLUX_TOKEN", &token)]);
    assert_eq!(ended.status.code(), Some(1), "{}", text(&ended));
    assert_eq!(site.files(), files);
    assert!(site.init(&[]).status.success());
    let path = format!("/api/v2/authorizations/{id}");
    site.api().change("DELETE", &path, &Value::Null);
    site.assert_good();
}

#[test]
fn another_operator_token_replaces_the_stored_one() {
    let site = Site::new();
    assert!(site.init(&[]).status.success());
    let (_, token) = site.api().copy_operator_token(|_| true);
    let ended = site.init(&[("INFLUX_TOKEN", &token)]);
    assert!(ended.status.success(), "{}", text(&ended));
    assert_eq!(site.read("admin/influx-token"), token);
    assert_eq!(site.state().tokens.len(), 5);
    assert!(site.init(&[]).status.success());
}

#[test]
fn repeated_dashboard_request_changes_the_first_dashboard() {
    let site = Site::new();
    assert!(site.init(&[]).status.success());
    let dashboard = site.state().dashboards[0].clone();
    let path = format!("/api/v2/dashboards/{}", dashboard["id"].as_str().unwrap());
    let renamed = json!({ "name": "renamed" });
    site.api().change("PATCH", &path, &renamed);
    assert_eq!(names(&site.state().dashboards), ["renamed"]);
    std::fs::remove_file(site.path("admin/dashboards")).unwrap();
    assert!(site.init(&[]).status.success());
    site.assert_good();
    assert_eq!(site.state().dashboards[0]["id"], dashboard["id"]);
}

#[test]
fn changed_token_is_refused_with_a_remedy() {
    let site = Site::new();
    assert!(site.init(&[]).status.success());
    let ended = site.init(&[("INFLUX_TOKEN", "a-new-one")]);
    let said = text(&ended);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("take INFLUX_TOKEN out of .env"), "{said}");
    assert!(site.init(&[]).status.success());
    site.assert_good();
}

#[test]
fn incomplete_server_setup_is_reported_with_a_remedy() {
    let site = Site::new();
    // The server creates user and organisation, and then refuses a bucket of this name.
    let half = json!({
        "username": "admin", "password": "password", "org": "my-org", "bucket": "_rigs",
    });
    let half = Forward::Instead(half.to_string());
    site.proxy.reply_at(3, Reply::cut().forwarding(half));
    let ended = site.init(&[]);
    let said = text(&ended);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    let (_, answer) = site.server.ask("GET", "/api/v2/setup", &Value::Null);
    assert_eq!(answer["allowed"], false, "{:?}", site.proxy.requests());
    for part in [
        "in the middle of its first set-up",
        "docker compose down -v",
    ] {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn deleted_server_data_is_set_up_again_with_the_same_secrets() {
    let site = Site::new();
    assert!(site.init(&[]).status.success());
    let password = site.read("admin/influx-password");
    let site = site.without_data();
    let ended = site.init(&[]);
    assert!(ended.status.success(), "{}", text(&ended));
    assert_eq!(site.read("admin/influx-password"), password);
    site.assert_good();
}
