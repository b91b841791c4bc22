//! The end of a run: waits until the pipeline is idle, collects the evidence and has the oracle check it.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use model::time::Timestamp;
use queue::ledger::{Counter, Ledger};

use super::Environment;
use crate::oracle::{Evidence, Expectations, Findings, Stored, check};
use crate::traffic::{Sent, Traffic};

/// How long the pipeline may take to become idle after the last fault.
const IDLE_TIMEOUT: Duration = Duration::from_mins(3);
/// How long nothing must change in an idle pipeline.
const IDLE_TIME: Duration = Duration::from_secs(3);
/// How many cells with a problem are shown with their history.
const SHOWN_CELLS: usize = 3;

impl Environment {
    /// Ends the load, waits until everything is stored, stops all stages and has the oracle check the
    /// result. All processes have to be running and reachable.
    pub fn finish(&mut self, expectations: Expectations) -> anyhow::Result<Findings> {
        let sent = self.traffic.take().map(Traffic::finish).unwrap_or_default();
        self.check(&sent, expectations)
    }

    /// As [`finish`](Self::finish), after the load has ended by itself.
    pub fn finish_after_load(&mut self, expectations: Expectations) -> anyhow::Result<Findings> {
        let sent = self.traffic.take().map(Traffic::join).unwrap_or_default();
        self.check(&sent, expectations)
    }

    fn check(&mut self, sent: &Sent, expectations: Expectations) -> anyhow::Result<Findings> {
        let unacknowledged = sent.messages.len() - sent.count_acknowledged();
        ensure!(
            unacknowledged == 0,
            "{unacknowledged} messages never acknowledged"
        );
        let idle = self.wait_until_idle();
        let ledger = match &idle {
            Ok(ledger) => ledger.clone(),
            Err(_) => self.ledger()?,
        };
        let history = self
            .backend
            .history(self.epoch)
            .context("cannot read the history")?;
        let (stored, unknown) = self.stored();
        let mut findings = check(
            &Evidence {
                sent,
                history: &history,
                ledger: &ledger,
                stored: &stored,
                unknown: &unknown,
            },
            expectations,
        );
        findings.notes.extend(self.backend.damage());
        if findings.is_clean() {
            idle?;
            self.stop_stages()?;
            self.check_files()?;
        } else {
            self.print_problems(&findings, sent, &stored);
        }
        Ok(findings)
    }

    /// The ledger once all lists are empty, all stages are ready and nothing changes.
    fn wait_until_idle(&self) -> anyhow::Result<Ledger> {
        let is_drained = |ledger: &Ledger| {
            ledger.raw == 0 && ledger.normalized == 0 && ledger.get(Counter::OpenReadings) == 0
        };
        let started = Instant::now();
        loop {
            self.ready()?;
            let before = self.wait_for("empty lists", IDLE_TIMEOUT, is_drained)?;
            std::thread::sleep(IDLE_TIME);
            if self.ledger()? == before {
                return Ok(before);
            }
            ensure!(
                started.elapsed() < self.effective_limit(IDLE_TIMEOUT),
                "the pipeline never becomes idle: {before:#?}"
            );
        }
    }

    fn stored(&self) -> (Stored, Vec<String>) {
        let (mut stored, mut unknown) = (Stored::new(), Vec::new());
        for ((rig_id, millis, sensor), values) in self.runtime.block_on(self.backend.rows()) {
            let time = Timestamp::from_millis(millis);
            match self.epoch.cell(&rig_id, time, &sensor) {
                Some(cell) => {
                    stored.insert(cell, values);
                }
                None => unknown.push(format!("{rig_id} {time} {sensor} {values:?}")),
            }
        }
        (stored, unknown)
    }

    fn stop_stages(&mut self) -> anyhow::Result<()> {
        for (_, stage) in &mut self.stages {
            stage.terminate();
        }
        for index in 0..self.stages.len() {
            self.ensure_clean_exit(index)?;
        }
        Ok(())
    }

    /// Prints the first cells of each problem with everything that is known about them.
    #[expect(clippy::print_stderr, reason = "a failed run is explained in full")]
    fn print_problems(&self, findings: &Findings, sent: &Sent, stored: &Stored) {
        eprintln!("seed {}: {findings}", self.setup.seed);
        for note in findings.notes.iter().take(10) {
            eprintln!("  {note}");
        }
        for (problem, cells) in &findings.problems {
            for cell in cells.iter().take(SHOWN_CELLS) {
                eprintln!("  {problem:?}: {cell}");
                let messages = sent.messages.iter().zip(&sent.acknowledged).enumerate();
                for (index, (message, acknowledged)) in messages {
                    if message.cell == *cell {
                        let state = if *acknowledged {
                            "acknowledged"
                        } else {
                            "sent"
                        };
                        eprintln!("    message {index}: {:?}, {state}", message.kind);
                    }
                }
                for line in self.backend.trail(*cell, self.epoch) {
                    eprintln!("    {line}");
                }
                eprintln!("    stored: {:?}", stored.get(cell));
            }
        }
    }
}
