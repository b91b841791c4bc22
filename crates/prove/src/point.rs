//! Stops this process at a point of the protocol.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use common::faults::{Point, set_hook};
use rustix::process::{Signal, getpid, kill_process};

static PLAN: OnceLock<Plan> = OnceLock::new();

struct Plan {
    point: Point,
    signal: Signal,
    left: AtomicU64,
}

/// Installs a hook that stops this process as `RIGLINE_POINT` says, if that is set.
pub fn install_hook() {
    let plan = std::env::var("RIGLINE_POINT").ok();
    if let Some(plan) = plan.as_deref().and_then(Plan::parse) {
        let _ = PLAN.set(plan);
        set_hook(stop);
    }
}

fn stop(point: Point) {
    if let Some(plan) = PLAN.get()
        && plan.point == point
        && plan.left.fetch_sub(1, Ordering::SeqCst) == 1
    {
        // Can't fail: every process may signal itself.
        let _ = kill_process(getpid(), plan.signal);
    }
}

impl Plan {
    fn parse(plan: &str) -> Option<Self> {
        let mut parts = plan.split(':');
        let name = parts.next()?;
        let point = Point::ALL.into_iter().find(|point| point.name() == name)?;
        let signal = match parts.next()? {
            "stop" => Signal::STOP,
            _ => Signal::KILL,
        };
        let left = AtomicU64::new(parts.next()?.parse().ok()?);
        Some(Self {
            point,
            signal,
            left,
        })
    }
}
