//! Faults and options of the Redis handle.

use std::time::Duration;

use testkit::{Redis, wait_until};

const SOON: Duration = Duration::from_secs(30);

#[test]
fn loading_is_slow_on_demand() {
    let mut redis = Redis::start();
    let _ = redis.cli(&["SET", "own", "kept"]);
    // Long enough for a slow machine.
    redis.make_loading_slow(3000, Duration::from_millis(100));
    redis.kill();
    assert!(!redis.is_answering());
    redis.restart_without_waiting();
    let mut error = String::new();
    assert!(
        wait_until(SOON, || {
            error = redis.try_cli(&["GET", "own"]).err().unwrap_or_default();
            error.contains("LOADING")
        }),
        "{error}"
    );
    assert!(!redis.is_answering() && !redis.exited());
    redis.set_options(&[]);
    redis.restart();
    assert!(redis.is_answering());
    assert_eq!(redis.cli(&["GET", "own"]), "kept");
    assert_eq!(redis.cli(&["DBSIZE"]), "3001");
}

#[test]
fn cut_aof_tail_loses_the_last_commands() {
    let mut redis = Redis::start();
    for value in ["1", "2", "3"] {
        let _ = redis.cli(&["RPUSH", "list", value]);
    }
    redis.kill();
    assert_eq!(redis.cut_aof_tail(3), 3);
    redis.restart();
    assert_eq!(redis.cli(&["LRANGE", "list", "0", "-1"]), "1\n2");
    redis.kill();
    assert!(redis.cut_aof_tail(3) == 3 && redis.cut_aof_tail(u64::MAX) > 3);
    assert_eq!(redis.cut_aof_tail(1), 0);
}

#[test]
fn repair_aof_removes_a_torn_transaction() {
    let mut redis = Redis::start();
    let both = |redis: &Redis, value: &str| {
        let script = "redis.call('RPUSH', 'a', ARGV[1]) redis.call('RPUSH', 'b', ARGV[1])";
        let _ = redis.cli(&["EVAL", script, "0", value]);
    };
    both(&redis, "1");
    both(&redis, "2");
    redis.kill();
    // Within the second RPUSH.
    assert_eq!(redis.cut_aof_tail(20), 20);
    redis.repair_aof();
    // Redis's own behaviour shows only at the second start.
    for value in ["3", "4"] {
        redis.restart();
        both(&redis, value);
        redis.kill();
    }
    redis.restart();
    for list in ["a", "b"] {
        assert_eq!(redis.cli(&["LRANGE", list, "0", "-1"]), "1\n3\n4");
    }
}

#[test]
fn options_apply_from_the_next_start() {
    let mut redis = Redis::start_with(&["--maxclients", "100"]);
    let of = |redis: &Redis, name| redis.cli(&["CONFIG", "GET", name]);
    redis.add_option("--maxmemory", "11mb");
    assert_eq!(of(&redis, "maxmemory"), "maxmemory\n0");
    redis.restart();
    assert_eq!(of(&redis, "maxmemory"), "maxmemory\n11534336");
    assert_eq!(of(&redis, "maxclients"), "maxclients\n100");
    redis.set_options(&["--aof-load-truncated", "no"]);
    redis.restart();
    assert_eq!(of(&redis, "maxmemory"), "maxmemory\n0");
    let _ = redis.cli(&["SET", "key", "value"]);
    redis.kill();
    assert_eq!(redis.cut_aof_tail(3), 3);
    let refused = redis.try_restart().unwrap_err();
    assert!(refused.contains("Unexpected end of file"), "{refused}");
    assert!(redis.exited());
}

#[test]
fn start_in_chooses_the_data_directory() {
    let dir = tempfile::tempdir().unwrap();
    let first = Redis::start_in(dir.path(), &[]);
    assert_eq!(first.dir(), dir.path());
    let _ = first.cli(&["SET", "key", "value"]);
    drop(first);
    let second = Redis::start_in(dir.path(), &[]);
    assert_eq!(second.cli(&["GET", "key"]), "value");
    assert!(
        second
            .try_cli(&["NO-SUCH"])
            .unwrap_err()
            .contains("unknown command")
    );
    assert!(!dir.path().join("log").exists());
}
