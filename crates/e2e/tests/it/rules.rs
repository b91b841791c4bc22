//! Checks manifests and sources against the dependency rules and size limits of ARCHITECTURE.md.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// Crates that plain data doesn't need: I/O, settings, metrics.
const NOT_IN_MODEL: [&str; 6] = ["clap", "axum", "metrics", "tokio", "tracing", "anyhow"];
/// Client crates of brokers, queues and stores.
const VENDORS: [&str; 8] = [
    "rumqttc",
    "redis",
    "rusqlite",
    "influxdb2",
    "krafka",
    "sqlx",
    "mongodb",
    "tokio_postgres",
];
/// The crates that may use a client crate.
const VENDOR_CRATES: [&str; 6] = [
    "transport",
    "sqlite",
    "redis-client",
    "kafka",
    "queue",
    "store",
];
const STAGES: [&str; 4] = ["producer", "ingester", "transformer", "sink"];
/// The HTTP API, which stages don't know.
const API: &str = "api";
/// The binary that combines all of them.
const COMBINED: &str = "rigline";
/// Computes reports, from numbers alone.
const REPORT: &str = "report";
/// Crates that only tests use; they may depend on everything.
const TEST_CRATES: [&str; 4] = ["testkit", "e2e", "prove", "fuzz"];
/// The maximum number of lines of a file.
const MAX_LINES: usize = 500;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

/// Each crate's name and folder.
fn crates() -> BTreeMap<String, PathBuf> {
    let inside = fs::read_dir(root().join("crates"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let outside = STAGES.into_iter().chain([API, REPORT, COMBINED]);
    let all = inside.chain(outside.map(|name| root().join(name)));
    all.filter(|dir| dir.join("Cargo.toml").is_file())
        .map(|dir| (dir.file_name().unwrap().to_str().unwrap().to_owned(), dir))
        .collect()
}

/// The names under `[dependencies]` of a crate.
fn dependencies(dir: &Path) -> Vec<String> {
    let manifest = fs::read_to_string(dir.join("Cargo.toml")).unwrap();
    let section = manifest
        .split("\n[")
        .find(|section| section.starts_with("dependencies]"));
    let lines = section.unwrap_or_default().lines().skip(1);
    lines
        .filter_map(|line| line.split(['.', '=', ' ']).next())
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

/// A Rust file of the workspace.
struct Source {
    /// The crate that it belongs to.
    krate: String,
    path: PathBuf,
    text: String,
}

/// All Rust files, read once for all tests.
static SOURCES: LazyLock<Vec<Source>> = LazyLock::new(|| {
    let mut sources = Vec::new();
    for (name, dir) in crates() {
        read_sources(&name, &dir, &mut sources);
    }
    sources
});

fn read_sources(krate: &str, dir: &Path, sources: &mut Vec<Source>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_sources(krate, &path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push(Source {
                krate: krate.to_owned(),
                text: fs::read_to_string(&path).unwrap(),
                path,
            });
        }
    }
}

fn is_test(path: &Path) -> bool {
    let parts: Vec<_> = path
        .components()
        .map(|part| part.as_os_str().to_string_lossy())
        .collect();
    path.ends_with("tests.rs")
        || parts
            .iter()
            .any(|part| part == "tests" || part == "examples")
}

#[test]
fn dependencies_point_one_way() {
    let crates = crates();
    for (name, dir) in crates
        .iter()
        .filter(|(name, _)| !TEST_CRATES.contains(&name.as_str()))
    {
        let allowed: &[&str] = match name.as_str() {
            "model" | "sqlite" | "protobuf" | REPORT => &[],
            "common" => &["model"],
            "queue" => &["model", "common", "sqlite", "redis-client"],
            "store" => &[
                "model",
                "common",
                "sqlite",
                "redis-client",
                "kafka",
                "protobuf",
            ],
            "http-server" => &["model", "common"],
            "transport" => &["model", "common", "redis-client", "kafka", "http-server"],
            vendor if VENDOR_CRATES.contains(&vendor) => &["model", "common"],
            part if part == API || STAGES.contains(&part) => &[
                "model",
                "common",
                "http-server",
                "transport",
                "queue",
                "store",
                "protobuf",
            ],
            COMBINED => &[
                "model",
                "common",
                "http-server",
                "transport",
                "queue",
                "store",
                "producer",
                "ingester",
                "transformer",
                "sink",
                API,
                REPORT,
            ],
            unknown => panic!("{unknown} isn't in ARCHITECTURE.md"),
        };
        for dependency in dependencies(dir)
            .iter()
            .filter(|name| crates.contains_key(*name))
        {
            assert!(
                allowed.contains(&dependency.as_str()),
                "{name} must not use {dependency}"
            );
        }
    }
}

#[test]
fn model_is_plain_data() {
    for dependency in dependencies(&root().join("crates/model")) {
        assert!(!NOT_IN_MODEL.contains(&dependency.as_str()), "{dependency}");
    }
}

#[test]
fn only_the_client_crates_name_vendors() {
    for (name, dir) in crates() {
        if VENDOR_CRATES.contains(&name.as_str()) {
            continue;
        }
        for dependency in dependencies(&dir) {
            assert!(
                !VENDORS.contains(&dependency.as_str()),
                "{name} names {dependency}"
            );
        }
    }
    for source in SOURCES.iter() {
        if VENDOR_CRATES.contains(&source.krate.as_str()) {
            continue;
        }
        let imports = VENDORS.into_iter().filter(|vendor| {
            let import = format!("use {vendor}::");
            source.text.contains(&import)
        });
        let code = source.text.lines();
        let code = code.filter(|line| !line.trim_start().starts_with("//"));
        let words = code.flat_map(|line| {
            line.split(|c: char| !(c.is_alphanumeric() || "_:".contains(c)))
                .filter_map(|word| word.split_once("::"))
        });
        let paths = words.filter_map(|(first, _)| VENDORS.into_iter().find(|name| *name == first));
        for vendor in imports.chain(paths) {
            assert!(
                vendor == "redis" && has_own_module(&source.text),
                "{} names {vendor}",
                source.path.display()
            );
        }
    }
}

/// Whether a source means the modules `queue::redis` or `testkit::redis`, not the client crate.
fn has_own_module(source: &str) -> bool {
    ["queue::redis", "mod redis;", "crate::redis"]
        .iter()
        .any(|own| source.contains(own))
}

#[test]
fn only_the_clock_reads_the_wall_clock() {
    let clock = root().join("crates/common/src/clock.rs");
    for Source { path, text, .. } in SOURCES.iter() {
        for call in ["Utc::now", "Local::now", "SystemTime::now"] {
            // In two parts, so that this test doesn't find itself.
            let reads = text.contains(&format!("{call}{}", "("));
            assert!(
                !reads || *path == clock,
                "{} reads the wall clock",
                path.display()
            );
        }
    }
}

#[test]
fn files_are_short() {
    for Source { path, text, .. } in SOURCES.iter() {
        let lines = text.lines().count();
        let most = if is_test(path) {
            MAX_LINES * 8 / 5
        } else {
            MAX_LINES
        };
        assert!(lines <= most, "{} has {lines} lines", path.display());
        assert!(!path.ends_with("mod.rs"), "{}", path.display());
    }
}

/// The longest line of prose in a Markdown file, in characters. Tables and code are exempt.
const MAX_COLUMNS: usize = 120;

#[test]
fn prose_lines_are_short() {
    let mut pages = vec![root().join("tests/compose/README.md")];
    for dir in ["", "docs", "docs/adr"] {
        let entries = fs::read_dir(root().join(dir)).unwrap();
        pages.extend(entries.map(|entry| entry.unwrap().path()));
    }
    pages.retain(|path| path.extension().is_some_and(|ending| ending == "md"));
    assert!(pages.len() > 15, "{pages:?}");
    for path in pages {
        let text = fs::read_to_string(&path).unwrap();
        let mut is_code = false;
        for (number, line) in (1..).zip(text.lines()) {
            if line.trim_start().starts_with("```") {
                is_code = !is_code;
            } else if !is_code && !line.starts_with('|') {
                let length = line.chars().count();
                let path = path.display();
                assert!(
                    length <= MAX_COLUMNS,
                    "{path}:{number} has {length} characters"
                );
            }
        }
    }
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    assert!(readme.lines().count() <= 200, "README is too long");
}

/// Each package and its features, of a build of the workspace that needs these kinds of dependencies.
fn packages_and_features(edges: &str) -> BTreeSet<String> {
    let run = Command::new(env!("CARGO"))
        .args(["tree", "--workspace", "--locked", "--no-dedupe"])
        .args(["--prefix", "none", "--format", "{p} {f}", "--edges", edges])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(run.status.success(), "{run:?}");
    let tree = String::from_utf8(run.stdout).unwrap();
    tree.lines().map(str::to_owned).collect()
}

/// A feature that only tests ask for makes Cargo compile that crate twice, and all that depend on it, which takes
/// minutes.
#[test]
fn tests_ask_for_no_features_that_programs_lack() {
    let programs = packages_and_features("normal,build");
    assert!(programs.len() > 100, "{programs:?}");
    let tests = packages_and_features("normal,build,dev");
    let other: Vec<_> = programs.difference(&tests).collect();
    assert!(other.is_empty(), "with other features in tests: {other:?}");
}
