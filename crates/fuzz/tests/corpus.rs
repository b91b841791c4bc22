//! Replays what `make fuzz` has found worth keeping.

use std::fs;
use std::path::Path;

use fuzz::TARGETS;

#[test]
fn corpora_are_replayed() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (name, run) in TARGETS {
        let inputs = fs::read_dir(corpus.join(name)).unwrap();
        let mut count = 0;
        for input in inputs {
            run(&fs::read(input.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count >= 5, "{name} has {count} inputs");
    }
}
