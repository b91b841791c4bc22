//! Addresses of servers in pipeline files, which may hold passwords.

use std::borrow::Cow;
use std::str::FromStr;

use url::Url;

use super::check::{Checked, require};
use super::error::Problem;
use super::value::At;

/// Checks the URL of a broker.
pub(super) fn broker(url: Option<&At<String>>) -> Checked {
    let Some((url, parsed)) = url.zip(of(url, &["mqtt", "mqtts"])?) else {
        return Ok(());
    };
    let has_path = !matches!(parsed.path(), "" | "/") || parsed.query().is_some();
    require(!has_path, url.span(), || {
        "the URL has a path: topics are in topic".to_owned()
    })
}

/// Checks the URL of a stream.
pub(super) fn stream(url: &At<String>) -> Checked {
    let Some(parsed) = of(Some(url), &["http", "https"])? else {
        return Ok(());
    };
    require(parsed.path().len() > 1, url.span(), || {
        "the URL has no path, which says which stream is read".to_owned()
    })?;
    let is_plain = parsed.query().is_none() && parsed.fragment().is_none();
    require(is_plain, url.span(), || {
        "the URL has a query or a fragment; after and follow are added to it".to_owned()
    })
}

/// The URL of Kafka brokers: `kafka://host[:port][,host[:port]…]`, or with TLS `kafkas://…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaUrl {
    /// The hosts with their ports.
    pub servers: Vec<String>,
    /// Whether they are reached with TLS.
    pub is_tls: bool,
}

/// A string that is no URL of Kafka brokers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KafkaUrlError(String);

/// The port of a broker whose address names none.
const KAFKA_PORT: u16 = 9092;

impl FromStr for KafkaUrl {
    type Err = KafkaUrlError;

    fn from_str(url: &str) -> Result<Self, KafkaUrlError> {
        let (is_tls, hosts) = match url.split_once("://") {
            Some(("kafka", hosts)) => (false, hosts),
            Some(("kafkas", hosts)) => (true, hosts),
            _ => {
                let problem = "the URL doesn't start with kafka:// or kafkas:// and a host";
                return Err(KafkaUrlError(problem.to_owned()));
            }
        };
        let hosts = hosts.trim_end_matches('/').split(',');
        let servers = hosts.map(kafka_server).collect::<Result<_, _>>()?;
        Ok(Self { servers, is_tls })
    }
}

/// A host of Kafka with its port.
fn kafka_server(host: &str) -> Result<String, KafkaUrlError> {
    let parsed = Url::parse(&format!("kafka://{host}")).ok();
    let parsed = parsed.filter(|parsed| {
        let has_login = !parsed.username().is_empty() || parsed.password().is_some();
        let is_plain = matches!(parsed.path(), "" | "/") && parsed.query().is_none();
        !has_login && is_plain && parsed.port() != Some(0)
    });
    let address = parsed.as_ref().and_then(|parsed| {
        let port = parsed.port().unwrap_or(KAFKA_PORT);
        parsed.host_str().map(|name| format!("{name}:{port}"))
    });
    address.ok_or_else(|| {
        KafkaUrlError(format!(
            "{host:?} isn't host:port; user and password have keys of their own"
        ))
    })
}

/// Checks the URL of Kafka brokers.
pub(super) fn brokers(url: Option<&At<String>>) -> Checked {
    let Some(url) = url else { return Ok(()) };
    let parsed = url.parse::<KafkaUrl>();
    parsed
        .map(|_| ())
        .map_err(|error| Problem::at(url.span(), error.to_string()))
}

/// Parses a URL with one of these schemes, if there is one.
pub(super) fn of(url: Option<&At<String>>, schemes: &[&str]) -> Result<Option<Url>, Problem> {
    let Some(url) = url else { return Ok(None) };
    let has_scheme = url.split_once("://").is_some_and(|(scheme, rest)| {
        schemes.contains(&scheme) && !rest.is_empty() && !rest.starts_with('/')
    });
    require(has_scheme, url.span(), || {
        let schemes: Vec<_> = schemes
            .iter()
            .map(|scheme| format!("{scheme}://"))
            .collect();
        format!(
            "the URL doesn't start with {} and a host",
            schemes.join(" or ")
        )
    })?;
    let parsed = Url::parse(url)
        .map_err(|error| Problem::at(url.span(), format!("the URL can't be used: {error}")))?;
    require(parsed.port() != Some(0), url.span(), || {
        "the URL has the port 0".to_owned()
    })?;
    Ok(Some(parsed))
}

/// The text of a file in which passwords of URLs, and tokens, are asterisks. All places stay where they are.
pub(super) fn without_secrets(text: &str) -> Cow<'_, str> {
    let mut hidden: Vec<_> = Vec::new();
    for (at, _) in text.match_indices("://") {
        let from = at + 3;
        let rest = &text[from..];
        let end = rest.find(['"', '\'', '/', ' ', '\n']).unwrap_or(rest.len());
        if let Some(login) = rest[..end].rfind('@')
            && let Some(colon) = rest[..login].find(':')
        {
            hidden.push(from + colon + 1..from + login);
        }
    }
    let words = ["token", "password"].into_iter();
    for (at, word) in words.flat_map(|word| text.match_indices(word)) {
        let behind = &text[at + word.len()..];
        let value = behind.trim_start_matches([' ', '\t']).strip_prefix('=');
        let Some(value) = value.map(|value| value.trim_start_matches([' ', '\t'])) else {
            continue;
        };
        if let Some(quote) = value
            .chars()
            .next()
            .filter(|first| matches!(first, '"' | '\''))
        {
            let from = text.len() - value.len() + 1;
            let length = value[1..].find([quote, '\n']).unwrap_or(value.len() - 1);
            hidden.push(from..from + length);
        }
    }
    // What is a variable is no secret, and helps to find the mistake.
    hidden.retain(|place| !text[place.clone()].starts_with("${"));
    if hidden.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut shown = text.to_owned();
    for place in hidden {
        let stars = "*".repeat(place.len());
        shown.replace_range(place, &stars);
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::without_secrets;

    #[test]
    fn passwords_and_tokens_are_hidden_in_place() {
        for (text, shown) in [
            (
                "url = \"mqtt://ann:pa:s@h/x\"",
                "url = \"mqtt://ann:****@h/x\"",
            ),
            ("url = 'mqtts://ann@h'", "url = 'mqtts://ann@h'"),
            (
                "url = \"redis://:päss@h:1\"",
                "url = \"redis://:*****@h:1\"",
            ),
            ("a = 1\ntoken  = \"abc\"\nb", "a = 1\ntoken  = \"***\"\nb"),
            (
                "[[store]]\nx = { token='abc', y = 1 }",
                "[[store]]\nx = { token='***', y = 1 }",
            ),
            ("token = \"${INFLUX_TOKEN}\"", "token = \"${INFLUX_TOKEN}\""),
            ("url = \"mqtt://ann:${P}@h\"", "url = \"mqtt://ann:${P}@h\""),
            ("token = \"open", "token = \"****"),
            ("tokens", "tokens"),
            ("password = 'p'", "password = '*'"),
            (
                "url = \"mongodb://ann:p@a,b\"",
                "url = \"mongodb://ann:*@a,b\"",
            ),
        ] {
            assert_eq!(without_secrets(text), shown);
            assert_eq!(without_secrets(text).len(), text.len());
        }
    }
}
