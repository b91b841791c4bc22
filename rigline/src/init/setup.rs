//! The context of all steps.

use std::time::Duration;

use store::{Id, InfluxSetup};

use super::InitArgs;
use super::secrets::Secrets;

/// Retention of a bucket that `init` creates.
pub(super) const RETENTION: Duration = Duration::from_hours(30 * 24);
/// Interval between two checks while waiting.
pub(super) const POLL: Duration = Duration::from_millis(200);
/// How long to wait for the effect of an earlier request. A request of an earlier start, or one whose
/// response was lost, may still be running in the server.
pub(super) const PENDING_LIMIT: Duration = Duration::from_secs(5);

/// The settings, the secrets and the server.
#[derive(Debug)]
pub(super) struct Setup<'a> {
    pub(super) args: &'a InitArgs,
    pub(super) secrets: Secrets,
    pub(super) influx: InfluxSetup,
}

/// The ids of organisation and bucket.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) org: Id,
    pub(super) bucket: Id,
}
