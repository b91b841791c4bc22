//! What another program may append to a list.

use model::Layout;
use model::dead_letter::{DeadLetter, Summary};
use model::time::Timestamp;

/// An element of a list. A row that can be read is written and read back as the same one.
pub fn element(data: &[u8]) {
    for layout in [Layout::Rigs, Layout::Tagged] {
        let _ = layout.decode_sample(data);
        let Ok(row) = layout.decode_row(data) else {
            continue;
        };
        let mut written = Vec::new();
        layout.encode_row(&row, &mut written);
        let again = layout.decode_row(&written).unwrap();
        assert_eq!(again, row);
    }
    let now = Timestamp::from_nanos(1_800_000_000_000_000_000);
    let _ = Summary::of(data);
    let _ = DeadLetter::marked(data, now);
    if let Ok(letter) = DeadLetter::decode(data) {
        let _ = letter.input();
        let _ = letter.arrived();
        assert!(DeadLetter::decode(&letter.discarded(now)).is_ok());
    }
}
