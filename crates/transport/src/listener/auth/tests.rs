use proptest::prelude::*;

use super::{PasswordError, Users, hash_password, line};

/// Made by `mosquitto_passwd` 2.0.
const ANN: &str = "ann:$7$101$aijmY+0fAHPtBGBr$2P6s8SkHUvtdTc5HftSEkzrernjqT2mar+RUokU0H+E7/TNxJypMoLfKWCKHzs809L6uQC3U/vWHTAyjc780Vg==";

fn parse(text: &str) -> Result<Users, String> {
    Users::parse(text, "users").map_err(|error| error.to_string())
}

#[test]
fn our_lines_are_accepted_and_have_different_salts() {
    let lines = ["ann", "bob"].map(|user| line(user, "s3cret", 1_000).unwrap());
    assert_ne!(lines[0].split('$').nth(3), lines[1].split('$').nth(3));
    let users = parse(&lines.join("\n")).unwrap();
    assert!(users.accept("ann", b"s3cret") && users.accept("bob", b"s3cret"));
    for (user, password) in [("ann", "S3cret"), ("ann", ""), ("eve", "s3cret"), ("", "")] {
        assert!(!users.accept(user, password.as_bytes()), "{user}");
    }
    assert!(!format!("{users:?}").contains("ann"));
}

#[test]
fn new_hashes_have_the_recommended_iterations() {
    let line = hash_password("ann", "right").unwrap();
    assert!(line.starts_with("ann:$7$210000$"), "{line}");
    assert!(parse(&line).unwrap().accept("ann", b"right"));
}

#[test]
fn accepted_password_is_remembered_and_no_other() {
    let users = parse(&line("ann", "right", 1_000).unwrap()).unwrap();
    assert!(!users.was_accepted("ann", b"right"));
    assert!(!users.accept("ann", b"wrong") && users.accept("ann", b"right"));
    assert!(users.was_accepted("ann", b"right"));
    for (user, password) in [("ann", "wrong"), ("ann", ""), ("an", "nright"), ("", "")] {
        assert!(!users.was_accepted(user, password.as_bytes()), "{user}");
    }
}

#[test]
fn lines_of_mosquitto_and_slower_hashes_are_accepted() {
    let ours = line("bob", "right", 1_000).unwrap();
    let users = parse(&format!("# people\r\n\r\n{ANN}\r\n{ours}\n")).unwrap();
    assert!(users.accept("ann", b"right") && !users.accept("ann", b"wrong"));
}

#[test]
fn an_error_names_the_line_and_does_not_show_its_content() {
    for (line, what) in [
        ("ann:hunter2", "isn't hashed"),
        ("hunter2", "no ':'"),
        (":$7$1$aaaa$bbbb", "name"),
        ("ann:$6$hunter2$bbbb", "$6$"),
        ("ann:$argon2id$v=19$hunter2", "another kind"),
        ("ann:$7$101$hunter2", "complete"),
        ("ann:$7$0$aaaa$bbbb", "iterations"),
        ("ann:$7$99999999999$aaaa$bbbb", "iterations"),
        ("ann:$7$101$!$bbbb", "salt"),
        ("ann:$7$101$aaaa$bbbb", "bad hash"),
        (ANN, "second time"),
    ] {
        let error = parse(&format!("# one\n{ANN}\n{line}\n")).unwrap_err();
        assert!(
            error.contains("MQTT_USERS") && error.contains("line 3"),
            "{error}"
        );
        assert!(
            error.contains(what) && error.contains("mosquitto_passwd"),
            "{error}"
        );
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn a_name_or_password_that_a_file_cannot_hold_is_refused() {
    for user in ["", "a:b", "a\nb", "#a", " a", &"x".repeat(1_025)] {
        assert_eq!(hash_password(user, "x"), Err(PasswordError::Name), "{user}");
    }
    assert_eq!(hash_password("a", ""), Err(PasswordError::Password));
}

proptest! {
    #[test]
    fn no_file_content_panics(text in ".{0,200}", line in r"[a-z#]{0,3}:?(\$[67])?(\$[0-9]{1,3})?(\$[A-Za-z=]{0,9}){0,3}") {
        let _ = parse(&text);
        let _ = parse(&line);
    }
}
