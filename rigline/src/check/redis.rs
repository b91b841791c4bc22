//! The queue of the four stages.

use std::time::Duration;

use common::clock::Clock;
use queue::redis::ServerFacts;

use super::clocks;
use super::line::{Line, limited};
use super::lists;
use crate::inspect::lists::Where;
use crate::inspect::output::grouped;

const SERVER: &str = "Redis";
const APPENDONLY: &str = "Redis appendonly";
const APPENDFSYNC: &str = "Redis appendfsync";
const POLICY: &str = "Redis maxmemory-policy";
const MEMORY: &str = "Redis memory";
const CLOCK: &str = "Redis clock";
const LISTS: &str = "lists";

/// The lines about the server, and about the lists of pipelines in it.
pub(super) async fn redis(places: Vec<Where>, max_future: Duration) -> Vec<Line> {
    let mut lines = Vec::new();
    let has_several = places.len() > 1;
    for (number, mut place) in places.into_iter().enumerate() {
        let found = of_pipeline(&mut place, max_future).await;
        let is_up = found.is_ok();
        let (of_server, mut of_lists) = found.unwrap_or_else(|line| (vec![line], Vec::new()));
        if number == 0 || !is_up {
            lines.extend(of_server);
        }
        if has_several {
            for line in &mut of_lists {
                *line = line.clone().of(place.pipeline());
            }
        }
        lines.extend(of_lists);
        if !is_up {
            break;
        }
    }
    lines
}

/// The lines about the server, and those about the lists of a pipeline.
async fn of_pipeline(
    place: &mut Where,
    max_future: Duration,
) -> Result<(Vec<Line>, Vec<Line>), Line> {
    let is_tls = place.uses_tls();
    let unusable = |error: &anyhow::Error| unusable(&format!("{error:#}"), is_tls);
    let lists = limited(SERVER, place.open_redis()).await?;
    let lists = lists.map_err(|error| unusable(&error))?;
    let Some(queue) = lists.redis() else {
        return Ok((Vec::new(), Vec::new()));
    };
    let clock = Clock::system();
    let before = clock.now();
    let first = limited(SERVER, lists.snapshot()).await?;
    let first = first.map_err(|error| unusable(&error))?;
    let asked = (before, clock.now());
    let time = clocks::line(CLOCK, asked, first.server_time, Duration::ZERO, max_future);
    let (facts, flow) = tokio::join!(
        limited(SERVER, queue.server_facts()),
        limited(LISTS, lists::lists(&lists, first, place.limits())),
    );
    let address = lists.place().trim_start_matches("Redis at ");
    let mut of_server = match facts {
        Ok(Ok(facts)) => server_lines(address, &facts),
        Ok(Err(error)) => vec![unusable(&error.into())],
        Err(line) => vec![line],
    };
    of_server.push(time);
    let of_lists = match flow {
        Ok(Ok(flow)) => flow,
        Ok(Err(error)) => vec![unusable(&error)],
        Err(line) => vec![line],
    };
    Ok((of_server, of_lists))
}

fn unusable(error: &str, is_tls: bool) -> Line {
    let next = if is_tls {
        "do what it says, start Redis, or check REDIS_HOST, REDIS_PORT, REDIS_USERNAME and REDIS_PASSWORD; \
         docs/tls.md is about TLS"
    } else {
        "start Redis, or check REDIS_HOST, REDIS_PORT, REDIS_USERNAME and REDIS_PASSWORD"
    };
    Line::bad(SERVER, error, next)
}

fn server_lines(address: &str, facts: &ServerFacts) -> Vec<Line> {
    let version = facts.version.as_ref().map_or_else(
        || "version not visible".to_owned(),
        |version| format!("version {version}"),
    );
    vec![
        Line::ok(SERVER, format!("{address}, {version}")),
        appendonly(facts),
        appendfsync(facts),
        policy(facts),
        memory(facts),
    ]
}

fn not_visible(check: &'static str, wanted: &str) -> Line {
    let detail = format!("not visible to this user; it has to be {wanted}");
    Line::ok(check, detail)
}

fn appendonly(facts: &ServerFacts) -> Line {
    match facts.appendonly {
        Some(true) => Line::ok(APPENDONLY, "yes"),
        Some(false) => Line::bad(
            APPENDONLY,
            "no: a restart of Redis loses readings that were acknowledged",
            "set `appendonly yes` in redis.conf (at a running server with CONFIG SET first, or its data \
             isn't in the file)",
        ),
        None => not_visible(APPENDONLY, "yes"),
    }
}

fn appendfsync(facts: &ServerFacts) -> Line {
    match facts.appendfsync.as_deref() {
        Some("always") => Line::ok(APPENDFSYNC, "always"),
        Some(other) => Line::bad(
            APPENDFSYNC,
            format!("{other}: a power cut loses readings that were acknowledged"),
            "set `appendfsync always` in redis.conf, and with CONFIG SET",
        ),
        None => not_visible(APPENDFSYNC, "always"),
    }
}

fn policy(facts: &ServerFacts) -> Line {
    match facts.maxmemory_policy.as_deref() {
        Some("noeviction") => Line::ok(POLICY, "noeviction"),
        // Without a limit nothing is evicted, and the keys of leases expire by design.
        Some(other) if facts.maxmemory == Some(0) => Line::warn(
            POLICY,
            format!("{other}, without effect as long as there is no maxmemory"),
            "set `maxmemory-policy noeviction` before somebody sets maxmemory",
        ),
        Some(other) => Line::bad(
            POLICY,
            format!("{other}: at its memory limit Redis deletes whole keys"),
            "set `maxmemory-policy noeviction` in redis.conf, and with CONFIG SET",
        ),
        None => not_visible(POLICY, "noeviction"),
    }
}

fn memory(facts: &ServerFacts) -> Line {
    let (Some(limit), Some(used)) = (facts.maxmemory, facts.used_memory) else {
        return Line::ok(MEMORY, "not visible to this user");
    };
    let mib = |bytes: u64| grouped(i64::try_from(bytes >> 20).unwrap_or(i64::MAX));
    if limit == 0 {
        return Line::ok(MEMORY, format!("{} MiB used, no maxmemory", mib(used)));
    }
    let detail = format!("{} of {} MiB used", mib(used), mib(limit));
    if used / 4 >= limit / 5 {
        let next =
            "raise maxmemory, or find out why the lists are long: appends are refused at the limit";
        return Line::warn(MEMORY, detail, next);
    }
    Line::ok(MEMORY, detail)
}

#[cfg(test)]
mod tests {
    use queue::redis::ServerFacts;

    use super::super::line::Status;
    use super::{memory, server_lines};

    #[test]
    fn what_access_rules_hide_is_not_bad() {
        let lines = server_lines("redis:6379", &ServerFacts::default());
        assert!(lines.iter().all(|line| line.status == Status::Ok));
        assert!(lines[2].detail.starts_with("not visible"), "{lines:?}");
    }

    #[test]
    fn eviction_matters_with_a_memory_limit() {
        for (maxmemory, policy, status) in [
            (0, "noeviction", Status::Ok),
            (0, "allkeys-lru", Status::Warn),
            (100, "allkeys-lru", Status::Bad),
            (100, "volatile-ttl", Status::Bad),
        ] {
            let facts = ServerFacts {
                maxmemory: Some(maxmemory),
                maxmemory_policy: Some(policy.to_owned()),
                ..ServerFacts::default()
            };
            assert_eq!(server_lines("", &facts)[3].status, status, "{policy}");
        }
    }

    #[test]
    fn memory_above_four_fifths_of_the_limit_is_warned_of() {
        let of = |used: u64| ServerFacts {
            maxmemory: Some(1_000 << 20),
            used_memory: Some(used << 20),
            ..ServerFacts::default()
        };
        assert_eq!(memory(&of(799)).status, Status::Ok);
        assert_eq!(memory(&of(800)).detail, "800 of 1,000 MiB used");
        assert_eq!(memory(&of(800)).status, Status::Warn);
    }
}
