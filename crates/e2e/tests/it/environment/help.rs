//! Parses the settings in a program's `--help`.

use std::process::Command;

use testkit::stage_binary;

/// A setting, as `--help` shows it.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The environment variable.
    pub name: String,
    /// The description.
    pub text: String,
    /// The default; `None` if there is none, or if the description has it.
    pub default: Option<String>,
    /// The heading of its section.
    pub heading: String,
}

/// The settings of a program that have an environment variable, in the order of its help.
pub fn settings(program: &str) -> Vec<Setting> {
    let help = text(program);
    let mut heading = String::new();
    let mut settings = Vec::new();
    let mut block: Vec<&str> = Vec::new();
    for line in help.lines().chain(["End:"]) {
        let is_heading = !line.starts_with(' ') && line.ends_with(':');
        let is_flag = line.trim_start().starts_with('-')
            && line.starts_with("  ")
            && !line.starts_with("        ");
        if is_heading || is_flag {
            settings.extend(parse(&block, &heading));
            block.clear();
        }
        if is_heading {
            line.trim_end_matches(':').clone_into(&mut heading);
        } else {
            block.push(line.trim());
        }
    }
    assert!(settings.len() > 3, "{program}: {help}");
    settings
}

fn text(program: &str) -> String {
    let mut command = match program {
        "up" | "init" | "api" | "feed" => {
            let mut rigline = Command::new(stage_binary("rigline"));
            rigline.arg(program);
            rigline
        }
        stage => Command::new(stage_binary(stage)),
    };
    let output = command.env_clear().arg("--help").output().unwrap();
    assert!(output.status.success(), "{program}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Parses a flag's lines: the flag, its description, and clap's additions in brackets. In a short help
/// the description begins beside the flag, in a long one below.
fn parse(block: &[&str], heading: &str) -> Option<Setting> {
    let (flag, rest) = block.split_first()?;
    let beside = flag.split_once("  ").map_or("", |(_, text)| text);
    let words = [&[beside], rest].concat();
    // The possible values are lines of a list.
    let (said, choices): (Vec<&str>, Vec<&str>) = words
        .into_iter()
        .filter(|line| !line.is_empty() && *line != "Possible values:")
        .partition(|line| !line.starts_with("- "));
    let said = said.join(" ");
    let (text, bracketed) = said.split_once("[env: ")?;
    let (variable, rest) = bracketed.split_once(']')?;
    let default = rest
        .split_once("[default: ")
        .and_then(|(_, default)| default.split_once(']'));
    let choices: Vec<&str> = choices
        .iter()
        .filter_map(|line| line.trim_start_matches("- ").split_once(':'))
        .map(|(name, _)| name)
        .collect();
    let mut text = text.trim().to_owned();
    if !choices.is_empty() {
        text = format!("{text}: {}", choices.join(", "));
    }
    // A flag without a value; its variable has one.
    let is_switch = !flag.contains('<');
    let default = default.map(|(default, _)| default.to_owned());
    Some(Setting {
        name: variable.trim_end_matches('=').to_owned(),
        text,
        default: default.or_else(|| is_switch.then(|| "false".to_owned())),
        heading: heading.to_owned(),
    })
}
