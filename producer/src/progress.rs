//! Display of progress: a bar on a terminal, log lines otherwise.

use std::fmt;
use std::time::Duration;

use common::health::Health;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressState, ProgressStyle};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use transport::{Counts, Publisher};

use crate::outlet::Outlet;

/// Interval of progress lines.
pub(crate) const PROGRESS: Duration = Duration::from_secs(5);
/// Interval of redrawing the bar.
const REDRAW: Duration = Duration::from_millis(200);

/// The bar if the number of messages is known. Its position is the number of acknowledged messages.
const WITH_END: &str = "[{bar:30}] {human_pos}/{human_len} acknowledged, {rate}, ETA {eta}";
const WITHOUT_END: &str = "{spinner} {human_pos} acknowledged, {rate}, for {elapsed}";

/// The display of progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Show {
    /// Log lines at an interval.
    Lines,
    /// A bar on standard error, which has to be a terminal.
    Bar,
}

impl Show {
    /// A bar if standard error is a terminal.
    pub fn for_process() -> Self {
        if ProgressDrawTarget::stderr().is_hidden() {
            Self::Lines
        } else {
            Self::Bar
        }
    }

    /// Ticks the health and shows progress until it is dropped.
    pub async fn progress(self, publisher: &Publisher, outlet: &Outlet<'_>, health: &Health) {
        match self {
            Self::Lines => lines(publisher, health).await,
            Self::Bar => bar(publisher, outlet, health).await,
        }
    }
}

fn every(period: Duration) -> Interval {
    let mut every = interval_at(Instant::now() + period, period);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    every
}

async fn lines(publisher: &Publisher, health: &Health) {
    let mut every = every(PROGRESS);
    let (mut before, mut then) = (0, Instant::now());
    loop {
        every.tick().await;
        health.tick();
        let Counts {
            sent, acknowledged, ..
        } = publisher.counts();
        let ms = u64::try_from(then.elapsed().as_millis()).unwrap_or(u64::MAX);
        let per_second = (acknowledged - before).saturating_mul(1_000) / ms.max(1);
        tracing::info!(sent, acknowledged, per_second, "progress");
        (before, then) = (acknowledged, Instant::now());
    }
}

async fn bar(publisher: &Publisher, outlet: &Outlet<'_>, health: &Health) {
    let mut every = every(REDRAW);
    let bar = ProgressBar::no_length().with_finish(ProgressFinish::AndClear);
    bar.set_style(style(WITHOUT_END));
    loop {
        every.tick().await;
        health.tick();
        let expected = outlet.expected();
        if bar.length().is_none() && expected.is_some() {
            bar.set_style(style(WITH_END));
        }
        // In one update, because each change redraws the bar.
        bar.update(|state| {
            state.set_pos(publisher.counts().acknowledged);
            if let Some(expected) = expected {
                state.set_len(expected);
            }
        });
    }
}

fn style(template: &str) -> ProgressStyle {
    // A test checks the templates.
    let style = ProgressStyle::with_template(template);
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    // indicatif's own has decimals.
    style.with_key(
        "rate",
        |state: &ProgressState, text: &mut dyn fmt::Write| {
            // Writing to a string can't fail.
            let _ = write!(text, "{:.0}/s", state.per_sec());
        },
    )
}

#[cfg(test)]
mod tests {
    use indicatif::ProgressStyle;

    use super::{WITH_END, WITHOUT_END};

    #[test]
    fn templates_are_valid() {
        for template in [WITH_END, WITHOUT_END] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
