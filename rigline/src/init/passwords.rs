//! Prints the passwords and tokens that `init` has created.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use anyhow::bail;
use common::cli;
use common::secret::Secret;

use super::USER;
use super::secrets::{SecretFile, Secrets};
use super::settings::Place;
use crate::inspect::{self, output};

const ABOUT: &str = "Prints the passwords and tokens that rigline init has created";

/// Prints all passwords and tokens; exit code 2 if there are none. `args` start with the program's name.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    match cli::parse_settings("rigline passwords", ABOUT, args) {
        Ok(place) => inspect::main(async { show(&place) }),
        Err(code) => code,
    }
}

fn show(place: &Place) -> anyhow::Result<ExitCode> {
    let secrets = Secrets::at(&place.secrets);
    let (token, password) = (
        secrets.read_full(SecretFile::OperatorToken)?,
        secrets.read_full(SecretFile::Password)?,
    );
    let jupyter = match secrets.read(SecretFile::NotebookJupyterToken)? {
        Some(token) => Some(token),
        None => secrets.read_full(SecretFile::JupyterToken)?,
    };
    let Some(token) = token else {
        bail!(
            "there are no passwords in {} yet: rigline init creates them once InfluxDB responds; its \
             log says what it waits for",
            secrets.dir().display()
        );
    };
    let password = match &password {
        Some(password) => password.expose(),
        None => "not known here: InfluxDB was set up by others",
    };
    let mut out = output::stdout();
    writeln!(out, "InfluxDB  {}", place.influx_page)?;
    writeln!(out, "  user             {USER}")?;
    writeln!(out, "  password         {password}")?;
    writeln!(out, "  operator token   {}", token.expose())?;
    let page = &place.jupyter_page;
    match jupyter.as_ref().map(Secret::expose) {
        None => {}
        Some("") => writeln!(out, "Jupyter   {page}\n  needs no token")?,
        Some(token) => writeln!(
            out,
            "Jupyter   {page}/?token={}\n  token            {token}",
            in_query(token)
        )?,
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Encodes the value of a URL's parameter.
fn in_query(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let encoded = text.bytes().map(|byte| match byte {
        byte if is_plain(byte) => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    });
    encoded.collect()
}

#[cfg(test)]
mod tests {
    use super::in_query;

    #[test]
    fn a_token_survives_a_url() {
        assert_eq!(in_query("aZ9-._~"), "aZ9-._~");
        assert_eq!(in_query("a&b=c+d%/#"), "a%26b%3Dc%2Bd%25%2F%23");
    }
}
