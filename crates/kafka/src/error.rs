//! Errors of brokers.

use krafka::KrafkaError;

/// Why Kafka can't be used, named by what to do next. Messages are for operators and contain no secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KafkaError {
    /// Try again later: no broker is available.
    #[error("{0}")]
    Unavailable(String),
    /// An operator has to change the settings or the broker.
    #[error("{0}")]
    Denied(String),
}

impl KafkaError {
    /// An error of the brokers at `servers`.
    pub(crate) fn of(servers: &str, error: &KrafkaError) -> Self {
        let text = format!("Kafka at {servers}: {}", describe(error));
        match error {
            KrafkaError::Auth { .. } | KrafkaError::Config { .. } => Self::Denied(text),
            KrafkaError::Broker { code, .. } if is_denied(*code) => Self::Denied(text),
            _ => Self::Unavailable(text),
        }
    }
}

/// The message, with those of its causes that it doesn't repeat.
fn describe(error: &KrafkaError) -> String {
    let mut text = match error {
        KrafkaError::UnknownTopic { topic } => {
            format!("there is no topic {topic:?}: create it, or correct its name")
        }
        other => other.to_string(),
    };
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let words = inner.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = inner.source();
    }
    text
}

fn is_denied(code: krafka::error::ErrorCode) -> bool {
    use krafka::error::ErrorCode as Code;
    matches!(
        code,
        Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed
            | Code::SaslAuthenticationFailed
            | Code::UnsupportedSaslMechanism
            | Code::InvalidTopic
    )
}
