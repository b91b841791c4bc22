//! The pipelines that a process runs: built-in ones and those of files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use model::pipeline::{PipelineError, PipelineFile, only_adds};

use crate::settings::{BadSetting, Settings, not_empty};

/// The name of the pipeline whose settings are variables.
pub const RIGS: &str = "rigs";
/// The built-in pipelines: names and files. That of [`RIGS`] only describes it.
const BUILT_IN: [(&str, &str); 7] = [
    (RIGS, include_str!("../../../pipelines/rigs.toml")),
    ("colors", include_str!("../../../pipelines/colors.toml")),
    (
        "facilities",
        include_str!("../../../pipelines/facilities.toml"),
    ),
    (
        "facilities-store",
        include_str!("../../../pipelines/facilities-store.toml"),
    ),
    ("sensors", include_str!("../../../pipelines/sensors.toml")),
    ("metrics", include_str!("../../../pipelines/metrics.toml")),
    (
        "workorders",
        include_str!("../../../pipelines/workorders.toml"),
    ),
];

/// The sets of descriptors of built-in pipelines, by the names that their files have for them.
const DESCRIPTORS: [(&str, &[u8]); 1] = [(
    "compacted_reading.binpb",
    include_bytes!("../../../pipelines/compacted_reading.binpb"),
)];

/// The pipelines to run.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Pipelines")]
pub struct PipelineSettings {
    /// Names of built-in pipelines, paths of pipeline files, or directories of them, with commas in
    /// between; `rigline pipelines list` shows the built-in ones
    #[arg(long, env = "PIPELINES", default_value = RIGS, value_name = "NAMES", value_parser = not_empty)]
    pub pipelines: String,
    /// What was read.
    #[arg(skip)]
    loaded: Vec<Pipeline>,
}

/// A pipeline.
#[derive(Debug, Clone)]
pub enum Pipeline {
    /// The built-in pipeline `rigs`, whose settings are variables; with its file, if that adds alerts or units.
    Rigs(Option<Arc<PipelineFile>>),
    /// A pipeline that a file describes.
    File(Arc<PipelineFile>),
}

/// Why a pipeline file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It can't be read.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A set of descriptors that it names isn't beside it, but a built-in pipeline has one of this name.
    #[error(
        "cannot read {}: {error}; `rigline pipelines show {name} > {}` writes the one of that name that is built in",
        path.display(), path.display()
    )]
    NoDescriptors {
        /// Where it should be.
        path: PathBuf,
        /// Its name.
        name: String,
        /// Why it can't be read.
        error: std::io::Error,
    },
    /// Its content can't be used.
    #[error("{0}")]
    Unusable(#[from] PipelineError),
}

impl Pipeline {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Rigs(_) => RIGS,
            Self::File(file) => &file.name,
        }
    }

    /// Its file, if it has one; that of `rigs` only adds alerts and units.
    #[must_use]
    pub fn file(&self) -> Option<&PipelineFile> {
        match self {
            Self::Rigs(file) => file.as_deref(),
            Self::File(file) => Some(file),
        }
    }
}

impl PipelineSettings {
    /// The pipelines, once they are checked: at least one, no name twice.
    #[must_use]
    pub fn all(&self) -> &[Pipeline] {
        &self.loaded
    }

    /// Those that can be simulated.
    #[must_use]
    pub fn simulated(&self) -> Self {
        let mut simulated = self.clone();
        simulated.loaded.retain(|pipeline| match pipeline {
            Pipeline::Rigs(_) => true,
            Pipeline::File(file) => file.simulate.is_some(),
        });
        simulated
    }

    /// The pipeline of this name, once they are checked. Built-in ones are always found.
    pub fn find(&self, name: &str) -> Result<Option<Pipeline>, FileError> {
        if let Some(found) = self.loaded.iter().find(|pipeline| pipeline.name() == name) {
            return Ok(Some(found.clone()));
        }
        let file = built_in(name).transpose()?;
        Ok(file.map(|file| Pipeline::File(Arc::new(file))))
    }

    /// Only the pipeline `rigs`.
    #[must_use]
    pub fn rigs() -> Self {
        Self {
            pipelines: RIGS.to_owned(),
            loaded: vec![Pipeline::Rigs(None)],
        }
    }

    fn bad(&self, accepted: &str) -> BadSetting {
        BadSetting::new("PIPELINES", &self.pipelines, accepted)
    }

    fn add(&mut self, item: &str) -> Result<(), BadSetting> {
        if item == RIGS {
            return self.push(Pipeline::Rigs(None));
        }
        if let Some(file) = built_in(item) {
            return self.push(Pipeline::File(Arc::new(file?)));
        }
        let path = Path::new(item);
        let files = if path.is_dir() {
            let files = files_in(path)?;
            if files.is_empty() {
                return Err(self.bad(&format!("a directory of .toml files; {item} has none")));
            }
            files
        } else if item.contains(['/', '.']) {
            vec![path.to_owned()]
        } else {
            let names: Vec<_> = BUILT_IN.iter().map(|(name, _)| *name).collect();
            let accepted = format!(
                "a path, or one of the built-in pipelines {}; {item} is neither",
                names.join(", ")
            );
            return Err(self.bad(&accepted));
        };
        for path in files {
            let text = std::fs::read_to_string(&path).map_err(|error| unreadable(&path, error))?;
            let file = Arc::new(parse(&path, &text)?);
            let pipeline = if *file.name == RIGS {
                self.rigs_of(&path, &text, file)?
            } else {
                Pipeline::File(file)
            };
            self.push(pipeline)?;
        }
        Ok(())
    }

    /// The pipeline `rigs` with the alerts and units of its file, which says nothing else that the built-in one
    /// doesn't say.
    fn rigs_of(
        &self,
        path: &Path,
        text: &str,
        file: Arc<PipelineFile>,
    ) -> Result<Pipeline, BadSetting> {
        if built_in_text(RIGS).is_some_and(|built_in| only_adds(text, built_in)) {
            return Ok(Pipeline::Rigs(Some(file)));
        }
        Err(self.bad(&format!(
            "files of pipelines with names of their own; {} is called {RIGS}, as the built-in one, which a \
             file can only add alerts and units to (rigline pipelines show {RIGS})",
            path.display()
        )))
    }

    fn push(&mut self, pipeline: Pipeline) -> Result<(), BadSetting> {
        if self
            .loaded
            .iter()
            .any(|other| other.name() == pipeline.name())
        {
            let accepted = format!("each pipeline once; {} is there twice", pipeline.name());
            return Err(self.bad(&accepted));
        }
        self.loaded.push(pipeline);
        Ok(())
    }
}

impl Settings for PipelineSettings {
    /// Reads the files.
    fn check(&mut self) -> Result<(), BadSetting> {
        self.loaded.clear();
        let items = self.pipelines.clone();
        for item in items.split(',').map(str::trim) {
            if item.is_empty() {
                return Err(self.bad("names and paths with commas in between"));
            }
            self.add(item)?;
        }
        Ok(())
    }
}

impl From<FileError> for BadSetting {
    fn from(error: FileError) -> Self {
        Self::File(error.to_string())
    }
}

/// The names of the built-in pipelines, with the texts of their files.
#[must_use]
pub const fn built_in_files() -> &'static [(&'static str, &'static str)] {
    &BUILT_IN
}

/// The text of the file of a built-in pipeline.
#[must_use]
pub fn built_in_text(name: &str) -> Option<&'static str> {
    let found = BUILT_IN.iter().find(|(known, _)| *known == name);
    found.map(|(_, text)| *text)
}

/// The file of a built-in pipeline, if there is one of this name.
#[must_use]
pub fn built_in(name: &str) -> Option<Result<PipelineFile, FileError>> {
    let text = built_in_text(name)?;
    let path = format!("pipelines/{name}.toml");
    Some(load(&path, text, built_in_descriptors))
}

/// A set of descriptors of built-in pipelines.
#[must_use]
pub fn built_in_descriptor(name: &str) -> Option<&'static [u8]> {
    let found = DESCRIPTORS.iter().find(|(known, _)| *known == name);
    found.map(|(_, bytes)| *bytes)
}

/// The set of descriptors that the file of a built-in pipeline names.
fn built_in_descriptors(name: &str) -> Result<Vec<u8>, FileError> {
    let found = built_in_descriptor(name).map(<[u8]>::to_vec);
    found.ok_or_else(|| unreadable(Path::new(name), std::io::ErrorKind::NotFound.into()))
}

/// The set of descriptors that a pipeline file at `path` names: a file, from the pipeline file's directory on.
fn descriptors_beside(path: &Path, name: &str) -> Result<Vec<u8>, FileError> {
    let beside = path.with_file_name(name);
    std::fs::read(&beside).map_err(|error| {
        let is_missing = error.kind() == std::io::ErrorKind::NotFound;
        if is_missing && built_in_descriptor(name).is_some() {
            return FileError::NoDescriptors {
                path: beside,
                name: name.to_owned(),
                error,
            };
        }
        unreadable(&beside, error)
    })
}

/// Reads a pipeline file; its variables are those of the environment.
pub fn read(path: &Path) -> Result<PipelineFile, FileError> {
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(path, error))?;
    parse(path, &text)
}

fn parse(path: &Path, text: &str) -> Result<PipelineFile, FileError> {
    let beside = |name: &str| descriptors_beside(path, name);
    load(&path.display().to_string(), text, beside)
}

/// Parses a pipeline file, and finds the sets of descriptors that it names.
fn load(
    path: &str,
    text: &str,
    descriptors: impl Fn(&str) -> Result<Vec<u8>, FileError>,
) -> Result<PipelineFile, FileError> {
    let mut file = PipelineFile::parse(path, text, &variable)?;
    file.read_descriptors(descriptors)?;
    Ok(file)
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The pipeline files of a directory, in the order of their names.
fn files_in(dir: &Path) -> Result<Vec<PathBuf>, FileError> {
    let entries = std::fs::read_dir(dir).map_err(|error| unreadable(dir, error))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| unreadable(dir, error))?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn unreadable(path: &Path, error: std::io::Error) -> FileError {
    FileError::Unreadable {
        path: path.to_owned(),
        error,
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::{
        BUILT_IN, Pipeline, PipelineSettings, RIGS, built_in, built_in_descriptor, built_in_text,
        read,
    };
    use crate::settings::Settings;

    fn names(pipelines: &str) -> Result<Vec<String>, String> {
        let mut settings = PipelineSettings {
            pipelines: pipelines.to_owned(),
            loaded: Vec::new(),
        };
        settings.check().map_err(|bad| bad.to_string())?;
        let names = settings.all().iter();
        Ok(names.map(|pipeline| pipeline.name().to_owned()).collect())
    }

    #[test]
    fn built_in_pipelines_can_be_used() {
        for (name, _) in BUILT_IN {
            let file = built_in(name).unwrap().unwrap();
            assert_eq!(*file.name, name);
            let has_descriptors = !file.descriptors.is_empty();
            assert_eq!(has_descriptors, file.message.descriptor.is_some(), "{name}");
            for store in &file.store {
                let has_descriptors = !store.descriptors.is_empty();
                assert_eq!(has_descriptors, store.descriptor.is_some(), "{name}");
            }
        }
    }

    #[test]
    fn saved_file_says_where_its_descriptors_are() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("mine.toml");
        std::fs::write(&path, built_in_text("facilities-store").unwrap()).unwrap();
        let error = read(&path).unwrap_err().to_string();
        let name = "compacted_reading.binpb";
        let beside = dir.path().join(name);
        let said = format!("`rigline pipelines show {name} > {}`", beside.display());
        assert!(error.contains(&said), "{error}");
        std::fs::write(&beside, built_in_descriptor(name).unwrap()).unwrap();
        let built_in = built_in("facilities-store").unwrap().unwrap();
        assert_eq!(read(&path).unwrap().descriptors, built_in.descriptors);
    }

    #[test]
    fn directory_of_the_built_in_pipelines_is_all_of_them() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../pipelines");
        let names = names(dir).unwrap();
        assert_eq!(
            names,
            [
                "colors",
                "facilities-store",
                "facilities",
                "metrics",
                "rigs",
                "sensors",
                "workorders"
            ]
        );
    }

    #[test]
    fn file_of_rigs_adds_alerts_and_units_only() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("rigs.toml");
        let load = |more: &str| {
            let text = format!("{}{more}", built_in_text(RIGS).unwrap());
            std::fs::write(&path, text).unwrap();
            let mut settings = PipelineSettings {
                pipelines: path.display().to_string(),
                loaded: Vec::new(),
            };
            settings.check().map(|()| settings.loaded.remove(0))
        };
        let more = "[fields.pressure]\nunit = \"bar\"\n[[alert]]\nname = \"high\"\nfield = \"pressure\"\nabove = 30";
        let pipeline = load(more).unwrap();
        assert!(matches!(pipeline, Pipeline::Rigs(Some(_))));
        let file = pipeline.file().unwrap();
        assert_eq!(file.unit_of("pressure"), Some("bar"));
        assert_eq!(file.alert.len(), 1);
        for other in [
            "[fields.pressure]\nunit = \"bar\"\nscale = 0.1",
            "[simulate.fields.more]\nnormal = [1, 2]",
        ] {
            let error = load(other).unwrap_err().to_string();
            assert!(error.contains("only add alerts and units"), "{error}");
        }
    }

    #[test]
    fn names_paths_and_directories_are_pipelines() {
        let dir = TempDir::new().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        for name in ["b", "a"] {
            let text = format!("name = \"{name}\"\n[source]\ntopic = \"x/{{y}}\"");
            std::fs::write(path(&format!("{name}.toml")), text).unwrap();
        }
        std::fs::write(path("notes.txt"), "").unwrap();
        let whole = path("");
        assert_eq!(
            names(&format!("rigs, {whole}")).unwrap(),
            ["rigs", "a", "b"]
        );
        assert_eq!(names(&path("b.toml")).unwrap(), ["b"]);
        for (bad, why) in [
            (format!("{whole},{}", path("a.toml")), "a is there twice"),
            ("rigs,".to_owned(), "with commas in between"),
            ("rig".to_owned(), "rig is neither"),
            (path("c.toml"), "cannot read"),
        ] {
            let error = names(&bad).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        std::fs::write(path("a.toml"), "name = \"a\"\n[source]\ntopics = 1").unwrap();
        let error = names(&whole).unwrap_err();
        assert!(error.contains("a.toml:3:1"), "{error}");
    }
}
