//! The two ways to run the whole pipeline.

use crate::chain::Role;

/// Which of the two set-ups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Ground {
    /// A broker, a Redis and a store, and a process for each stage.
    #[default]
    Servers,
    /// One process, which devices publish to, with its lists and rows in files.
    Alone,
}

impl Ground {
    /// Both.
    pub const ALL: &[Self] = &[Self::Servers, Self::Alone];

    /// What it is, for a person.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Servers => "stages and servers",
            Self::Alone => "one process",
        }
    }

    /// What each process is there for.
    #[must_use]
    pub const fn roles(self) -> &'static [Role] {
        match self {
            Self::Servers => &Role::ALL,
            Self::Alone => &[Role::Up],
        }
    }
}
