//! Setting InfluxDB up, and going on after whatever went wrong.

mod breaks;
mod fixture;
mod others;
mod passwords;
mod settings;

use std::os::unix::fs::PermissionsExt;

use crate::fixture::text;
use fixture::{Site, creating};

#[test]
fn a_fresh_start_makes_everything_and_says_no_secret() {
    let site = Site::new();
    let ended = site.init(&[]);
    let said = text(&ended);
    assert!(ended.status.success(), "{said}");
    site.assert_good();
    let user = &site.server.state().users[0];
    assert_eq!(user.name, "admin");
    assert!(user.password.len() >= 24);
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
    for part in ["admin", "sink", "notebook"] {
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
    let state = site.server.state();
    let dashboard = &state.dashboards[0];
    assert_eq!(dashboard.name, "Rigs in a${b}\\c");
    let charts = dashboard.charts.as_array().unwrap();
    let queries: Vec<&str> = charts
        .iter()
        .filter_map(|chart| chart["queries"][0]["query"].as_str())
        .collect();
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
    let (files, state) = (site.files(), site.server.state());
    let asked = site.server.requests().len();
    let again = site.init(&[]);
    assert!(again.status.success(), "{}", text(&again));
    assert_eq!(site.files(), files);
    assert_eq!(site.server.state(), state);
    let requests = site.server.requests().split_off(asked);
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
fn a_dashboard_that_was_changed_or_deleted_stays_so() {
    let site = Site::new();
    assert!(site.init(&[]).status.success());
    site.server
        .change(|state| state.dashboards[0].charts = "theirs".into());
    assert!(site.init(&[]).status.success());
    assert_eq!(site.server.state().dashboards[0].charts, "theirs");
    site.server.change(|state| state.dashboards.clear());
    assert!(site.init(&[]).status.success());
    assert_eq!(site.server.state().dashboards, []);
}

#[test]
fn a_revoked_or_inactive_token_is_replaced_and_the_other_one_stays() {
    let site = Site::new();
    assert!(site.init(&[]).status.success());
    for (lost, kept) in [("sink", "notebook"), ("notebook", "sink")] {
        for revoked in [true, false] {
            let (lost, kept) = (
                format!("{lost}/influx-token"),
                format!("{kept}/influx-token"),
            );
            let (old, other) = (site.read(&lost), site.read(&kept));
            site.server.change(|state| {
                if revoked {
                    state.tokens.retain(|token| token.value != old);
                } else {
                    let token = state.tokens.iter_mut().find(|token| token.value == old);
                    token.unwrap().is_active = false;
                }
            });
            let again = site.init(&[]);
            assert!(again.status.success());
            // A sink that runs doesn't read its token again.
            let said = String::from_utf8_lossy(&again.stdout).contains("restart sink");
            assert_eq!(said, lost.starts_with("sink"));
            assert_ne!(site.read(&lost), old);
            assert_eq!(site.read(&kept), other);
            site.assert_good();
        }
    }
}

#[test]
fn another_bucket_and_another_organisation_later() {
    let site = Site::new();
    assert!(site.init(&[]).status.success());
    let env = [("INFLUX_BUCKET", "other"), ("INFLUX_ORG", "new org")];
    for _ in 0..2 {
        let ended = site.init(&env);
        assert!(ended.status.success(), "{}", text(&ended));
    }
    let state = site.server.state();
    assert_eq!(state.organisations.len(), 2);
    assert_eq!(state.buckets.len(), 2);
    assert_eq!(state.buckets[1].org, state.organisations[1].id);
    assert_eq!(state.buckets[1].seconds, 2_592_000);
    assert_eq!(state.tokens.len(), 3, "{:?}", state.tokens);
    let (sink, notebook) = (
        site.read("sink/influx-token"),
        site.read("notebook/influx-token"),
    );
    assert!(state.may(&sink, "write", "other") && !state.may(&sink, "write", "rigs"));
    assert!(state.may(&notebook, "read", "other") && !state.may(&notebook, "read", "rigs"));
    let names: Vec<_> = state.dashboards.iter().map(|d| d.name.as_str()).collect();
    assert_eq!(names, ["Rigs", "Rigs in other"]);
    // And back: its bucket and its dashboard are there.
    assert!(site.init(&[]).status.success());
    assert_eq!(site.server.state().buckets.len(), 2);
    assert_eq!(site.server.state().dashboards.len(), 2);
    let sink = site.read("sink/influx-token");
    assert!(site.server.state().may(&sink, "write", "rigs"));
}

#[test]
fn a_bucket_that_is_there_keeps_its_retention() {
    let site = Site::new();
    assert!(site.init(&[]).status.success());
    site.server.change(|state| state.buckets[0].seconds = 3_600);
    assert!(site.init(&[]).status.success());
    assert_eq!(site.server.state().buckets[0].seconds, 3_600);
}
