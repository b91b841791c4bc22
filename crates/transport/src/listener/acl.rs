//! Who may publish what: rule files in Mosquitto's format, and the rules of one client.
//!
//! ```text
//! topic write public/#
//! user ann
//! topic write rigs/+/measurements/pressure
//! topic deny rigs/RIG-7/#
//! pattern write rigs/%u/measurements/#
//! ```
//!
//! Rules in front of the first `user` are for clients without a user name, and a `pattern` is for everybody.

mod filter;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use common::settings::BadSetting;

use self::filter::{Filter, Holder};
use crate::source::Sender;

const VARIABLE: &str = "MQTT_ACL";

/// A rule file, and its rules as last read.
#[derive(Debug)]
pub(crate) struct AclFile {
    path: PathBuf,
    /// The names of users are checked, so that rules may be about them.
    has_users: bool,
    rules: RwLock<Arc<Acl>>,
    /// Increases whenever the rules change.
    generation: AtomicU64,
}

impl AclFile {
    /// Reads the file. If nobody's user name is checked, rules about users are an error.
    pub(crate) fn open(path: &Path, has_users: bool) -> Result<Self, BadSetting> {
        Ok(Self {
            path: path.to_owned(),
            has_users,
            rules: RwLock::new(Arc::new(Acl::read(path, has_users)?)),
            generation: AtomicU64::new(0),
        })
    }

    /// Reads the file again. After an error, the rules are as before. Returns their number.
    pub(crate) fn reload(&self) -> Result<usize, BadSetting> {
        let rules = Arc::new(Acl::read(&self.path, self.has_users)?);
        let count = rules.count;
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = rules;
        self.generation.fetch_add(1, Ordering::Release);
        Ok(count)
    }

    fn rules(&self) -> Arc<Acl> {
        let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
        rules.clone()
    }
}

/// What one client may publish.
#[derive(Debug)]
pub(crate) struct Permissions {
    /// `None`: everything.
    file: Option<Arc<AclFile>>,
    sender: Arc<Sender>,
    generation: u64,
    granted: Granted,
}

impl Permissions {
    /// The permissions of this client, by the rules in the file.
    pub(crate) fn new(file: Option<Arc<AclFile>>, sender: Sender) -> Self {
        let mut permissions = Self {
            file,
            sender: Arc::new(sender),
            generation: 0,
            granted: Granted::default(),
        };
        permissions.read_rules();
        permissions
    }

    /// Takes over rules that were read again.
    pub(crate) fn refresh(&mut self) {
        if let Some(file) = &self.file
            && file.generation.load(Ordering::Acquire) != self.generation
        {
            self.read_rules();
        }
    }

    /// The client, if it may not publish to this topic.
    pub(crate) fn refused(&self, topic: &str) -> Option<Arc<Sender>> {
        let is_refused = self.file.is_some() && !self.granted.allows(topic);
        is_refused.then(|| self.sender.clone())
    }

    fn read_rules(&mut self) {
        if let Some(file) = &self.file {
            // In this order: rules that are replaced meanwhile are read again later.
            self.generation = file.generation.load(Ordering::Acquire);
            self.granted = file.rules().granted_to(&self.sender);
        }
    }
}

/// Whether rules allow a client to publish to a topic, or the number of a wrong line.
#[cfg(feature = "testing")]
pub(super) fn may_publish(rules: &str, sender: &Sender, topic: &str) -> Result<bool, usize> {
    let acl = Acl::parse(rules, true).map_err(|(line, _)| line)?;
    Ok(acl.granted_to(sender).allows(topic))
}

/// The filters of one client.
#[derive(Debug, Default, PartialEq, Eq)]
struct Granted {
    allowed: Vec<String>,
    denied: Vec<String>,
}

impl Granted {
    /// What is denied stays denied, whatever else allows it.
    fn allows(&self, topic: &str) -> bool {
        let any = |filters: &[String]| filters.iter().any(|one| filter::matches(one, topic));
        !any(&self.denied) && any(&self.allowed)
    }
}

/// The rules of a file.
#[derive(Debug, Default)]
struct Acl {
    anonymous: Vec<Rule>,
    users: HashMap<String, Vec<Rule>>,
    patterns: Vec<Rule>,
    /// Rules in the file, with those that only allow to read.
    count: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    /// A subscription, which the listener refuses anyway.
    Read,
    Write,
    Deny,
}

#[derive(Debug)]
struct Rule {
    access: Access,
    filter: Filter,
}

impl Acl {
    fn read(path: &Path, has_users: bool) -> Result<Self, BadSetting> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| {
            let accepted = format!("the path of a readable text file ({error})");
            BadSetting::new(VARIABLE, &name, &accepted)
        })?;
        Self::parse(&text, has_users).map_err(|(line, accepted)| {
            BadSetting::new(VARIABLE, &format!("{name}, line {line}"), &accepted)
        })
    }

    /// Parses the content of a file. The error is the number of a line, and what is accepted there.
    fn parse(text: &str, has_users: bool) -> Result<Self, (usize, String)> {
        let mut acl = Self::default();
        let mut user: Option<String> = None;
        for (place, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let error = |accepted: String| (place + 1, accepted);
            let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            let rest = rest.trim_start();
            match word {
                "user" if !rest.is_empty() => {
                    user_is_known(has_users).map_err(error)?;
                    acl.users.entry(rest.to_owned()).or_default();
                    user = Some(rest.to_owned());
                }
                "topic" | "pattern" if !rest.is_empty() => {
                    let rule = Rule::parse(rest, word == "pattern").map_err(error)?;
                    if rule.filter.holds(Holder::User) {
                        user_is_known(has_users).map_err(error)?;
                    }
                    acl.add(word == "pattern", user.as_deref(), rule);
                }
                _ => {
                    return Err(error(format!(
                        "user NAME, topic [write|read|readwrite|deny] FILTER, pattern \
                         [write|read|readwrite|deny] FILTER, or a comment that begins with #; the \
                         line is {line:?}"
                    )));
                }
            }
        }
        Ok(acl)
    }

    fn add(&mut self, is_pattern: bool, user: Option<&str>, rule: Rule) {
        self.count += 1;
        if rule.access == Access::Read {
            return;
        }
        let rules = match user {
            _ if is_pattern => &mut self.patterns,
            Some(user) => self.users.entry(user.to_owned()).or_default(),
            None => &mut self.anonymous,
        };
        rules.push(rule);
    }

    /// The filters of this client.
    fn granted_to(&self, sender: &Sender) -> Granted {
        let own = match &sender.user {
            Some(user) => self.users.get(user),
            None => Some(&self.anonymous),
        };
        let mut granted = Granted::default();
        for rule in own.into_iter().flatten().chain(&self.patterns) {
            let Some(filter) = rule.filter.of(sender) else {
                continue;
            };
            match rule.access {
                Access::Read => {}
                Access::Write => granted.allowed.push(filter),
                Access::Deny => granted.denied.push(filter),
            }
        }
        granted
    }
}

impl Rule {
    /// Parses what is behind `topic` or `pattern`.
    fn parse(text: &str, is_pattern: bool) -> Result<Self, String> {
        let (word, rest) = text.split_once(char::is_whitespace).unwrap_or(("", text));
        let access = match word {
            // Mosquitto's default.
            "" | "readwrite" | "write" => Access::Write,
            "read" => Access::Read,
            "deny" => Access::Deny,
            _ => {
                return Err(format!(
                    "write, read, readwrite or deny in front of the filter, not {word:?}"
                ));
            }
        };
        let filter = Filter::parse(rest.trim_start(), is_pattern)?;
        Ok(Self { access, filter })
    }
}

fn user_is_known(has_users: bool) -> Result<(), String> {
    if has_users {
        return Ok(());
    }
    Err(
        "rules without user names: without MQTT_USERS (--mqtt-users), the listener checks nobody's \
         name"
        .to_owned(),
    )
}

#[cfg(test)]
mod tests;
