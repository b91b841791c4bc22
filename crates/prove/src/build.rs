//! Builds the stages with fault points, from this tree or from a copy with a broken rule.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, ensure};
use testkit::{cargo, target_dir, workspace_dir};

const BINARY: &str = "fault-stage";

/// The binary of all stages with fault points, built once from this tree.
#[must_use]
pub fn fault_stage() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT
        .get_or_init(|| build(&workspace_dir(), BINARY).expect("the stages with fault points"))
        .clone()
}

/// Builds the stages of the workspace at `tree` with fault points, and returns a copy of the binary with
/// this name. Crates from the registry are built once for all trees.
pub fn build(tree: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let mut build = cargo();
    // Of the whole workspace and with the features of the other builds, so that crates from the registry have
    // the same features, too.
    let features = std::env::var("FEATURES").unwrap_or_default();
    build
        .args(["build", "--quiet", "--workspace", "--bin", BINARY])
        .args(["--features", &features])
        .current_dir(tree)
        .env("CARGO_TARGET_DIR", target_dir())
        .env(
            "RUSTC_WORKSPACE_WRAPPER",
            tree.join("crates/prove/rustc-with-faults"),
        );
    let profile = if cfg!(debug_assertions) {
        "debug"
    } else {
        build.arg("--release");
        "release"
    };
    let run = build.output().context("cannot start cargo")?;
    let log = String::from_utf8_lossy(&run.stderr);
    ensure!(
        run.status.success(),
        "cargo build in {}: {log}",
        tree.display()
    );
    let dir = target_dir().join("fault-stages").join(profile);
    fs::create_dir_all(&dir)?;
    // Renamed into place, since a copy of an earlier build may be running.
    let (copy, new) = (
        dir.join(name),
        dir.join(format!("{name}.{}", std::process::id())),
    );
    fs::copy(target_dir().join(profile).join(BINARY), &new)
        .and_then(|_| fs::rename(&new, &copy))
        .with_context(|| format!("cannot write {}", copy.display()))?;
    Ok(copy)
}
