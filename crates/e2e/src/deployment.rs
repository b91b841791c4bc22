//! The two ways to deploy the whole pipeline.

use crate::chain::Role;

/// A way to deploy the pipeline.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Deployment {
    /// A broker, Redis, a store, and a process for each stage.
    #[default]
    Servers,
    /// A single process (`rigline up`) that devices publish to, with its lists and rows in files.
    OneProcess,
}

impl Deployment {
    /// All deployments.
    pub const ALL: &[Self] = &[Self::Servers, Self::OneProcess];

    /// The name for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Servers => "stages and servers",
            Self::OneProcess => "one process",
        }
    }

    /// The role of each process.
    #[must_use]
    pub const fn roles(self) -> &'static [Role] {
        match self {
            Self::Servers => &Role::ALL,
            Self::OneProcess => &[Role::Up],
        }
    }
}
