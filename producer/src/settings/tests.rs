use std::time::Duration;

use clap::{Args, Command, FromArgMatches};
use common::settings::{BadSetting, Settings};

use super::{FleetSettings, ProducerSettings, Rigs, probability, rigs};

fn settings(args: &[&str]) -> Result<FleetSettings, BadSetting> {
    let command = FleetSettings::augment_args(Command::new("producer").no_binary_name(true));
    let matches = command.try_get_matches_from(args).unwrap();
    let mut settings = FleetSettings::from_arg_matches(&matches).unwrap();
    settings.check().map(|()| settings)
}

/// All of the producer's.
fn producer(args: &[&str]) -> Result<ProducerSettings, BadSetting> {
    let command = ProducerSettings::augment_args(Command::new("producer").no_binary_name(true));
    let matches = command.try_get_matches_from(args).unwrap();
    let mut settings = ProducerSettings::from_arg_matches(&matches).unwrap();
    settings.check().map(|()| settings)
}

#[test]
fn default_fleet_has_no_faults() {
    let usual = FleetSettings::of(Rigs::numbered(10));
    assert_eq!(settings(&[]).unwrap(), usual);
}

#[test]
fn fleet_settings_are_refused_with_a_replay() {
    let replay = ["--replay", "/dev/null"];
    let with = |more: &[&str]| producer(&[&replay, more].concat());
    let settings = with(&["--speed", "max", "--count", "5"]).unwrap();
    assert!(
        settings
            .replay
            .recording()
            .is_some_and(|file| file.size.is_none())
    );
    // What is the default anyway may be said.
    assert!(with(&["--rigs", "10", "--interval", "1000ms", "--missing", "0.0"]).is_ok());
    for unused in [
        ["--rigs", "9"],
        ["--interval", "2s"],
        ["--seed", "2"],
        ["--missing", "0.1"],
        ["--duplicated", "0.1"],
        ["--late", "0.1"],
        ["--late-by", "1s"],
        ["--garbled", "0.1"],
        ["--shuffled", "0.1"],
        ["--clock-offset", "1s"],
    ] {
        let said = with(&unused).unwrap_err().to_string();
        let variable = unused[0].trim_start_matches("--").replace('-', "_");
        let named = said.contains(&variable.to_uppercase()) && said.contains("REPLAY");
        assert!(named, "{said}");
    }
    assert!(with(&["--fast"]).unwrap_err().to_string().contains("SPEED"));
    assert!(with(&["--count", "5", "--duration", "5s"]).is_err());

    let said = producer(&["--speed", "2x"]).unwrap_err().to_string();
    assert!(said.contains("SPEED") && said.contains("REPLAY"), "{said}");
    let none = producer(&["--replay", "", "--rigs", "9"]).unwrap();
    assert!(none.replay.recording().is_none());
    for bad in ["/no/such/file", "/"] {
        let said = producer(&["--replay", bad]).unwrap_err().to_string();
        assert!(said.contains("REPLAY") && said.contains(bad), "{said}");
    }
}

#[test]
fn rigs_are_a_count_or_names() {
    assert_eq!(rigs("3").unwrap().0, ["RIG-01", "RIG-02", "RIG-03"]);
    assert_eq!(rigs("100").unwrap().0[99], "RIG-100");
    assert_eq!(rigs("RIG-1, RIG-42").unwrap().0, ["RIG-1", "RIG-42"]);
    for bad in [
        "",
        "0",
        "100001",
        "-1",
        "1.5",
        "a,,b",
        "a,a",
        "a b",
        "a/b",
        &"x".repeat(65),
    ] {
        let said = rigs(bad).unwrap_err();
        assert!(said.contains("RIG-1,RIG-42"), "{bad}: {said}");
    }
}

#[test]
fn probabilities_are_from_0_to_1() {
    assert_eq!(probability("0.25"), Ok(0.25));
    assert_eq!(probability("1"), Ok(1.0));
    for bad in ["", "-0.1", "1.01", "nan", "inf", "often"] {
        assert!(probability(bad).is_err(), "{bad}");
    }
}

#[test]
fn the_end_is_a_count_or_a_duration() {
    let said = settings(&["--count", "5", "--duration", "5s"])
        .unwrap_err()
        .to_string();
    assert!(
        said.contains("DURATION") && said.contains("COUNT"),
        "{said}"
    );
    assert!(
        settings(&["--interval", "0.0001"])
            .unwrap_err()
            .to_string()
            .contains("INTERVAL")
    );
}

#[test]
fn fast_run_must_not_exceed_the_age_limit() {
    let most = 28 * 86_400 * 60;
    let text = most.to_string();
    assert_eq!(
        settings(&["--fast", "--count", &text]).unwrap().rounds(),
        Some(28 * 86_400)
    );
    let more = (most + 1).to_string();
    let said = settings(&["--fast", "--count", &more])
        .unwrap_err()
        .to_string();
    assert!(said.contains("COUNT") && said.contains(&text), "{said}");
    assert!(
        settings(&["--count", &more]).is_ok(),
        "in real time there is time for them"
    );
    assert!(settings(&["--fast", "--count", &more, "--interval", "100ms"]).is_ok());
}

#[test]
fn lateness_is_in_whole_rounds() {
    let late = |by: &str| {
        settings(&["--interval", "2s", "--late-by", by])
            .unwrap()
            .late_rounds()
    };
    assert_eq!(
        [late("0"), late("2s"), late("3s"), late("1m")],
        [1, 1, 2, 30]
    );
    assert_eq!(settings(&[]).unwrap().late_by, Duration::from_secs(30));
}
