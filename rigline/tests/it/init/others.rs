//! Servers that somebody else has set up, or nobody to the end.

use testkit::influx_setup::{Break, InfluxSetupServer, Organisation, State, Token, User};

use super::fixture::{Site, creating};
use crate::fixture::text;

/// As the `influx setup` of somebody else leaves it.
fn set_up_by_another(server: &InfluxSetupServer, user: &str) {
    server.change(|state| {
        let (org, name) = (state.next_id(), "their-org".to_owned());
        state.organisations.push(Organisation {
            id: org.clone(),
            name,
        });
        let id = state.next_id();
        state.users.push(User {
            id,
            name: user.to_owned(),
            password: "their password".into(),
        });
        let id = state.next_id();
        state.tokens.push(Token {
            id,
            org,
            value: "their-token".into(),
            description: "their Token".into(),
            is_active: true,
            permissions: None,
        });
    });
}

#[test]
fn a_foreign_server_is_left_alone_without_its_token() {
    let site = Site::new();
    set_up_by_another(&site.server, "them");
    for env in [&[][..], &[("INFLUX_TOKEN", "not-theirs")]] {
        let before = site.server.state();
        let ended = site.init(env);
        let said = text(&ended);
        assert_eq!(ended.status.code(), Some(1), "{said}");
        for part in [
            "error: ",
            "operator token",
            "INFLUX_TOKEN in .env",
            "docker compose down -v",
            "deletes",
        ] {
            assert!(said.contains(part), "{said}");
        }
        assert!(!said.contains("not-theirs"), "{said}");
        assert_eq!(site.server.state(), before);
        assert_eq!(creating(&site.server.requests()), Vec::<String>::new());
    }
}

#[test]
fn a_foreign_server_is_used_with_its_token() {
    let site = Site::new();
    set_up_by_another(&site.server, "them");
    let env = [
        ("INFLUX_TOKEN", "their-token"),
        ("INFLUX_PASSWORD", "my password"),
    ];
    let ended = site.init(&env);
    let said = text(&ended);
    assert!(ended.status.success(), "{said}");
    assert!(said.contains("no user admin"), "{said}");
    let state = site.server.state();
    assert_eq!(state.users.len(), 1);
    assert_eq!(state.users[0].password, "their password");
    assert_eq!(state.organisations[1].name, "my-org");
    assert_eq!(site.read("admin/influx-token"), "their-token");
    assert!(state.may(&site.read("sink/influx-token"), "write", "rigs"));
    // From now on it is kept here.
    assert!(site.init(&[]).status.success());
    let shown = text(&site.run("passwords", &[]));
    assert!(
        shown.contains("their-token") && shown.contains("not known here"),
        "{shown}"
    );
}

#[test]
fn a_token_that_may_not_do_everything_is_found_out() {
    let site = Site::new();
    assert!(site.init(&[]).status.success());
    let sink = site.read("sink/influx-token");
    let other = Site::new();
    let url = site.server.url();
    let ended = other.init(&[("INFLUX_TOKEN", &sink), ("INFLUX_URL", &url)]);
    let said = text(&ended);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("isn't an operator token"), "{said}");
    assert!(!said.contains(&sink), "{said}");
    site.assert_good();
}

#[test]
fn another_token_later_is_refused_with_words_that_help() {
    let site = Site::new();
    assert!(site.init(&[]).status.success());
    let ended = site.init(&[("INFLUX_TOKEN", "a-new-one")]);
    let said = text(&ended);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("take INFLUX_TOKEN out of .env"), "{said}");
    assert!(site.init(&[]).status.success());
    site.assert_good();
}

#[test]
fn a_server_that_was_set_up_by_half_says_what_to_do() {
    let site = Site::new();
    site.server.break_at(3, Break::HalfSetUp);
    let ended = site.init(&[]);
    let said = text(&ended);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert_eq!(
        site.server.state().users.len(),
        1,
        "{:?}",
        site.server.requests()
    );
    for part in [
        "in the middle of its first set-up",
        "docker compose down -v",
    ] {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn data_that_was_deleted_is_set_up_again_with_the_secrets_that_are_there() {
    let site = Site::new();
    assert!(site.init(&[]).status.success());
    let password = site.read("admin/influx-password");
    site.server.change(|state| *state = State::default());
    let ended = site.init(&[]);
    assert!(ended.status.success(), "{}", text(&ended));
    assert_eq!(site.read("admin/influx-password"), password);
    let state = site.server.state();
    assert!(state.may(&site.read("sink/influx-token"), "write", "rigs"));
    assert_eq!(state.tokens.len(), 3);
}
