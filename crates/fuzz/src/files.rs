//! What an operator writes.

use ingester::decoder::MappedDecoder;
use model::pipeline::PipelineFile;
use model::time::Timestamp;
use queue::testing::settings;
use transformer::settings::Work;
use transport::generated::{may_publish, read_password_file};

/// A pipeline file. One that is accepted can be run; of another one the error says where it is wrong.
pub fn pipeline(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    match PipelineFile::parse("fuzz.toml", text, &|name| Some(name.to_owned())) {
        Ok(file) => {
            let now = Timestamp::from_nanos(1_800_000_000_000_000_000);
            let _ = MappedDecoder::new(&file).map("a/b", b"{\"value\":1}", now, now);
            let _ = Work::of_file(&file, settings());
            let _ = file.unit_of("value_mean");
        }
        Err(error) => assert!(error.to_string().contains("fuzz.toml"), "{error}"),
    }
}

/// A password file. The error doesn't hold what may be a password.
pub fn passwords(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let Some(error) = read_password_file(text) else {
        return;
    };
    for line in text.lines().filter(|line| line.len() > 80) {
        assert!(!error.contains(line), "{error}");
    }
}

/// A file of rules about who may publish what; behind a zero byte a user, and behind another one a topic. A user whose
/// name isn't one level can't publish by a pattern.
pub fn rules(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let mut parts = text.split('\0');
    let (Some(rules), user, topic) = (parts.next(), parts.next(), parts.next()) else {
        return;
    };
    let (user, topic) = (user.unwrap_or("ann"), topic.unwrap_or("a/ann/b"));
    let _ = may_publish(rules, user, topic);
    let is_level = !user.is_empty() && !user.contains(['/', '+', '#']);
    let by_pattern = may_publish("pattern write a/%u/#", user, topic) == Ok(true);
    assert!(!by_pattern || (is_level && topic.starts_with(&format!("a/{user}"))));
}
