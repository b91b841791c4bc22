use proptest::prelude::*;

use super::filter::{Filter, matches};
use super::{Acl, AclFile, Permissions};
use crate::source::Sender;

fn sender(user: Option<&str>, client_id: &str) -> Sender {
    Sender {
        user: user.map(ToOwned::to_owned),
        client_id: client_id.to_owned(),
    }
}

const RULES: &str = "\
# of clients without a name
topic write public/#
topic read secret/#

user ann
topic rigs/+/measurements/pressure
topic deny rigs/RIG-7/#
  topic   readwrite   with space/x y

user bob
topic deny #
user ann
topic write more
pattern write rigs/%u/measurements/#
pattern write clients/%c/+
";

#[test]
fn the_rules_of_a_file_say_who_may_publish_what() {
    let acl = Acl::parse(RULES, true).unwrap();
    assert_eq!(acl.count, 9);
    let (ann, bob, eve) = (Some("ann"), Some("bob"), Some("eve"));
    for (user, client, topic, expected) in [
        (None, "c", "public/a/b", true),
        (None, "c", "public", true),
        (None, "c", "secret/a", false),
        (None, "c", "rigs//measurements/a", false),
        (None, "c", "clients/c/a", true),
        (None, "c", "clients/d/a", false),
        (None, "c", "clients/c/a/b", false),
        (ann, "c", "public/a", false),
        (ann, "c", "rigs/RIG-1/measurements/pressure", true),
        (ann, "c", "rigs/RIG-1/measurements/flow", false),
        (ann, "c", "rigs/RIG-7/measurements/pressure", false),
        (ann, "c", "rigs/ann/measurements/flow", true),
        (ann, "c", "rigs/bob/measurements/flow", false),
        (ann, "c", "with space/x y", true),
        (ann, "c", "more", true),
        // What is denied is denied to patterns, too.
        (bob, "c", "rigs/bob/measurements/flow", false),
        (eve, "c", "rigs/eve/measurements/a/b", true),
        (eve, "c", "more", false),
        // Names that would be wildcards or more than a level.
        (Some("+"), "c", "rigs/bob/measurements/a", false),
        (Some("+"), "c", "rigs/+/measurements/a", false),
        (Some("#"), "#", "rigs/bob/measurements/a", false),
        (Some("a/b"), "c", "rigs/a/b/measurements/a", false),
        (Some(""), "", "rigs//measurements/a", false),
        (eve, "+", "clients/c/a", false),
        (eve, "", "clients//a", false),
    ] {
        let granted = acl.granted_to(&sender(user, client));
        assert_eq!(granted.allows(topic), expected, "{user:?} {client} {topic}");
    }
}

#[test]
fn errors_name_the_line_and_what_is_accepted() {
    for (text, line, expected) in [
        ("\n# x\ntopics a", 3, "the line is \"topics a\""),
        ("user", 1, "user NAME"),
        ("topic", 1, "topic [write"),
        ("topic wirte a", 1, "not \"wirte\""),
        ("topic a/#/b", 1, "# only as the last level"),
        ("topic a#", 1, "# only as the last level"),
        ("topic a/b+", 1, "+ only as a whole level"),
        ("topic write a/%u", 1, "only behind the word pattern"),
        ("pattern a/x%u", 1, "%u and %c only as whole levels"),
    ] {
        let (at, accepted) = Acl::parse(text, true).unwrap_err();
        assert_eq!(at, line, "{text}");
        assert!(accepted.contains(expected), "{text}: {accepted}");
    }
    for text in ["topic a\nuser ann", "topic a\npattern a/%u"] {
        let (at, accepted) = Acl::parse(text, false).unwrap_err();
        assert_eq!(at, 2);
        assert!(accepted.contains("MQTT_USERS"), "{accepted}");
    }
    assert!(Acl::parse("topic a\npattern a/%c", false).is_ok());
}

#[test]
fn rules_that_are_read_again_count_and_a_bad_file_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rules");
    std::fs::write(&path, "topic write a\n").unwrap();
    let file = std::sync::Arc::new(AclFile::open(&path, false).unwrap());
    let mut permissions = Permissions::new(Some(file.clone()), sender(None, "c"));
    let mut allowed = || {
        permissions.refresh();
        ["a", "b"].map(|topic| permissions.refused(topic).is_none())
    };
    assert_eq!(allowed(), [true, false]);
    std::fs::write(&path, "topic write b\n").unwrap();
    assert_eq!(allowed(), [true, false]);
    assert_eq!(file.reload(), Ok(1));
    assert_eq!(allowed(), [false, true]);
    std::fs::write(&path, "topic write a\nnonsense\n").unwrap();
    let error = file.reload().unwrap_err().to_string();
    assert!(error.contains("line 2"), "{error}");
    assert_eq!(allowed(), [false, true]);
}

#[test]
fn without_rules_everything_is_allowed_and_with_an_empty_file_nothing() {
    let open = Permissions::new(None, sender(None, "c"));
    assert!(open.refused("a").is_none());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rules");
    std::fs::write(&path, "").unwrap();
    let file = AclFile::open(&path, false).unwrap();
    let closed = Permissions::new(Some(file.into()), sender(None, "c"));
    assert_eq!(*closed.refused("a").unwrap(), sender(None, "c"));
}

/// The specification, a level at a time.
fn model(filter: &[&str], topic: &[&str], first: bool) -> bool {
    let hidden = first && topic.first().is_some_and(|level| level.starts_with('$'));
    match (filter.split_first(), topic.split_first()) {
        (None, None) => true,
        (Some((&"#", _)), _) => !hidden,
        (Some((&"+", filter)), Some((_, topic))) => !hidden && model(filter, topic, false),
        (Some((wanted, filter)), Some((level, topic))) => {
            wanted == level && model(filter, topic, false)
        }
        _ => false,
    }
}

proptest! {
    #[test]
    fn topics_match_filters_as_the_specification_says(
        filter in proptest::collection::vec("a|b||\\+|\\$x", 1..5),
        all_below in any::<bool>(),
        topic in proptest::collection::vec("a|b||\\$x", 1..6),
    ) {
        let mut filter: Vec<&str> = filter.iter().map(String::as_str).collect();
        if all_below {
            filter.push("#");
        }
        let topic: Vec<&str> = topic.iter().map(String::as_str).collect();
        let expected = model(&filter, &topic, true);
        prop_assert_eq!(matches(&filter.join("/"), &topic.join("/")), expected);
    }

    /// A user that may publish below its own name reaches no topic outside.
    #[test]
    fn no_name_reaches_the_topics_of_another(
        user in "[ab+#/$%u]{0,4}",
        topic in "rigs/[ab/$%u]{0,5}/measurements/[ab]",
    ) {
        let pattern = Filter::parse("rigs/%u/measurements/#", true).unwrap();
        let filter = pattern.of(&sender(Some(&user), "c"));
        let allowed = filter.is_some_and(|filter| matches(&filter, &topic));
        let own = !user.is_empty() && !user.contains(['/', '+', '#']);
        let below = topic.starts_with(&format!("rigs/{user}/measurements/"));
        prop_assert_eq!(allowed, own && below);
    }
}
