//! The rules that the guarantee depends on, each with a patch that breaks it and the scenario that has to
//! detect that.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use e2e::Deployment;
use testkit::{target_dir, workspace_dir};

use crate::build::build;

/// A rule and how it is broken.
#[derive(Debug, Clone, Copy)]
pub struct Break {
    /// The rule's name; the patch is `crates/prove/breaks/NAME.patch`.
    pub name: &'static str,
    /// The scenario that detects it on servers.
    pub on_servers: &'static str,
    /// The scenario that detects it in the single process, if the rule applies there.
    pub on_one_process: Option<&'static str>,
}

const fn on_servers(name: &'static str, scenario: &'static str) -> Break {
    Break {
        name,
        on_servers: scenario,
        on_one_process: None,
    }
}

const fn on_both(name: &'static str, scenario: &'static str) -> Break {
    Break {
        name,
        on_servers: scenario,
        on_one_process: Some(scenario),
    }
}

/// All rules, in the order in which they apply to a reading. Some concern only Redis: calls of the single
/// process's files always return a result.
pub const ALL: [Break; 14] = [
    on_both("acknowledge-after-append", "kills"),
    on_servers("acknowledge-own-connection", "new-session"),
    on_servers("position-with-append", "kafka-source"),
    on_servers("check-token", "stalls"),
    on_servers("check-number", "late-commits"),
    on_servers("ask-before-resend", "lost-replies"),
    on_servers("trim-with-commit", "kills"),
    on_both("write-before-commit", "kills"),
    on_servers("note-before-write", "kafka"),
    on_both("wait-when-full", "overload"),
    on_both("remember-emitted", "kills"),
    on_servers("flush-at-list-end", "backlog"),
    on_servers("subscribe-again", "broker-emptied"),
    on_servers("lease-by-queue-clock", "standby-clock"),
];

impl Break {
    /// The scenario that has to detect it, if the rule applies to this deployment.
    #[must_use]
    pub const fn scenario(&self, deployment: Deployment) -> Option<&'static str> {
        match deployment {
            Deployment::Servers => Some(self.on_servers),
            Deployment::OneProcess => self.on_one_process,
        }
    }

    /// The path of the patch.
    #[must_use]
    pub fn patch(&self) -> PathBuf {
        let breaks = workspace_dir().join("crates/prove/breaks");
        breaks.join(format!("{}.patch", self.name))
    }

    /// Builds the stages with this rule broken; returns the binary.
    pub fn build(&self) -> anyhow::Result<PathBuf> {
        let tree = target_dir().join("broken-tree");
        copy_changed(&workspace_dir(), &tree).context("cannot copy the tree")?;
        let run = Command::new("git")
            .arg("apply")
            .arg(self.patch())
            .current_dir(&tree)
            // The copy doesn't belong to the repository around it.
            .env("GIT_CEILING_DIRECTORIES", target_dir())
            .output()
            .context("cannot start git")?;
        let log = String::from_utf8_lossy(&run.stderr);
        ensure!(run.status.success(), "git apply {}: {log}", self.name);
        build(&tree, &format!("fault-stage-without-{}", self.name))
    }
}

/// Makes `to` equal to `from` without hidden and built files. Equal files keep their times, so that cargo
/// builds only what has changed.
fn copy_changed(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_string_lossy().starts_with('.') || name == "target" || name == "rigline-data" {
            continue;
        }
        let (source, copy) = (entry.path(), to.join(&name));
        if entry.file_type()?.is_dir() {
            copy_changed(&source, &copy)?;
        } else if fs::read(&copy).ok() != Some(fs::read(&source)?) {
            fs::copy(&source, &copy)?;
        }
    }
    for entry in fs::read_dir(to)? {
        let entry = entry?;
        if !from.join(entry.file_name()).exists() {
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(path)?;
            } else {
                fs::remove_file(path)?;
            }
        }
    }
    Ok(())
}
