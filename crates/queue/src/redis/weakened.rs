//! What is left of the protocol when a test breaks one of its rules; never reached in a normal build.

use common::clock::Clock;
use common::faults::{Rule, holds};

use super::{RedisQueue, reply};
use crate::changes::{Commit, Lease};
use crate::error::QueueError;
use crate::ledger::Counter;
use crate::list::source_of;
use model::Stage;

const TOKEN: &str = "if redis.call('GET', lease) ~= ARGV[1] then return { 'fenced' } end";
const NUMBER: &str = "if number ~= ARGV[2] then return { 'conflict', tonumber(number) } end";
/// The head's check would stand in for the number's, but for commits that take nothing.
const HEAD: &str = "ARGV[12] == '1'";

/// The commit script without the checks that are broken.
pub(super) fn commit_script(code: &str) -> String {
    let mut code = code.to_owned();
    for (rule, check, instead) in [
        (Rule::CheckToken, TOKEN, ""),
        (Rule::CheckNumber, NUMBER, ""),
        (Rule::CheckNumber, HEAD, "false"),
    ] {
        if !holds(rule) {
            debug_assert!(code.contains(check), "{check} has changed");
            code = code.replace(check, instead);
        }
    }
    code
}

impl RedisQueue {
    /// Takes the elements in a step of its own; what remains of the commit comes after it.
    pub(super) async fn trim_first(
        &self,
        lease: &Lease,
        commit: &Commit,
    ) -> Result<Commit, QueueError> {
        let mut trim = redis::cmd("LTRIM");
        trim.arg(self.inner.keys.list(source_of(lease.consumer)))
            .arg(commit.take)
            .arg(-1);
        self.inner.connection.read(&trim).await?;
        let taken = if lease.consumer == Stage::Sink {
            Counter::RowsTaken
        } else {
            Counter::RawTaken
        };
        let mut rest = Commit {
            take: 0,
            last_taken: None,
            ..commit.clone()
        };
        rest.counts
            .push((taken, i64::try_from(commit.take).unwrap_or(i64::MAX)));
        Ok(rest)
    }

    /// Ends a lease that has run out by this machine's clock.
    pub(super) async fn end_by_own_clock(&self, consumer: Stage) -> Result<(), QueueError> {
        let key = self.inner.keys.of("lease", consumer);
        let mut ends = redis::cmd("PEXPIRETIME");
        ends.arg(&key);
        let ends = reply::signed(&self.inner.connection.read(&ends).await?)?;
        if ends > 0 && ends < Clock::system().now().nanos() / 1_000_000 {
            let mut end = redis::cmd("DEL");
            end.arg(&key);
            self.inner.connection.read(&end).await?;
        }
        Ok(())
    }
}
