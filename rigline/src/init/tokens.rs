//! Tokens with a single permission, for sink, API and notebook.

use anyhow::Context;
use common::secret::Secret;
use store::{Access, Operator, SetupError};

use super::secrets::SecretFile;
use super::setup::{Setup, Target};
use super::{print_line, random};

/// A token to create: for whom, with which access, and in which file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grant {
    name: &'static str,
    access: Access,
    file: SecretFile,
}

pub(super) const SINK: Grant = Grant {
    name: "sink",
    access: Access::Write,
    file: SecretFile::SinkToken,
};

pub(super) const API: Grant = Grant {
    name: "api",
    access: Access::Read,
    file: SecretFile::ApiToken,
};

pub(super) const NOTEBOOK: Grant = Grant {
    name: "notebook",
    access: Access::Read,
    file: SecretFile::NotebookToken,
};

impl Setup<'_> {
    /// Creates a token unless the stored one works. The server returns a token's value only when it
    /// creates the token, so a token that isn't on disk is lost. Before a new one is created, earlier
    /// tokens of this installation for the same user are revoked.
    pub(super) async fn grant(
        &self,
        grant: &Grant,
        operator: &Operator,
        target: &Target,
    ) -> anyhow::Result<()> {
        let Grant { name, access, file } = *grant;
        let bucket = &self.args.influx.bucket;
        let may = match access {
            Access::Write => "write to",
            Access::Read => "read from",
        };
        let earlier = self.secrets.read_full(file)?;
        if let Some(token) = &earlier
            && self.works(access, token).await?
        {
            print_line(format!("the {name}'s token may {may} {bucket}"));
            return Ok(());
        }
        let owner = self.owner(name)?;
        revoke(&owner, operator).await?;
        let description = format!("{owner} may {may} {bucket}");
        let token = operator
            .create_token(&description, access, &target.org, &target.bucket)
            .await
            .with_context(|| format!("cannot create a token for the {name}"))?;
        self.secrets.put(file, &token)?;
        print_line(format!(
            "the {name} has a new token that may {may} {bucket}"
        ));
        // The notebook reads its token each time.
        if earlier.is_some() && name != NOTEBOOK.name {
            print_line(format!(
                "a running {name} reads it when InfluxDB refuses the earlier one"
            ));
        }
        Ok(())
    }

    /// Stores an operator token that was given, after it has created and revoked a token. Until then, the
    /// old one stays in its place.
    pub(super) async fn keep_operator_token(
        &self,
        token: &Secret,
        operator: &Operator,
        target: &Target,
    ) -> anyhow::Result<()> {
        if self.secrets.read_full(SecretFile::OperatorToken)?.as_ref() == Some(token) {
            return Ok(());
        }
        let owner = self.owner("check")?;
        let description = format!("{owner} shows that the operator token works");
        operator
            .create_token(&description, Access::Read, &target.org, &target.bucket)
            .await?;
        revoke(&owner, operator).await?;
        self.secrets.put(SecretFile::OperatorToken, token)?;
        Ok(())
    }

    /// The beginning of the descriptions of this installation's tokens for `name`.
    fn owner(&self, name: &str) -> anyhow::Result<String> {
        let installation = self
            .secrets
            .get_or_create(SecretFile::Installation, random::name)?;
        Ok(format!("rigline {name} {}:", installation.expose()))
    }

    async fn works(&self, access: Access, token: &Secret) -> Result<bool, SetupError> {
        let (org, bucket) = (&self.args.influx.org, &self.args.influx.bucket);
        match access {
            Access::Write => self.influx.may_write(token, org, bucket).await,
            Access::Read => self.influx.may_read(token, org, bucket).await,
        }
    }
}

/// Revokes all tokens whose descriptions start with `owner`.
async fn revoke(owner: &str, operator: &Operator) -> Result<(), SetupError> {
    for authorization in operator.authorizations().await? {
        if authorization.description.starts_with(owner) {
            operator.revoke(&authorization.id).await?;
        }
    }
    Ok(())
}
