use std::ffi::OsString;
use std::time::Duration;

use super::{Program, bad_setting, command, parse};
use crate::secret::Secret;
use crate::settings::{self, BadSetting, Settings};

#[derive(Debug, clap::Args)]
struct Sample {
    /// How long
    #[arg(long, env = "SAMPLE_FLUSH", default_value = "5s", value_parser = settings::duration)]
    flush: Duration,
    /// A secret
    #[arg(long, env = "SAMPLE_TOKEN", hide_env_values = true)]
    token: Option<Secret>,
}

impl Settings for Sample {
    fn check(&mut self) -> Result<(), BadSetting> {
        let given = format!("{:?}", self.flush);
        BadSetting::unless(
            self.flush < Duration::from_hours(1),
            "SAMPLE_FLUSH",
            &given,
            "below 1h",
        )
    }
}

const PROGRAM: Program = Program {
    name: "sample",
    about: "A sample",
    admin_addr: "127.0.0.1:9100",
    log_filter: "info",
};

fn args(given: &[&str]) -> Vec<OsString> {
    std::iter::once("sample")
        .chain(given.iter().copied())
        .map(OsString::from)
        .collect()
}

#[test]
fn settings_are_flags_with_defaults() {
    let (cli, admin_is_default) = parse::<Sample>(&PROGRAM, args(&["--token", "abc"])).unwrap();
    assert_eq!(cli.stage.flush, Duration::from_secs(5));
    assert!(admin_is_default);
    assert!(!format!("{cli:?}").contains("abc"), "a secret was printed");
    let (cli, admin_is_default) = parse::<Sample>(
        &PROGRAM,
        args(&["--flush", "250ms", "--admin-addr", "0.0.0.0:1"]),
    )
    .unwrap();
    assert_eq!(cli.stage.flush, Duration::from_millis(250));
    assert!(!admin_is_default);
}

#[test]
fn bad_setting_names_the_variable_the_value_and_what_is_accepted() {
    let command = command::<Sample>(&PROGRAM);
    let error = command
        .clone()
        .try_get_matches_from(args(&["--flush", "soon"]))
        .unwrap_err();
    let message = bad_setting(&command, &error).unwrap().to_string();
    for part in ["SAMPLE_FLUSH (--flush)", "soon", "250ms"] {
        assert!(message.contains(part), "{message}");
    }
    assert!(parse::<Sample>(&PROGRAM, args(&["--flush", "soon"])).is_err());
    assert!(
        parse::<Sample>(&PROGRAM, args(&["--flush", "2h"])).is_err(),
        "check() was not called"
    );
}

#[test]
fn healthcheck_needs_no_other_settings() {
    let (cli, _) = parse::<Sample>(&PROGRAM, args(&["--flush", "2h", "healthcheck"])).unwrap();
    assert!(cli.command.is_some());
}
