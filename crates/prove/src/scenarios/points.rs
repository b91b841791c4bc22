//! The points of each process, and how its requests are told from others.

use common::faults::Point;
use e2e::Role;
use fastrand::Rng;

/// What only an append contains: these two keys one after the other.
pub const APPEND: &str = "dead_letters\r\n$19\r\nrigline:rigs:ledger";
/// The points that a process comes to.
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
        Role::Up => &Point::ALL,
    }
}

/// At which time that a process comes to a point.
pub fn times(role: Role, point: Point, rng: &mut Rng) -> u64 {
    match (role, point) {
        // Once for each lease.
        (Role::Up, Point::AfterLease) => rng.u64(1..=3),
        // Once a life, as a rule.
        (_, Point::AfterLease | Point::AfterState) => 1,
        _ => rng.u64(1..6),
    }
}

/// What only the request of a stage's write to Redis contains.
#[must_use]
pub const fn write_of(role: Role) -> &'static str {
    match role {
        Role::Ingester => APPEND,
        Role::Transformer => ":state:transformer",
        Role::Sink => ":state:sink",
        Role::Up => "no request",
    }
}
