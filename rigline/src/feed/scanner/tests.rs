use proptest::prelude::*;
use serde_json::Value;

use super::{Broken, Found, Item, MAX_ITEM, MAX_SHOWN, Scanner};

/// All items of a file that is read in pieces of these sizes, repeated, and how it ended.
fn scan(mut scanner: Scanner, file: &[u8], sizes: &[usize]) -> (Vec<Found>, Result<(), Broken>) {
    let mut found = Vec::new();
    let start = usize::try_from(scanner.offset()).unwrap();
    let mut rest = &file[start..];
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (mut piece, behind) = rest.split_at((*size).clamp(1, rest.len()));
        rest = behind;
        loop {
            match scanner.next(&mut piece) {
                Ok(Some(item)) => found.push(item),
                Ok(None) => break,
                Err(broken) => return (found, Err(broken)),
            }
        }
    }
    let end = scanner.finish();
    (found, end)
}

fn texts(found: &[Found]) -> Vec<&str> {
    let texts = found.iter().map(|found| match &found.item {
        Item::Json(text) => str::from_utf8(text).unwrap(),
        Item::Invalid(text) => text,
    });
    texts.collect()
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e9..1e9).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[\\[\\]{},:\"\\\\ \n]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("[a\",\\]}]{0,3}", inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// An array with this space around everything that it may be around.
fn written(items: &[Value], space: &str, is_pretty: bool) -> String {
    let write = if is_pretty {
        serde_json::to_string_pretty
    } else {
        serde_json::to_string
    };
    let items: Vec<_> = items.iter().map(|item| write(item).unwrap()).collect();
    let items = items.join(&format!("{space},{space}"));
    format!("{space}[{space}{items}{space}]{space}")
}

proptest! {
    #[test]
    fn items_are_those_of_the_array(
        items in prop::collection::vec(json(), 0..8),
        space in "[ \n\r\t]{0,3}",
        is_pretty: bool,
        sizes in prop::collection::vec(1_usize..40, 1..5),
    ) {
        let file = written(&items, &space, is_pretty);
        let (found, end) = scan(Scanner::new(), file.as_bytes(), &sizes);
        prop_assert_eq!(end, Ok(()));
        prop_assert!(texts(&found).iter().all(|text| !text.contains(['\n', '\r'])));
        prop_assert!(found.iter().all(|found| matches!(found.item, Item::Json(_))));
        let values = texts(&found).into_iter();
        let values = values.map(|text| serde_json::from_str::<Value>(text).unwrap());
        prop_assert_eq!(values.collect::<Vec<_>>(), items);
        for (place, item) in found.iter().enumerate() {
            let (rest, end) = scan(Scanner::after(item.end), file.as_bytes(), &sizes);
            prop_assert_eq!(end, Ok(()));
            prop_assert_eq!(&rest, &found[place + 1..]);
        }
    }

    #[test]
    fn any_bytes_are_read_to_an_end(bytes: Vec<u8>, sizes in prop::collection::vec(1_usize..40, 1..5)) {
        let file = [b"[", &bytes[..]].concat();
        let (in_pieces, end) = scan(Scanner::new(), &file, &sizes);
        let (at_once, same_end) = scan(Scanner::new(), &file, &[file.len()]);
        prop_assert_eq!(in_pieces, at_once);
        prop_assert_eq!(end, same_end);
    }
}

#[test]
fn what_is_not_json_is_passed_on_and_the_next_item_read() {
    let file =
        br#"[{"a":1}, nonsense ,{"b":}, {"c":2} {"d":3}, "open\",", 'x', tru,, {"e":"]"}, 1}, 5]"#;
    let (found, end) = scan(Scanner::new(), file, &[3]);
    assert_eq!(end, Ok(()));
    let is_invalid = |found: &Found| matches!(found.item, Item::Invalid(_));
    let (invalid, valid): (Vec<_>, Vec<_>) = found.into_iter().partition(is_invalid);
    let bad = [
        "nonsense",
        r#"{"b":}"#,
        r#"{"c":2} {"d":3}"#,
        "'x'",
        "tru",
        "",
        "1}",
    ];
    assert_eq!(texts(&invalid), bad);
    assert_eq!(
        texts(&valid),
        [r#"{"a":1}"#, r#""open\",""#, r#"{"e":"]"}"#, "5"]
    );
    let (found, end) = scan(Scanner::new(), b"[1, \"a\nb\", \xFF, 2]", &[1]);
    assert_eq!(end, Ok(()));
    assert_eq!(texts(&found), ["1", "\"a\nb\"", "\u{FFFD}", "2"]);
}

#[test]
fn items_that_are_too_long_are_shown_in_part() {
    let inner = format!("\"{}", "ä".repeat(MAX_ITEM / 2));
    let file = format!("[1, {inner}\", 2, {}\"]", &inner[..MAX_ITEM - 1]);
    let (found, end) = scan(Scanner::new(), file.as_bytes(), &[70_000]);
    assert_eq!(end, Ok(()));
    let texts = texts(&found);
    assert_eq!((texts[0], texts[2]), ("1", "2"));
    assert!(inner.starts_with(texts[1]), "{}", texts[1]);
    assert!((MAX_SHOWN - 3..=MAX_SHOWN).contains(&texts[1].len()));
    assert!(matches!(&found[3].item, Item::Json(text) if text.len() == MAX_ITEM));
}

#[test]
fn files_that_are_no_whole_array_say_so() {
    for (file, items, end) in [
        ("", 0, Err(Broken::Empty)),
        (" \n", 0, Err(Broken::Empty)),
        ("{\"a\":[1]}", 0, Err(Broken::NoArray)),
        ("1", 0, Err(Broken::NoArray)),
        ("[", 0, Err(Broken::Truncated)),
        ("[1,2", 1, Err(Broken::Truncated)),
        ("[1,\"]", 1, Err(Broken::Truncated)),
        ("[1] 2", 1, Err(Broken::Trailing)),
        ("\u{FEFF} [ ] ", 0, Ok(())),
        ("[\u{FEFF}]", 1, Ok(())),
        ("[1,]", 2, Ok(())),
        ("[,]", 2, Ok(())),
    ] {
        let (found, ended) = scan(Scanner::new(), file.as_bytes(), &[1]);
        assert_eq!((found.len(), ended), (items, end), "{file:?}");
    }
    for end in [0, 1, 3] {
        let (found, ended) = scan(Scanner::after(end), b"[10,2]", &[1]);
        let expected = match end {
            3 => (1, Ok(())),
            _ => (0, Err(Broken::NoItem)),
        };
        assert_eq!((found.len(), ended), expected, "{end}");
    }
}
