//! The points that each process reaches, and markers of its requests.

use common::faults::Point;
use e2e::Role;
use fastrand::Rng;

/// A marker of appends: these two keys one after the other.
const APPEND: &str = "dead_letters\r\n$19\r\nrigline:rigs:ledger";

/// The points that a process reaches.
#[must_use]
pub const fn points(role: Role) -> &'static [Point] {
    match role {
        Role::Ingester => &[
            Point::AfterLease,
            Point::BeforeAppend,
            Point::AfterAppend,
            Point::BeforeAcknowledgement,
            Point::AfterAcknowledgement,
            Point::BeforeRenewal,
            Point::AfterRenewal,
        ],
        Role::Transformer => &[
            Point::AfterLease,
            Point::AfterState,
            Point::BeforePeek,
            Point::AfterPeek,
            Point::BeforeCommit,
            Point::AfterCommit,
            Point::BeforeRenewal,
            Point::AfterRenewal,
        ],
        Role::Sink => &[
            Point::AfterLease,
            Point::BeforePeek,
            Point::AfterPeek,
            Point::BeforeWrite,
            Point::AfterWrite,
            Point::BeforeCommit,
            Point::AfterCommit,
            Point::BeforeRenewal,
            Point::AfterRenewal,
        ],
        // All but those of transactions.
        Role::Up => &[
            Point::BeforeAppend,
            Point::AfterAppend,
            Point::BeforeAcknowledgement,
            Point::AfterAcknowledgement,
            Point::AfterLease,
            Point::AfterState,
            Point::BeforePeek,
            Point::AfterPeek,
            Point::BeforeWrite,
            Point::AfterWrite,
            Point::BeforeCommit,
            Point::AfterCommit,
            Point::BeforeRenewal,
            Point::AfterRenewal,
        ],
    }
}

/// The occurrence of a point at which to stop a process.
pub fn occurrence(role: Role, point: Point, rng: &mut Rng) -> u64 {
    match (role, point) {
        // Reached once per lease.
        (Role::Up, Point::AfterLease) => rng.u64(1..=3),
        // Usually reached once per process.
        (_, Point::AfterLease | Point::AfterState) => 1,
        _ => rng.u64(1..6),
    }
}

/// A marker of a stage's writes to Redis.
#[must_use]
pub const fn write_marker(role: Role) -> &'static str {
    match role {
        Role::Ingester => APPEND,
        Role::Transformer => ":state:transformer",
        Role::Sink => ":state:sink",
        Role::Up => "no request",
    }
}
