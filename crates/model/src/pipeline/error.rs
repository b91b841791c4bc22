//! What is wrong with a pipeline file, and where.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use super::address::without_secrets;

/// A pipeline file that can't be used. Its text shows the line with a mark under the place, without secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineError {
    shown: String,
    message: String,
}

impl PipelineError {
    /// What is wrong, in one line without its place.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    pub(super) fn new(path: &str, text: &str, problem: Problem) -> Self {
        let place = problem.span.start.min(text.len())..problem.span.end.min(text.len());
        let shown = without_secrets(text);
        let snippet = Snippet::source(&*shown)
            .path(path)
            .annotation(AnnotationKind::Primary.span(place));
        let mut report = Level::ERROR
            .primary_title(&problem.message)
            .element(snippet);
        if let Some(help) = &problem.help {
            report = report.element(Level::HELP.message(help));
        }
        Self {
            shown: Renderer::plain().render(&[report]),
            message: problem.message,
        }
    }
}

impl fmt::Display for PipelineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl std::error::Error for PipelineError {}

/// A problem with the bytes of a file that it concerns.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) span: Range<usize>,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl Problem {
    pub(super) fn at(span: &Range<usize>, message: impl Into<String>) -> Self {
        Self {
            span: span.clone(),
            message: message.into(),
            help: None,
        }
    }

    pub(super) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl From<toml::de::Error> for Problem {
    fn from(error: toml::de::Error) -> Self {
        Self::at(&error.span().unwrap_or(0..0), error.message())
    }
}
