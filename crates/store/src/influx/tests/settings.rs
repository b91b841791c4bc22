use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, FromArgMatches};
use common::secret::Secret;
use common::settings::Settings;

use super::super::{BuildError, InfluxSettings, InfluxStore};

fn parse(args: &[&str]) -> Result<InfluxSettings, clap::Error> {
    let args = std::iter::once("sink").chain(args.iter().copied());
    let command = InfluxSettings::augment_args(clap::Command::new("sink"));
    let matches = command.try_get_matches_from(args.map(OsString::from))?;
    InfluxSettings::from_arg_matches(&matches)
}

#[test]
fn defaults_are_the_documented_ones() {
    let mut settings = parse(&[]).unwrap();
    settings.check().unwrap();
    assert_eq!(settings.url, "http://localhost:8086");
    assert_eq!(
        (settings.org.as_str(), settings.bucket.as_str()),
        ("my-org", "rigs")
    );
    assert_eq!(
        (settings.token, settings.timeout),
        (None, Duration::from_secs(10))
    );
    for bad in [
        ["--influx-org", ""],
        ["--influx-bucket", " "],
        ["--influx-timeout", "0"],
    ] {
        assert!(parse(&bad).is_err(), "{bad:?}");
    }
}

#[test]
fn a_url_is_a_scheme_a_host_and_maybe_a_port() {
    let checked = |url: &str| parse(&["--influx-url", url]).unwrap().check();
    for good in [
        "http://localhost:8086",
        "http://influxdb:8086/",
        "https://influx.example",
        "http://[::1]:8086",
        "http://10.0.0.7",
    ] {
        assert_eq!(checked(good), Ok(()), "{good}");
    }
    for bad in [
        "",
        "localhost:8086",
        "influxdb",
        "/3242/23",
        "ftp://influxdb",
        "http://",
        "http://influxdb:99999",
        "http://influxdb:8086/influx",
        "http://influxdb:8086/?org=x",
        "http://influxdb:8086/#x",
        "http://me@influxdb:8086",
        "http://me:hunter2@influxdb:8086",
    ] {
        let said = checked(bad).unwrap_err().to_string();
        assert!(said.starts_with("INFLUX_URL: "), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
        let settings = parse(&["--influx-url", bad]).unwrap();
        let built = InfluxStore::new(&settings);
        assert!(matches!(built, Err(BuildError::Setting(_))), "{bad}");
    }
}

#[test]
fn the_token_comes_from_a_variable_or_a_file() {
    let path = std::env::temp_dir().join(format!("rigline-token-{}", std::process::id()));
    std::fs::write(&path, "from-a-file\n").unwrap();
    let file = path.to_str().unwrap();
    let mut settings = parse(&["--influx-token-file", file]).unwrap();
    settings.check().unwrap();
    settings.check().unwrap();
    assert_eq!(settings.token, Some(Secret::new("from-a-file")));
    let mut both = parse(&["--influx-token", "t", "--influx-token-file", file]).unwrap();
    assert!(both.check().is_err());
    std::fs::remove_file(&path).unwrap();

    let mut empty = parse(&["--influx-token=", "--influx-token-file="]).unwrap();
    assert_eq!(empty.token_file, Some(PathBuf::new()));
    empty.check().unwrap();
    assert_eq!(empty.token, None);
    for bad in ["two words", "line\nend", "t\u{f6}ken"] {
        let said = parse(&["--influx-token", bad])
            .unwrap()
            .check()
            .unwrap_err()
            .to_string();
        assert!(
            said.contains("INFLUX_TOKEN") && !said.contains(bad),
            "{said}"
        );
    }
}
