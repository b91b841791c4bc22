//! Topic filters of rules, with placeholders for a client's names.

use crate::source::Sender;

/// Which name of a client a placeholder stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    /// `%u`
    User,
    /// `%c`
    ClientId,
}

/// A level of a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Level {
    /// A name or a wildcard.
    Text(String),
    Placeholder(Holder),
}

/// A filter as it is in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Filter(Vec<Level>);

impl Filter {
    /// Parses a filter. The error is what is accepted.
    pub(super) fn parse(text: &str, is_pattern: bool) -> Result<Self, String> {
        let levels: Vec<&str> = text.split('/').collect();
        let last = levels.len() - 1;
        let parsed = levels.iter().enumerate().map(|(place, &level)| {
            let placeholder = match level {
                "%u" => Some(Holder::User),
                "%c" => Some(Holder::ClientId),
                _ => None,
            };
            let holds = |text: &str| level.contains(text);
            match placeholder {
                Some(holder) if is_pattern => Ok(Level::Placeholder(holder)),
                None if holds("#") && (level != "#" || place != last) => {
                    Err("# only as the last level of a filter".to_owned())
                }
                None if holds("+") && level != "+" => {
                    Err("+ only as a whole level of a filter".to_owned())
                }
                None if is_pattern && (holds("%u") || holds("%c")) => {
                    Err("%u and %c only as whole levels of a filter".to_owned())
                }
                None => Ok(Level::Text(level.to_owned())),
                Some(_) => Err("%u and %c only behind the word pattern".to_owned()),
            }
        });
        parsed.collect::<Result<_, _>>().map(Self)
    }

    /// Whether there is a placeholder for this name.
    pub(super) fn holds(&self, holder: Holder) -> bool {
        self.0.contains(&Level::Placeholder(holder))
    }

    /// The filter of this client; `None` if it has no name for a placeholder, or one that isn't a single
    /// level without wildcards.
    pub(super) fn of(&self, sender: &Sender) -> Option<String> {
        let levels = self.0.iter().map(|level| match level {
            Level::Text(text) => Some(text.as_str()),
            Level::Placeholder(Holder::User) => single_level(sender.user.as_deref()?),
            Level::Placeholder(Holder::ClientId) => single_level(&sender.client_id),
        });
        let levels: Vec<&str> = levels.collect::<Option<_>>()?;
        Some(levels.join("/"))
    }
}

fn single_level(name: &str) -> Option<&str> {
    (!name.is_empty() && !name.contains(['/', '+', '#'])).then_some(name)
}

/// Whether a topic matches a filter, as MQTT says.
pub(super) fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut levels = topic.split('/');
    for wanted in filter.split('/') {
        match wanted {
            // It stands for no level, too.
            "#" => return true,
            "+" if levels.next().is_some() => {}
            _ if levels.next() == Some(wanted) => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}
