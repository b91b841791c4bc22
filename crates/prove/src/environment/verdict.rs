//! The end of an attack: rest, evidence, and the oracle's word.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use model::time::Timestamp;
use queue::ledger::{Counter, Ledger};

use super::Environment;
use crate::oracle::{Evidence, Stored, Terms, Verdict, judge};
use crate::traffic::{Sent, Traffic};

/// How long everything may take to come to rest after the last fault.
const REST: Duration = Duration::from_mins(3);
/// Nothing must have changed for this long to call it rest.
const STILL: Duration = Duration::from_secs(3);
/// Offenders whose whole trail is shown.
const TRAILS: usize = 3;

impl Environment {
    /// Ends the load, waits until everything has gone through, stops all stages, and has the oracle
    /// compare. Everything has to be running and reachable by now.
    pub fn finish(&mut self, terms: Terms) -> anyhow::Result<Verdict> {
        let sent = match self.traffic.take() {
            Some(traffic) => traffic.finish(),
            None => Sent::default(),
        };
        self.judge(&sent, terms)
    }

    /// As [`finish`](Self::finish), once the load has come to its end by itself.
    pub fn finish_whole(&mut self, terms: Terms) -> anyhow::Result<Verdict> {
        let sent = self.traffic.take().map(Traffic::join).unwrap_or_default();
        self.judge(&sent, terms)
    }

    fn judge(&mut self, sent: &Sent, terms: Terms) -> anyhow::Result<Verdict> {
        let unacknowledged = sent.messages.len() - sent.count_acknowledged();
        ensure!(
            unacknowledged == 0,
            "{unacknowledged} messages never acknowledged"
        );
        let rested = self.rest();
        let ledger = match &rested {
            Ok(ledger) => ledger.clone(),
            Err(_) => self.ledger()?,
        };
        let history = self.base.history(self.epoch).context("no history")?;
        let (stored, strange) = self.stored();
        let mut verdict = judge(
            &Evidence {
                sent,
                history: &history,
                ledger: &ledger,
                stored: &stored,
                strange: &strange,
            },
            terms,
        );
        let damage = self.base.damage();
        verdict
            .notes
            .extend(damage.map(|damage| format!("damaged {damage}")));
        if verdict.is_clean() {
            rested?;
            self.stop_stages()?;
            self.check_files()?;
        } else {
            self.tell(&verdict, sent, &stored);
        }
        Ok(verdict)
    }

    /// The ledger once everything has gone through, all stages are ready, and nothing changes.
    fn rest(&self) -> anyhow::Result<Ledger> {
        let drained = |ledger: &Ledger| {
            ledger.raw == 0 && ledger.normalized == 0 && ledger.get(Counter::OpenReadings) == 0
        };
        let started = Instant::now();
        loop {
            self.ready()?;
            let before = self.wait_for("rest", REST, drained)?;
            std::thread::sleep(STILL);
            if self.ledger()? == before {
                return Ok(before);
            }
            ensure!(
                started.elapsed() < self.patience(REST),
                "never at rest: {before:#?}"
            );
        }
    }

    fn stored(&self) -> (Stored, Vec<String>) {
        let (mut stored, mut strange) = (Stored::new(), Vec::new());
        for ((rig_id, millis, sensor), values) in self.runtime.block_on(self.base.rows()) {
            let time = Timestamp::from_millis(millis);
            match self.epoch.cell(&rig_id, time, &sensor) {
                Some(cell) => {
                    stored.insert(cell, values);
                }
                None => strange.push(format!("{rig_id} {time} {sensor} {values:?}")),
            }
        }
        (stored, strange)
    }

    fn stop_stages(&mut self) -> anyhow::Result<()> {
        for (_, stage) in &mut self.stages {
            stage.terminate();
        }
        for (role, stage) in &mut self.stages {
            let exit = stage.wait_exit(Duration::from_secs(10));
            ensure!(
                exit.is_some_and(|exit| exit.success()),
                "the {} ended with {exit:?}:\n{}",
                role.name(),
                stage.logs()
            );
        }
        Ok(())
    }

    /// Prints the first offenders with everything that is known of them.
    #[expect(clippy::print_stderr, reason = "a failure is told in full")]
    fn tell(&self, verdict: &Verdict, sent: &Sent, stored: &Stored) {
        eprintln!("seed {}: {verdict}", self.setup.seed);
        for note in verdict.notes.iter().take(10) {
            eprintln!("  {note}");
        }
        for (offence, cells) in &verdict.offences {
            for cell in cells.iter().take(TRAILS) {
                eprintln!("  {offence:?}: {cell}");
                let own = sent.messages.iter().zip(&sent.acknowledged).enumerate();
                for (place, (message, acknowledged)) in own {
                    if message.cell == *cell {
                        let said = if *acknowledged {
                            "acknowledged"
                        } else {
                            "sent"
                        };
                        eprintln!("    message {place}: {:?}, {said}", message.kind);
                    }
                }
                for line in self.base.trail(*cell, self.epoch) {
                    eprintln!("    {line}");
                }
                eprintln!("    stored: {:?}", stored.get(cell));
            }
        }
    }
}
