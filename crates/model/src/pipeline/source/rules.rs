//! The rules of `[source]`.

use super::{SourceKind, SourceTable};
use crate::pipeline::address;
use crate::pipeline::check::{Checked, refuse, require};
use crate::pipeline::error::Problem;
use crate::pipeline::value::{At, given};

pub(in crate::pipeline) fn check(source: &SourceTable, name: &At<String>) -> Checked {
    match source.kind() {
        SourceKind::Mqtt => {
            not_of_channels(source)?;
            not_of_kafka(source)?;
            not_of_http(source)?;
            not_of_streams(source)?;
            address::broker(source.url.as_ref())?;
            has_topic(source, name)
        }
        SourceKind::RedisPubsub => {
            refuse(source.topic.as_ref(), "a topic is for kind = \"mqtt\"")?;
            not_of_http(source)?;
            not_of_streams(source)?;
            not_of_mqtt(source)?;
            not_of_kafka(source)?;
            address::of(source.url.as_ref(), &["redis", "rediss"])?;
            match (&source.channel, &source.pattern) {
                (Some(_), Some(pattern)) => Err(Problem::at(
                    pattern.span(),
                    "either channel or pattern, not both",
                )),
                (None, None) => Err(Problem::at(
                    name.span(),
                    "[source] has no channel and no pattern",
                )),
                _ => Ok(()),
            }
        }
        SourceKind::Kafka => kafka(source, name),
        SourceKind::Http => http(source, name),
        SourceKind::HttpStream => http_stream(source, name),
    }
}

fn http_stream(source: &SourceTable, name: &At<String>) -> Checked {
    not_of_channels(source)?;
    not_of_mqtt(source)?;
    not_of_kafka(source)?;
    not_of_http(source)?;
    let why = "the topic of a stream's messages is the path in its url";
    refuse(source.topic.as_ref(), why)?;
    let example = "for instance url = \"http://localhost:8060/metrics\"";
    let Some(url) = &source.url else {
        let problem = Problem::at(name.span(), "[source] has no url");
        return Err(problem.with_help(example));
    };
    address::stream(url).map_err(|problem| problem.with_help(example))
}

fn http(source: &SourceTable, name: &At<String>) -> Checked {
    not_of_channels(source)?;
    not_of_mqtt(source)?;
    not_of_kafka(source)?;
    not_of_streams(source)?;
    let why = "the paths of kind = \"http\" are in path";
    refuse(source.topic.as_ref(), why)?;
    let why = "requests come to HTTP_ADDR of the ingester";
    refuse(source.url.as_ref(), why)?;
    let example = "for instance path = \"/rooms/{room}/climate\"";
    let Some(path) = &source.path else {
        let problem = Problem::at(name.span(), "[source] has no path");
        return Err(problem.with_help(example));
    };
    require(path.as_str().starts_with('/'), path.span(), || {
        "a path begins with /".to_owned()
    })
    .map_err(|problem| problem.with_help(example))
}

fn kafka(source: &SourceTable, name: &At<String>) -> Checked {
    not_of_channels(source)?;
    not_of_mqtt(source)?;
    not_of_http(source)?;
    not_of_streams(source)?;
    require(source.url.is_some(), name.span(), || {
        "[source] has no url".to_owned()
    })
    .map_err(|problem| problem.with_help("url = \"kafka://host:9092\""))?;
    address::brokers(source.url.as_ref())?;
    has_topic(source, name)?;
    if let Some(topic) = &source.topic {
        require(topic.is_kafka_topic(), topic.span(), || {
            format!("{:?} can't name a topic of Kafka", topic.as_str())
        })
        .map_err(|problem| problem.with_help("1 to 249 letters, digits, . _ and -"))?;
    }
    if let Some(group) = &source.group {
        require(!group.is_empty(), group.span(), || {
            "the group has no name".to_owned()
        })?;
    }
    let has_password = given(source.password.as_ref()).is_some();
    match &source.user {
        Some(user) if !user.is_empty() => require(has_password, user.span(), || {
            "the user has no password".to_owned()
        }),
        _ => Ok(()),
    }
}

fn has_topic(source: &SourceTable, name: &At<String>) -> Checked {
    require(source.topic.is_some(), name.span(), || {
        "[source] has no topic".to_owned()
    })
    .map_err(|problem| problem.with_help("for instance topic = \"sensors/{room}/{field}\""))
}

fn not_of_channels(source: &SourceTable) -> Checked {
    for channel in [&source.channel, &source.pattern] {
        refuse(channel.as_ref(), "channels are for kind = \"redis-pubsub\"")?;
    }
    Ok(())
}

fn not_of_mqtt(source: &SourceTable) -> Checked {
    refuse(source.ignore.as_ref(), "ignore is for kind = \"mqtt\"")?;
    refuse(source.retained.as_ref(), "retained is for kind = \"mqtt\"")
}

fn not_of_http(source: &SourceTable) -> Checked {
    refuse(source.path.as_ref(), "a path is for kind = \"http\"")
}

fn not_of_streams(source: &SourceTable) -> Checked {
    refuse(
        source.token.as_ref(),
        "a token is for kind = \"http-stream\"",
    )
}

fn not_of_kafka(source: &SourceTable) -> Checked {
    let why = "it is for kind = \"kafka\"";
    refuse(source.group.as_ref(), why)?;
    refuse(source.start.as_ref(), why)?;
    refuse(source.mechanism.as_ref(), why)?;
    let why = "it is for kind = \"kafka\"; here, user and password are in the url";
    refuse(source.user.as_ref(), why)?;
    refuse(source.password.as_ref(), why)
}
