//! What the steps go by.

use std::time::Duration;

use store::{Id, InfluxSetup};

use super::InitArgs;
use super::secrets::Secrets;

/// How long a bucket that is made here keeps rows.
pub(super) const KEPT_FOR: Duration = Duration::from_hours(30 * 24);
/// How often it is looked whether something has happened.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long something that an earlier request was to make is waited for: that request, of an earlier
/// start or one whose answer was lost, may still be at work.
pub(super) const MAY_BE_MADE: Duration = Duration::from_secs(5);
/// What was asked for, where secrets are kept, and the server.
#[derive(Debug)]
pub(super) struct Task<'a> {
    pub(super) args: &'a InitArgs,
    pub(super) secrets: Secrets,
    pub(super) influx: InfluxSetup,
}

/// Organisation and bucket.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) org: Id,
    pub(super) bucket: Id,
}
