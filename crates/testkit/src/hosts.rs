//! Host names whose addresses change.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::IpAddr;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use tempfile::TempDir;

/// The file's constant size, so that no reader finds the rest of an old line behind new ones.
const SIZE: usize = 4096;

/// A separate `/etc/hosts` for processes that run in its [`wrapper`](Self::wrapper).
#[derive(Debug)]
pub struct HostsFile {
    dir: TempDir,
    names: Mutex<BTreeMap<String, IpAddr>>,
}

impl HostsFile {
    /// A file with `localhost`. `None` without root's permission to mount; the caller then reports what it
    /// skips.
    #[must_use]
    pub fn new() -> Option<Self> {
        let dir = TempDir::with_prefix("hosts-").expect("a temporary directory");
        let hosts = Self {
            dir,
            names: Mutex::default(),
        };
        fs::write(hosts.path(), "").expect("a hosts file");
        hosts.set("localhost", IpAddr::from([127, 0, 0, 1]));
        let mut wrapper = hosts.wrapper();
        wrapper.push("true".into());
        let mut trial = Command::new(&wrapper[0]);
        trial.args(&wrapper[1..]).stderr(Stdio::null());
        let permitted = trial.status().is_ok_and(|status| status.success());
        permitted.then_some(hosts)
    }

    /// Sets the address of a name, also for running processes.
    pub fn set(&self, name: &str, ip: IpAddr) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.insert(name.to_owned(), ip);
        self.write(&names);
    }

    /// Removes a name.
    pub fn forget(&self, name: &str) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.remove(name);
        self.write(&names);
    }

    /// The wrapper command for [`Launch::wrapper`](crate::Launch::wrapper).
    #[must_use]
    pub fn wrapper(&self) -> Vec<String> {
        let script = r#"mount --bind "$0" /etc/hosts && exec "$@""#;
        let path = self.path().display().to_string();
        ["unshare", "-m", "sh", "-c", script, &path]
            .map(str::to_owned)
            .to_vec()
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("hosts")
    }

    /// Writes in place: a bind mount shows the original file, not another of the same name.
    fn write(&self, names: &BTreeMap<String, IpAddr>) {
        let lines = names.iter().map(|(name, ip)| format!("{ip} {name}\n"));
        let text: String = lines.collect();
        assert!(text.len() <= SIZE, "too many names");
        let text = format!("{text:\n<SIZE$}");
        let file = File::options().write(true).open(self.path());
        let file = file.expect("the hosts file");
        file.write_all_at(text.as_bytes(), 0).expect("its content");
    }
}
