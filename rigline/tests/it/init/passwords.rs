//! Given secrets, and the command `passwords`.

use super::fixture::Site;
use crate::fixture::text;

#[test]
fn given_secrets_are_used_unchanged() {
    let site = Site::new();
    let env = [
        ("INFLUX_TOKEN", "my-token=="),
        ("INFLUX_PASSWORD", "my pass word"),
        ("JUPYTER_TOKEN", "my&token"),
    ];
    let ended = site.init(&env);
    let said = text(&ended);
    assert!(ended.status.success(), "{said}");
    site.assert_good();
    assert_eq!(site.read("admin/influx-token"), "my-token==");
    assert!(site.server.accepts_password("admin", "my pass word"));
    assert_eq!(site.read("notebook/jupyter-token"), "my&token");
    assert!(!site.path("admin/jupyter-token").exists());
    for (_, secret) in env {
        assert!(!said.contains(secret), "{said}");
    }
    // They are kept without the settings.
    assert!(site.init(&[]).status.success());
    assert_eq!(site.read("admin/influx-token"), "my-token==");
    assert!(site.server.accepts_password("admin", "my pass word"));
    let shown = text(&site.run("passwords", &[]));
    assert!(
        shown.contains("my-token==") && shown.contains("my pass word"),
        "{shown}"
    );
}

#[test]
fn empty_settings_count_as_unset_except_for_jupyter() {
    let site = Site::new();
    let env = [
        ("INFLUX_TOKEN", ""),
        ("INFLUX_PASSWORD", ""),
        ("JUPYTER_TOKEN", ""),
    ];
    assert!(site.init(&env).status.success());
    site.assert_good();
    assert!(site.read("admin/influx-token").len() >= 40);
    assert_eq!(site.read("notebook/jupyter-token"), "");
    let shown = text(&site.run("passwords", &[]));
    assert!(shown.contains("needs no token"), "{shown}");
    // Unset again: a token is generated.
    assert!(site.init(&[]).status.success());
    assert!(site.read("notebook/jupyter-token").len() >= 40);
}

#[test]
fn secrets_are_read_from_files() {
    let site = Site::new();
    let file = site.path("..").join("given");
    std::fs::create_dir_all(site.path("")).unwrap();
    std::fs::write(&file, "from a file\n").unwrap();
    let file = file.display().to_string();
    let ended = site.init(&[("INFLUX_PASSWORD_FILE", &file)]);
    assert!(ended.status.success(), "{}", text(&ended));
    assert!(site.server.accepts_password("admin", "from a file"));
}

#[test]
fn changed_password_is_set_once() {
    let site = Site::new();
    assert!(site.init(&[]).status.success());
    let env = [("INFLUX_PASSWORD", "another one")];
    for _ in 0..2 {
        let ended = site.init(&env);
        assert!(ended.status.success(), "{}", text(&ended));
        site.assert_good();
        assert_eq!(site.read("admin/influx-password"), "another one");
    }
    let requests = site.proxy.requests();
    let changes = requests
        .iter()
        .filter(|request| request.ends_with("/password"));
    assert_eq!(changes.count(), 1, "{requests:?}");
}

#[test]
fn passwords_are_printed_after_the_setup() {
    let site = Site::new();
    let early = site.run("passwords", &[]);
    assert_eq!(early.status.code(), Some(2));
    assert!(text(&early).contains("rigline init"), "{}", text(&early));
    assert!(!site.path("").exists());
    assert!(site.init(&[]).status.success());
    let shown = site.run("passwords", &[("JUPYTER_PAGE", "http://localhost:9999/")]);
    assert!(shown.status.success());
    let expected = format!(
        "InfluxDB  http://localhost:8086\n  user             admin\n  password         {}\n  \
         operator token   {}\nJupyter   http://localhost:9999/?token={token}\n  token            \
         {token}\n",
        site.read("admin/influx-password"),
        site.read("admin/influx-token"),
        token = site.read("notebook/jupyter-token"),
    );
    assert_eq!(text(&shown), expected);
}
