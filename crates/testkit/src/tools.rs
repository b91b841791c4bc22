//! Finds Cargo, its directories and the servers' programs.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The directory that cargo builds into.
#[must_use]
pub fn target_dir() -> PathBuf {
    let test = env::current_exe().expect("the path of the running test");
    test.ancestors()
        // Cargo writes both into a target directory that it creates.
        .find(|dir| {
            let marks = ["CACHEDIR.TAG", ".rustc_info.json"];
            marks.iter().any(|mark| dir.join(mark).is_file())
        })
        .or_else(|| test.ancestors().nth(3))
        .expect("tests run from within the target directory")
        .to_owned()
}

/// The directory of the source tree that holds the workspace's `Cargo.toml`.
#[must_use]
pub fn workspace_dir() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors()
        .nth(2)
        .expect("this crate is two levels down")
        .to_owned()
}

/// Cargo, from a test or outside of one. What it tells a test about its package is left out: build scripts that read it
/// would run again, and with them everything that uses TLS would be compiled again.
#[must_use]
pub fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_MANIFEST_") || text.starts_with("CARGO_PKG_") {
            cargo.env_remove(&name);
        }
    }
    cargo
}

/// A command that runs one of the servers' programs (`mosquitto`, `mosquitto_pub`,
/// `mosquitto_sub`, `redis-server`, `redis-cli`, `promtool`), installed or unpacked.
#[must_use]
pub fn tool(name: &str) -> Command {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    if let Some(found) = in_one_of(system, name) {
        return Command::new(found);
    }
    let root = unpacked();
    let unpacked = ["usr/bin", "usr/sbin"].map(|dir| root.join(dir));
    let Some(found) = in_one_of(unpacked, name) else {
        panic!(
            "no program {name}, neither installed nor in {}",
            root.display()
        );
    };
    let mut command = Command::new(found);
    command.env("LD_LIBRARY_PATH", libraries(root));
    command
}

/// A command that runs `influxd` or `influx` of `InfluxDB` 2.
pub(crate) fn influxdb_tool(name: &str) -> Command {
    Command::new(unpacked().with_file_name("influxdb").join(name))
}

/// The directory of Kafka's libraries.
pub(crate) fn kafka_libraries() -> PathBuf {
    unpacked().with_file_name("kafka").join("libs")
}

/// A command that runs the server that speaks MongoDB's protocol.
pub(crate) fn mongodb_tool() -> Command {
    Command::new(unpacked().with_file_name("mongodb").join("mongodb"))
}

/// A command that runs one of PostgreSQL's programs, installed or unpacked. Debian has them in a directory for each
/// version.
pub(crate) fn postgres_tool(name: &str) -> Command {
    let in_root = |root: &Path| {
        let versions = fs::read_dir(root.join("usr/lib/postgresql"));
        let versions = versions.into_iter().flatten().flatten();
        in_one_of(versions.map(|version| version.path().join("bin")), name)
    };
    if let Some(found) = in_root(Path::new("/")) {
        return Command::new(found);
    }
    let root = unpacked();
    let Some(found) = in_root(root) else {
        panic!(
            "no program {name} of PostgreSQL, neither installed nor in {}",
            root.display()
        );
    };
    let mut command = Command::new(found);
    command.env("LD_LIBRARY_PATH", libraries(root));
    command
}

/// A command that runs Python with the clients `paho-mqtt` and `confluent-kafka`.
#[must_use]
pub fn python_with_clients() -> Command {
    let modules = unpacked().with_file_name("python");
    assert!(
        modules.is_dir(),
        "no clients in {}: install python3 with pip, and run scripts/test-servers.sh {} to see \
         what is wrong",
        modules.display(),
        modules.with_file_name("").display()
    );
    let mut command = Command::new("python3");
    command.env("PYTHONPATH", modules);
    command
}

/// The path of a library in a `…-linux-gnu` directory, installed or unpacked.
pub(crate) fn library(name: &str) -> PathBuf {
    let in_root = |root: &Path| {
        let dirs = triples(root).into_iter();
        dirs.map(|dir| dir.join(name)).find(|path| path.is_file())
    };
    in_root(Path::new("/"))
        .or_else(|| in_root(unpacked()))
        .unwrap_or_else(|| panic!("no library {name}, neither installed nor unpacked"))
}

fn in_one_of(dirs: impl IntoIterator<Item = PathBuf>, name: &str) -> Option<PathBuf> {
    dirs.into_iter()
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
}

/// The `…-linux-gnu` directories below `root`, for the dynamic linker.
fn libraries(root: &Path) -> std::ffi::OsString {
    env::join_paths(triples(root)).expect("a path without a colon")
}

fn triples(root: &Path) -> Vec<PathBuf> {
    let dirs = ["usr/lib", "lib"]
        .into_iter()
        .flat_map(|lib| fs::read_dir(root.join(lib)));
    dirs.flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().contains("-linux-gnu"))
        })
        .collect()
}

/// Unpacks the servers once in this process. The script waits for runs of other processes.
fn unpacked() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let dir = target_dir().join("test-servers");
        let script = workspace_dir().join("scripts/test-servers.sh");
        // Shows its progress: the first build of InfluxDB takes minutes.
        let run = Command::new(&script).arg(&dir).status();
        let run = run.expect("scripts/test-servers.sh");
        assert!(run.success(), "{} failed", script.display());
        dir.join("root")
    })
}
