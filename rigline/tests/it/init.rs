//! The command `init`: setting InfluxDB up, and continuing after errors.

mod breaks;
mod fixture;
mod others;
mod passwords;
mod settings;
mod state;

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};
use testkit::influxdb::TOKEN;

use crate::fixture::{second, text};
use fixture::{Site, creating};
use state::{named, names, retention};

#[test]
fn first_start_creates_everything_and_prints_no_secret() {
    let site = Site::new();
    let ended = site.init(&[]);
    let said = text(&ended);
    assert!(ended.status.success(), "{said}");
    site.assert_good();
    assert!(site.read("admin/influx-password").len() >= 24);
    for secret in site.all_secrets() {
        assert!(!said.contains(&secret), "{said}");
    }
    for part in [
        "http://localhost:8086",
        "http://localhost:8888",
        "user admin",
        "passwords",
    ] {
        assert!(said.contains(part), "{said}");
    }
    assert!(ended.stderr.is_empty(), "{said}");
    for part in ["admin", "sink", "api", "notebook"] {
        let mode = site.path(part).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{part}");
    }
    let names = |part: &str| {
        let entries = std::fs::read_dir(site.path(part)).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names("sink"), ["influx-token"]);
    assert_eq!(names("api"), ["influx-token"]);
    assert_eq!(names("notebook"), ["influx-token", "jupyter-token"]);
    assert_eq!(
        site.read("notebook/jupyter-token"),
        site.read("admin/jupyter-token")
    );
}

#[test]
fn the_dashboard_has_a_chart_for_each_sensor_of_the_fleet() {
    let site = Site::new();
    assert!(site.init(&[("INFLUX_BUCKET", "a${b}\\c")]).status.success());
    let state = site.state();
    assert_eq!(names(&state.dashboards), ["Rigs in a${b}\\c"]);
    let queries = site.api().queries(&state.dashboards[0]);
    assert_eq!(queries.len(), producer::fleet::SENSORS.len() + 1);
    for query in &queries {
        assert!(query.starts_with(r#"from(bucket: "a\${b}\\c")"#), "{query}");
        assert!(
            query.contains(r#"r._measurement == "rig_measurements""#),
            "{query}"
        );
    }
    for sensor in producer::fleet::SENSORS {
        let of_it = format!("r._field == \"{}\"", sensor.name);
        let count = queries
            .iter()
            .filter(|query| query.contains(&of_it))
            .count();
        assert_eq!(count, 1, "{}", sensor.name);
    }
}

#[test]
fn a_second_start_changes_nothing() {
    let site = Site::new();
    assert!(site.init(&[]).status.success());
    let (files, state) = (site.files(), site.state());
    let asked = site.proxy.requests().len();
    let again = site.init(&[]);
    assert!(again.status.success(), "{}", text(&again));
    assert_eq!(site.files(), files);
    assert_eq!(site.state(), state);
    let requests = site.proxy.requests().split_off(asked);
    assert_eq!(creating(&requests), Vec::<String>::new());
    assert!(
        requests.contains(&"POST /api/v2/write".to_owned()),
        "{requests:?}"
    );
    assert!(
        requests.contains(&"POST /api/v2/query".to_owned()),
        "{requests:?}"
    );
}

#[test]
fn the_dashboards_queries_return_what_was_written() {
    let site = Site::new();
    assert!(site.init(&[("INFLUX_TOKEN", TOKEN)]).status.success());
    let lines = producer::fleet::SENSORS.iter().map(|sensor| {
        let second = second().nanos();
        format!("rig_measurements,rig_id=R1 {}=1.5 {second}\n", sensor.name)
    });
    site.server.write("rigs", &lines.collect::<String>());
    let state = site.state();
    let range = "option v = {timeRangeStart: -1h, timeRangeStop: now(), windowPeriod: 10s}";
    for query in site.api().queries(&state.dashboards[0]) {
        let rows = site.server.query(&format!("{range}\n{query}"));
        assert!(!rows.is_empty(), "no rows: {query}");
        let names = format!("{rows:?}");
        assert!(names.contains("R1") && names.contains("1.5"), "{names}");
    }
}

#[test]
fn changed_or_deleted_dashboard_is_left_alone() {
    let site = Site::new();
    assert!(site.init(&[]).status.success());
    let dashboard = site.state().dashboards[0].clone();
    let path = format!("/api/v2/dashboards/{}", dashboard["id"].as_str().unwrap());
    site.api()
        .change("PATCH", &path, &json!({ "description": "theirs" }));
    let cell = dashboard["cells"][0]["id"].as_str().unwrap();
    site.api()
        .change("DELETE", &format!("{path}/cells/{cell}"), &Value::Null);
    let theirs = site.state().dashboards;
    assert!(site.init(&[]).status.success());
    assert_eq!(site.state().dashboards, theirs);
    assert_eq!(theirs[0]["description"], "theirs");
    site.api().change("DELETE", &path, &Value::Null);
    assert!(site.init(&[]).status.success());
    assert_eq!(site.state().dashboards, Vec::<Value>::new());
}

#[test]
fn revoked_or_inactive_token_is_replaced_and_the_other_kept() {
    let site = Site::new();
    assert!(site.init(&[]).status.success());
    for (lost, kept) in [("sink", "notebook"), ("api", "sink"), ("notebook", "api")] {
        for revoked in [true, false] {
            let (lost, kept) = (
                format!("{lost}/influx-token"),
                format!("{kept}/influx-token"),
            );
            let (old, other) = (site.read(&lost), site.read(&kept));
            let tokens = site.state().tokens.into_iter();
            let owner = format!("rigline {} ", lost.split('/').next().unwrap());
            let ids: Vec<_> = tokens
                .filter(|token| token["description"].as_str().unwrap().starts_with(&owner))
                .map(|token| token["id"].as_str().unwrap().to_owned())
                .collect();
            assert_eq!(ids.len(), 1);
            let path = format!("/api/v2/authorizations/{}", ids[0]);
            if revoked {
                site.api().change("DELETE", &path, &Value::Null);
            } else {
                site.api()
                    .change("PATCH", &path, &json!({ "status": "inactive" }));
            }
            let again = site.init(&[]);
            assert!(again.status.success());
            // Only the notebook reads its token each time.
            let said =
                String::from_utf8_lossy(&again.stdout).contains(" reads it when InfluxDB refuses ");
            assert_eq!(said, !lost.starts_with("notebook"));
            assert_ne!(site.read(&lost), old);
            assert_eq!(site.read(&kept), other);
            site.assert_good();
        }
    }
}

#[test]
fn changed_bucket_and_organisation_are_created() {
    let site = Site::new();
    assert!(site.init(&[]).status.success());
    let env = [("INFLUX_BUCKET", "other"), ("INFLUX_ORG", "new org")];
    for _ in 0..2 {
        let ended = site.init(&env);
        assert!(ended.status.success(), "{}", text(&ended));
    }
    let state = site.state();
    assert_eq!(names(&state.organisations), ["my-org", "new org"]);
    assert_eq!(names(&state.buckets), ["other", "rigs"]);
    let (bucket, org) = (
        named(&state.buckets, "other"),
        named(&state.organisations, "new org"),
    );
    assert_eq!(bucket["orgID"], org["id"]);
    assert_eq!(retention(bucket), 2_592_000);
    assert_eq!(state.tokens.len(), 4, "{:?}", state.tokens);
    let rights = |name: &str| {
        let name = format!("{name}/influx-token");
        let other = site.rights(&name, "new org", "other");
        (other, site.rights(&name, "my-org", "rigs"))
    };
    let neither = (false, false);
    assert_eq!(rights("sink"), ((true, false), neither));
    assert_eq!(rights("api"), ((false, true), neither));
    assert_eq!(rights("notebook"), ((false, true), neither));
    assert_eq!(names(&state.dashboards), ["Rigs", "Rigs in other"]);
    // Back to the first names: their bucket and dashboard still exist.
    assert!(site.init(&[]).status.success());
    assert_eq!(site.state().buckets.len(), 2);
    assert_eq!(site.state().dashboards.len(), 2);
    assert_eq!(rights("sink"), (neither, (true, false)));
}

#[test]
fn existing_bucket_keeps_its_retention() {
    let site = Site::new();
    assert!(site.init(&[]).status.success());
    let id = site.state().buckets[0]["id"].clone();
    let path = format!("/api/v2/buckets/{}", id.as_str().unwrap());
    let rules = json!([{ "type": "expire", "everySeconds": 604_800 }]);
    site.api()
        .change("PATCH", &path, &json!({ "retentionRules": rules }));
    assert!(site.init(&[]).status.success());
    assert_eq!(retention(&site.state().buckets[0]), 604_800);
}
