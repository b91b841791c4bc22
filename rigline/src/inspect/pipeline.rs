//! Which pipeline a command is about.

use common::pipelines::{Pipeline, PipelineSettings, RIGS};
use common::settings::{BadSetting, Settings};

/// The pipelines of the variable `PIPELINES`; none if it isn't set, or names files that can't be read from here.
fn listed() -> Option<PipelineSettings> {
    let pipelines = std::env::var("PIPELINES").ok()?;
    let mut settings = PipelineSettings::rigs();
    settings.pipelines = pipelines;
    settings.check().ok()?;
    Some(settings)
}

/// The pipeline that was asked for, or the only one of `PIPELINES` if that hasn't the default one.
pub(super) fn chosen(asked: &str) -> Result<String, BadSetting> {
    let listed = listed().filter(|_| asked == RIGS);
    let pipelines = listed.iter().flat_map(PipelineSettings::all);
    let names: Vec<_> = pipelines.map(Pipeline::name).collect();
    match *names.as_slice() {
        [] => Ok(asked.to_owned()),
        [only] => Ok(only.to_owned()),
        ref several if several.contains(&asked) => Ok(asked.to_owned()),
        ref several => Err(BadSetting::new(
            "PIPELINE",
            asked,
            &format!("one of PIPELINES: {}", several.join(", ")),
        )),
    }
}

/// The pipeline of this name, if its file can be found.
pub(super) fn find(pipeline: &str) -> Option<Pipeline> {
    let settings = listed().unwrap_or_else(PipelineSettings::rigs);
    settings.find(pipeline).ok().flatten()
}
