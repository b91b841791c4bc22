//! What an operator writes.

use ingester::decoder::MappedDecoder;
use model::pipeline::PipelineFile;
use model::time::Timestamp;
use queue::testing::settings;
use transformer::settings::Work;
use transport::generated::read_password_file;

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
