//! Settings that can't be used.

use super::fixture::Site;
use crate::fixture::text;

#[test]
fn bad_setting_exits_with_64_before_a_socket_opens() {
    let site = Site::new();
    let long = "x".repeat(73);
    for (variable, given, shown, accepted) in [
        ("INFLUX_URL", "influxdb:8086", "influxdb:8086", "http://"),
        ("INFLUX_TOKEN", "two words", "***", "printable"),
        ("INFLUX_PASSWORD", "short12", "***", "8 to 72"),
        ("INFLUX_PASSWORD", &long, "***", "8 to 72"),
        ("INFLUX_PASSWORD_FILE", "/nowhere", "/nowhere", "readable"),
        ("INFLUX_BUCKET", "_mine", "_mine", "without _"),
        ("INFLUX_BUCKET", "a\"b", "b", "without"),
        ("INFLUX_ORG", " mine", " mine", "spaces"),
        ("INFLUX_TIMEOUT", "0", "0", "above 0"),
        ("JUPYTER_TOKEN", "two words", "***", "printable"),
        ("SECRETS_DIR", "", "\"\"", "directory"),
        ("INFLUX_PAGE", "localhost", "localhost", "http://"),
    ] {
        let ended = site.init(&[(variable, given)]);
        let said = text(&ended);
        assert_eq!(ended.status.code(), Some(64), "{variable}={given}: {said}");
        for part in [variable, shown, accepted] {
            assert!(
                said.contains(part),
                "{variable}={given} doesn't say {part}: {said}"
            );
        }
        assert!(shown != "***" || !said.contains(given), "{said}");
    }
    assert_eq!(site.proxy.requests(), Vec::<String>::new());
    assert!(!site.path("").exists());
    assert_eq!(
        site.run("passwords", &[("SECRETS_DIR", "")]).status.code(),
        Some(64)
    );
}

#[test]
fn help_shows_variables_and_no_secret() {
    let secrets = [
        ("INFLUX_TOKEN", "s3cret-token"),
        ("INFLUX_PASSWORD", "s3cret-password"),
        ("JUPYTER_TOKEN", "s3cret-jupyter"),
    ];
    let mut process = std::process::Command::new(crate::fixture::binary());
    process.args(["init", "--help"]).env_clear().envs(secrets);
    let help = text(&process.output().unwrap());
    // Lines are broken anywhere between words.
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(!help.contains("s3cret"), "{help}");
    for variable in [
        "INFLUX_URL",
        "INFLUX_ORG",
        "INFLUX_BUCKET",
        "INFLUX_TOKEN",
        "INFLUX_TOKEN_FILE",
        "INFLUX_TIMEOUT",
        "INFLUX_PASSWORD",
        "INFLUX_PASSWORD_FILE",
        "JUPYTER_TOKEN",
        "SECRETS_DIR",
        "INFLUX_PAGE",
        "JUPYTER_PAGE",
    ] {
        assert!(
            help.contains(&format!("[env: {variable}")),
            "{variable}\n{help}"
        );
    }
}
