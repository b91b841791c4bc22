//! The unit of `examples/systemd`.

use std::fs;
use std::path::Path;
use std::process::Command;

use testkit::stage_binary;

/// Most exposure of the service, in tenths of what `systemd-analyze security` prints.
const MOST_EXPOSURE: &str = "15";

fn example(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/systemd");
    fs::read_to_string(path.join(name)).unwrap()
}

#[test]
#[expect(clippy::print_stdout, reason = "says that nothing was tested")]
fn unit_is_valid_and_sandboxed() {
    if Command::new("systemd-analyze")
        .arg("--version")
        .output()
        .is_err()
    {
        println!("NOT tested: examples/systemd, since there is no systemd-analyze");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let unit = dir.path().join("rigline.service");
    let binary = stage_binary("rigline").display().to_string();
    let text = example("rigline.service");
    let installed = "ExecStart=/usr/local/bin/rigline ";
    assert!(text.contains(installed));
    fs::write(
        &unit,
        text.replace(installed, &format!("ExecStart={binary} ")),
    )
    .unwrap();
    for args in [
        &["verify"][..],
        &["security", "--offline=true", "--threshold", MOST_EXPOSURE],
    ] {
        let mut command = Command::new("systemd-analyze");
        let output = command.args(args).arg(&unit).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {output:?}");
        assert!(!said.contains("rigline.service:"), "{args:?}: {said}");
    }
}

#[test]
fn settings_of_the_service_exist() {
    let help = Command::new(stage_binary("rigline"))
        .args(["up", "--help"])
        .output()
        .unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let variables = example("rigline.env");
    let variables = variables.lines().filter(|line| !line.starts_with('#'));
    let names: Vec<_> = variables
        .map(|line| line.split_once('=').unwrap().0)
        .collect();
    assert!(names.len() >= 4, "{names:?}");
    for name in names {
        assert!(help.contains(&format!("[env: {name}=")), "{name}");
    }
}
