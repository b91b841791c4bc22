//! Tokens for those that may do one thing only.

use anyhow::Context;
use common::secret::Secret;
use store::{Access, Operator, SetupError};

use super::secrets::Kept;
use super::task::{Target, Task};
use super::{random, say};

/// Who gets a token.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grant {
    name: &'static str,
    access: Access,
    kept: Kept,
}

pub(super) const SINK: Grant = Grant {
    name: "sink",
    access: Access::Write,
    kept: Kept::SinkToken,
};

pub(super) const NOTEBOOK: Grant = Grant {
    name: "notebook",
    access: Access::Read,
    kept: Kept::NotebookToken,
};

impl Task<'_> {
    /// Makes sure of a token. The server tells a token only when it is made, so one that isn't on disk
    /// is lost: it is revoked before the next is made. Only tokens of this installation for the same
    /// one are, and only while the one on disk is of no use: nobody has another.
    pub(super) async fn grant(
        &self,
        grant: &Grant,
        operator: &Operator,
        target: &Target,
    ) -> anyhow::Result<()> {
        let Grant { name, access, kept } = *grant;
        let bucket = &self.args.influx.bucket;
        let may = match access {
            Access::Write => "write to",
            Access::Read => "read from",
        };
        let earlier = self.secrets.read_full(kept)?;
        if let Some(token) = &earlier
            && self.works(access, token).await?
        {
            say(format!("the {name}'s token may {may} {bucket}"));
            return Ok(());
        }
        let installation = self.secrets.ensure(Kept::Installation, random::name)?;
        let owner = format!("rigline {name} {}:", installation.expose());
        for authorization in operator.authorizations().await? {
            if authorization.description.starts_with(&owner) {
                operator.revoke(&authorization.id).await?;
            }
        }
        let description = format!("{owner} may {may} {bucket}");
        let token = operator
            .create_token(&description, access, &target.org, &target.bucket)
            .await
            .with_context(|| format!("cannot make a token for the {name}"))?;
        self.secrets.put(kept, &token)?;
        say(format!(
            "the {name} has a new token that may {may} {bucket}"
        ));
        // It reads its token once, at its start; the notebook does each time.
        if earlier.is_some() && matches!(access, Access::Write) {
            say("if the sink runs, it has the old one still: docker compose restart sink");
        }
        Ok(())
    }

    async fn works(&self, access: Access, token: &Secret) -> Result<bool, SetupError> {
        let (org, bucket) = (&self.args.influx.org, &self.args.influx.bucket);
        match access {
            Access::Write => self.influx.may_write(token, org, bucket).await,
            Access::Read => self.influx.may_read(token, org, bucket).await,
        }
    }
}
