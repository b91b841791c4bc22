use std::time::Duration;

use common::secret::Secret;
use common::settings::{InfluxTls, Settings};
use testkit::influx_proxy::{Forward, Reply};
use testkit::influxdb::TOKEN;
use testkit::{InfluxDb, InfluxProxy};

use super::super::InfluxSettings;
use super::dashboard::{flux_string, template};
use super::{Access, FirstSetup, InfluxSetup, SetupError};

fn client(url: &str) -> InfluxSetup {
    let mut settings = InfluxSettings {
        url: url.to_owned(),
        token: None,
        token_file: None,
        tls: InfluxTls::default(),
        org: "my-org".into(),
        bucket: "rigs".into(),
        timeout: Duration::from_secs(2),
    };
    settings.check().unwrap();
    InfluxSetup::new(&settings).unwrap()
}

fn first<'a>(password: &'a Secret, token: &'a Secret) -> FirstSetup<'a> {
    FirstSetup {
        user: "admin",
        password,
        token,
        org: "my org & co",
        bucket: "rigs",
        kept_for: Duration::from_hours(2),
    }
}

fn is_refused(error: &SetupError, expected: u16) -> bool {
    matches!(error, SetupError::Refused { status, .. } if *status == expected)
}

/// The retention of the organisation's bucket `rigs`, in seconds.
fn retention(server: &InfluxDb, org: &str) -> u64 {
    let found = server.list(&format!("/api/v2/buckets?name=rigs&org={org}"), "buckets");
    found[0]["retentionRules"][0]["everySeconds"]
        .as_u64()
        .unwrap()
}

#[tokio::test]
async fn objects_are_created_found_and_revoked() {
    let server = InfluxDb::start_empty();
    let influx = client(&server.url());
    let (password, token) = (Secret::new("password"), Secret::new(TOKEN));
    influx.health().await.unwrap();
    assert!(influx.is_untouched().await.unwrap());
    influx.set_up(&first(&password, &token)).await.unwrap();
    assert!(!influx.is_untouched().await.unwrap());
    assert_eq!(retention(&server, "my%20org%20%26%20co"), 7_200);
    let late = influx.set_up(&first(&password, &token)).await.unwrap_err();
    assert!(is_refused(&late, 422), "{late}");

    let operator = influx.operator(&token);
    let org = operator.organisation("my org & co").await.unwrap().unwrap();
    assert_eq!(operator.organisation("other").await.unwrap(), None);
    let other = operator.create_organisation("other").await.unwrap();
    assert_eq!(
        operator.organisation("other").await.unwrap(),
        Some(other.clone())
    );
    assert_eq!(operator.bucket(&other, "rigs").await.unwrap(), None);
    let hour = Duration::from_hours(1);
    let bucket = operator.create_bucket(&other, "rigs", hour).await.unwrap();
    assert_eq!(
        operator.bucket(&other, "rigs").await.unwrap(),
        Some(bucket.clone())
    );
    assert_eq!(retention(&server, "other"), 3_600);
    assert!(
        operator
            .bucket(&org, "rigs")
            .await
            .unwrap()
            .is_some_and(|id| id != bucket)
    );

    for access in [Access::Write, Access::Read] {
        let made = operator
            .create_token("mine", access, &other, &bucket)
            .await
            .unwrap();
        let writes = influx.may_write(&made, "other", "rigs").await.unwrap();
        let reads = influx.may_read(&made, "other", "rigs").await.unwrap();
        assert_eq!(
            (writes, reads),
            (access == Access::Write, access == Access::Read)
        );
        assert!(!influx.may_write(&made, "other", "nope").await.unwrap());
        let all = operator.authorizations().await.unwrap();
        let mine: Vec<_> = all.iter().filter(|one| one.description == "mine").collect();
        assert_eq!(mine.len(), 1);
        operator.revoke(&mine[0].id).await.unwrap();
        operator.revoke(&mine[0].id).await.unwrap();
        assert!(!influx.may_write(&made, "other", "rigs").await.unwrap());
    }
    let points = server.points_in("other", "rigs");
    assert_eq!(points, [], "a preflight has written");

    let user = operator.user("admin").await.unwrap().unwrap();
    assert_eq!(operator.user("nobody").await.unwrap(), None);
    operator
        .set_password(&user, &Secret::new("another one"))
        .await
        .unwrap();
    assert!(server.accepts_password("admin", "another one"));
    assert!(!server.accepts_password("admin", "password"));

    assert!(!operator.has_dashboard(&org, "Mine").await.unwrap());
    operator
        .create_dashboard(&org, "Mine", "rigs")
        .await
        .unwrap();
    assert!(operator.has_dashboard(&org, "Mine").await.unwrap());
    assert!(!operator.has_dashboard(&other, "Mine").await.unwrap());
}

#[tokio::test]
async fn errors_name_the_next_step_and_contain_no_secret() {
    let server = InfluxDb::start_empty();
    let proxy = InfluxProxy::in_front_of(server.port());
    let influx = client(&proxy.url());
    for reply in [
        Reply::cut(),
        Reply::cut().forwarding(Forward::All),
        Reply::status(500, ""),
        Reply::status(503, ""),
        Reply::status(429, ""),
    ] {
        proxy.reply_next([reply.clone()]);
        let error = influx.is_untouched().await.unwrap_err();
        assert!(error.is_away(), "{reply:?}: {error}");
    }
    let nobody = client("http://127.0.0.1:1").health().await.unwrap_err();
    assert!(
        nobody.is_away() && nobody.to_string().contains("127.0.0.1:1"),
        "{nobody}"
    );

    let (short, token) = (Secret::new("s3cret"), Secret::new("s3cret-token"));
    let refused = influx.set_up(&first(&short, &token)).await.unwrap_err();
    assert!(is_refused(&refused, 400), "{refused}");
    assert!(
        refused.to_string().contains("between 8 and 72"),
        "{refused}"
    );
    let unknown = influx.operator(&token).organisation("x").await.unwrap_err();
    assert!(
        matches!(unknown, SetupError::Unauthorized { .. }),
        "{unknown}"
    );
    let unusable = influx
        .operator(&Secret::new("s3cret\n"))
        .organisation("x")
        .await;
    let unusable = unusable.unwrap_err();
    assert!(
        matches!(unusable, SetupError::Unexpected { .. }),
        "{unusable}"
    );
    proxy.reply_next([Reply::status(302, "")]);
    let elsewhere = influx.is_untouched().await.unwrap_err();
    assert!(
        matches!(elsewhere, SetupError::Unexpected { .. }),
        "{elsewhere}"
    );
    for error in [refused, unknown, unusable, elsewhere] {
        assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
    }
}

#[tokio::test]
async fn server_other_than_influxdb_is_recognised() {
    let other = InfluxProxy::start();
    other.reply_always(Some(Reply::status(200, "OK")));
    let influx = client(&other.url());
    assert!(influx.health().await.is_err());
    assert!(matches!(
        influx.is_untouched().await.unwrap_err(),
        SetupError::Refused { .. } | SetupError::Unexpected { .. }
    ));
}

#[test]
fn the_template_is_for_its_bucket() {
    let plain = template("Rigs", "rigs").unwrap();
    let texts = |template: &serde_json::Value| {
        let charts = template[0]["spec"]["charts"].as_array().unwrap().clone();
        let queries = charts.into_iter().filter_map(|chart| {
            let query = chart.pointer("/queries/0/query")?;
            query.as_str().map(str::to_owned)
        });
        queries.collect::<Vec<_>>()
    };
    assert_eq!(texts(&plain).len(), 7);
    let committed: serde_json::Value =
        serde_json::from_str(include_str!("dashboard.json")).unwrap();
    assert_eq!(plain, committed);
    for text in texts(&plain) {
        assert!(text.starts_with("from(bucket: \"rigs\")\n"), "{text}");
    }
    let other = template("Mine", "a \"b\"").unwrap();
    assert_eq!(other[0]["spec"]["name"], "Mine");
    for text in texts(&other) {
        assert!(
            text.starts_with("from(bucket: \"a \\\"b\\\"\")\n"),
            "{text}"
        );
        assert!(!text.contains("\"rigs\""), "{text}");
    }
}

#[test]
fn name_is_a_string_literal_in_flux() {
    for (name, text) in [
        ("rigs", "\"rigs\""),
        ("a\"b\\c", "\"a\\\"b\\\\c\""),
        ("${v.x}", "\"\\${v.x}\""),
    ] {
        assert_eq!(flux_string(name), text);
    }
}
