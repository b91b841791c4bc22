//! The two ways to run the whole pipeline.

use crate::chain::Role;

/// Which of the two set-ups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Deployment {
    /// A broker, a Redis and a store, and a process for each stage.
    #[default]
    Servers,
    /// One process, which devices publish to, with its lists and rows in files.
    OneProcess,
}

impl Deployment {
    /// Both.
    pub const ALL: &[Self] = &[Self::Servers, Self::OneProcess];

    /// What it is, for a person.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Servers => "stages and servers",
            Self::OneProcess => "one process",
        }
    }

    /// What each process is there for.
    #[must_use]
    pub const fn roles(self) -> &'static [Role] {
        match self {
            Self::Servers => &Role::ALL,
            Self::OneProcess => &[Role::Up],
        }
    }
}
