//! The directory of reports, locked by one process.

use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use model::Timestamp;

use crate::lock::{Lock, LockError};

/// The lock file, which holds the process id.
const LOCK_FILE: &str = "report.lock";

/// A directory that this process holds locked, until this is dropped or the process ends.
#[derive(Debug)]
pub(super) struct ReportDir {
    path: PathBuf,
    _lock: Lock,
}

impl ReportDir {
    /// Creates the directory if needed, and locks it.
    pub(super) fn hold(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        fs::create_dir_all(path).with_context(|| format!("cannot create {shown}"))?;
        let lock = Lock::hold(&path.join(LOCK_FILE)).map_err(|error| match error {
            LockError::Held(holder) => anyhow::anyhow!(
                "process {holder} writes reports to {shown}: stop that one, or give another --out"
            ),
            LockError::Unusable(error) => {
                anyhow::Error::new(error).context(format!("cannot write to {shown}"))
            }
        })?;
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// The time of the newest report, to the second.
    pub(super) fn newest(&self) -> anyhow::Result<Option<Timestamp>> {
        let cannot = || format!("cannot read {}", self.path.display());
        let mut newest = None;
        for entry in fs::read_dir(&self.path).with_context(cannot)? {
            let name = entry.with_context(cannot)?.file_name();
            newest = newest.max(name.to_str().and_then(time_of));
        }
        Ok(newest)
    }

    /// Writes the documents of a report with their extensions, and returns their paths. The last one says that the
    /// report is complete, so it is the JSON.
    pub(super) fn write(
        &self,
        time: Timestamp,
        html: &str,
        csv: &str,
        json: &str,
    ) -> anyhow::Result<[PathBuf; 3]> {
        let stem = format!("report_{}", compact(time));
        let paths = ["html", "csv", "json"].map(|kind| self.path.join(format!("{stem}.{kind}")));
        for (path, content) in paths.iter().zip([html, csv, json]) {
            write_whole(path, |out| io::Write::write_all(out, content.as_bytes()))?;
        }
        Ok(paths)
    }
}

/// The time of a complete report, if the name is that of its JSON.
fn time_of(name: &str) -> Option<Timestamp> {
    let compact_form = name.strip_prefix("report_")?.strip_suffix(".json")?;
    let part = |from: usize, to: usize| compact_form.get(from..to);
    let [year, month, day] = [part(0, 4)?, part(4, 6)?, part(6, 8)?];
    let [hour, minute, second] = [part(9, 11)?, part(11, 13)?, part(13, 15)?];
    let time = format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z");
    let time = Timestamp::parse(&time).ok()?;
    // Only what this program writes.
    (compact(time) == compact_form).then_some(time)
}

/// The time in a file's name: `20260105T120000Z`.
fn compact(time: Timestamp) -> String {
    let time = time.to_string();
    let seconds = time.get(..19).unwrap_or(&time);
    let kept = seconds.chars().filter(char::is_ascii_alphanumeric);
    kept.chain(['Z']).collect()
}

/// Writes a file beside its place first, so that nobody reads half of it.
pub(super) fn write_whole(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&mut File>) -> io::Result<()>,
) -> anyhow::Result<()> {
    let directory = path.parent().filter(|it| !it.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    let cannot = || format!("cannot write {}", path.display());
    let mut file = tempfile::Builder::new()
        .prefix(".report")
        .permissions(fs::Permissions::from_mode(0o644))
        .tempfile_in(directory)
        .with_context(cannot)?;
    let mut out = BufWriter::with_capacity(1 << 20, file.as_file_mut());
    write(&mut out).with_context(cannot)?;
    io::Write::flush(&mut out).with_context(cannot)?;
    drop(out);
    file.persist(path).with_context(cannot)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use model::Timestamp;
    use tempfile::TempDir;

    use super::{ReportDir, compact, time_of};

    #[test]
    fn times_in_names_have_no_colons_and_are_read_again() {
        let time = Timestamp::parse("2026-01-05T12:00:01.25Z").unwrap();
        assert_eq!(compact(time), "20260105T120001Z");
        let whole = time.tick(Duration::from_secs(1));
        assert_eq!(time_of("report_20260105T120001Z.json"), Some(whole));
        for other in [
            "report_20260105T120001Z.html",
            "report_20260105 120001Z.json",
            "report_20260105T120001.json",
            "report_20261305T120001Z.json",
            "report_2026010ä120001Z.json",
            "report_.json",
            "20260105T120001Z.json",
        ] {
            assert_eq!(time_of(other), None, "{other}");
        }
    }

    #[test]
    fn newest_report_is_the_last_complete_one() {
        let dir = TempDir::new().unwrap();
        let reports = ReportDir::hold(dir.path()).unwrap();
        assert_eq!(reports.newest().unwrap(), None);
        let times = ["2026-01-05T13:00:00Z", "2026-01-05T12:00:00Z"];
        let times = times.map(|time| Timestamp::parse(time).unwrap());
        for time in times {
            let paths = reports.write(time, "page", "a,b", "{}").unwrap();
            let read = paths.map(|path| fs::read_to_string(path).unwrap());
            assert_eq!(read, ["page", "a,b", "{}"]);
        }
        // One that was broken off.
        fs::write(dir.path().join("report_20260105T140000Z.html"), "").unwrap();
        assert_eq!(reports.newest().unwrap(), Some(times[0]));
    }

    #[test]
    fn second_holder_is_refused_with_the_first_ones_process_id() {
        let dir = TempDir::new().unwrap();
        let held = ReportDir::hold(dir.path()).unwrap();
        let refused = ReportDir::hold(dir.path()).unwrap_err().to_string();
        let id = std::process::id().to_string();
        assert!(
            refused.contains(&id) && refused.contains("--out"),
            "{refused}"
        );
        drop(held);
        ReportDir::hold(dir.path()).unwrap();
    }
}
