//! What `init` and `passwords` can be told.

use std::path::PathBuf;

use clap::Args;
use common::secret::Secret;
use common::settings::{BadSetting, Settings, path};
use store::InfluxSettings;

/// What `InfluxDB` takes as a password, in bytes.
const PASSWORD_BYTES: std::ops::RangeInclusive<usize> = 8..=72;

/// Everything that `init` can be told.
#[derive(Debug, Clone, Args)]
#[command(
    mut_arg("token", |arg| arg.help("InfluxDB's operator token; made up if it isn't given and nobody has set InfluxDB up")),
    mut_arg("bucket", |arg| arg.help("Bucket of the rows")),
    mut_arg("timeout", |arg| arg.help("How long an answer may take before it is asked again")),
)]
pub(super) struct InitArgs {
    #[command(flatten)]
    pub(super) influx: InfluxSettings,
    /// Password of InfluxDB's user admin; made up if it isn't given. Another one later on changes it
    #[arg(
        long = "influx-password",
        env = "INFLUX_PASSWORD",
        value_name = "PASSWORD",
        hide_env_values = true
    )]
    pub(super) password: Option<Secret>,
    /// File that holds the password
    #[arg(
        long = "influx-password-file",
        env = "INFLUX_PASSWORD_FILE",
        value_name = "PATH",
        value_parser = path()
    )]
    password_file: Option<PathBuf>,
    /// Jupyter's token; made up if it isn't given. Given and empty: Jupyter wants none
    #[arg(
        long = "jupyter-token",
        env = "JUPYTER_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true,
        help_heading = "Jupyter"
    )]
    pub(super) jupyter_token: Option<Secret>,
    #[command(flatten)]
    pub(super) place: Place,
}

/// Where secrets are, and where people look.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Places")]
pub(super) struct Place {
    /// Directory of the secrets, with admin, sink and notebook in it
    #[arg(
        long = "secrets",
        env = "SECRETS_DIR",
        value_name = "DIR",
        default_value = "/secrets",
        value_parser = path()
    )]
    pub(super) secrets: PathBuf,
    /// InfluxDB's address in a browser
    #[arg(
        long,
        env = "INFLUX_PAGE",
        value_name = "URL",
        default_value = "http://localhost:8086"
    )]
    pub(super) influx_page: String,
    /// Jupyter's address in a browser
    #[arg(
        long,
        env = "JUPYTER_PAGE",
        value_name = "URL",
        default_value = "http://localhost:8888"
    )]
    pub(super) jupyter_page: String,
}

impl Settings for InitArgs {
    fn check(&mut self) -> Result<(), BadSetting> {
        self.influx.check()?;
        check_names(&self.influx)?;
        Secret::resolve(
            "INFLUX_PASSWORD",
            &mut self.password,
            &mut self.password_file,
        )?;
        let fits = |secret: &Secret| PASSWORD_BYTES.contains(&secret.expose().len());
        BadSetting::unless(
            self.password.as_ref().is_none_or(fits),
            "INFLUX_PASSWORD",
            "***",
            "8 to 72 bytes, as InfluxDB wants them",
        )?;
        let in_url = |secret: &Secret| secret.expose().bytes().all(|b| b.is_ascii_graphic());
        BadSetting::unless(
            self.jupyter_token.as_ref().is_none_or(in_url),
            "JUPYTER_TOKEN",
            "***",
            "printable ASCII without spaces, or nothing at all for Jupyter without a token",
        )?;
        self.place.check()
    }
}

/// `InfluxDB` finds out about a bucket that it can't make when it has made the user already, and
/// can't be set up any more then.
fn check_names(influx: &InfluxSettings) -> Result<(), BadSetting> {
    let is_trim = |name: &str| name.trim() == name && !name.contains(char::is_control);
    let bucket = influx.bucket.as_str();
    BadSetting::unless(
        is_trim(bucket) && !bucket.starts_with('_') && !bucket.contains('"'),
        "INFLUX_BUCKET",
        bucket,
        "a name without _ at its start, without \" and without blanks around it",
    )?;
    BadSetting::unless(
        is_trim(&influx.org),
        "INFLUX_ORG",
        &influx.org,
        "a name without blanks around it",
    )
}

impl Settings for Place {
    fn check(&mut self) -> Result<(), BadSetting> {
        let given = !self.secrets.as_os_str().is_empty();
        BadSetting::unless(given, "SECRETS_DIR", "", "the path of a directory")?;
        for (variable, page) in [
            ("INFLUX_PAGE", &mut self.influx_page),
            ("JUPYTER_PAGE", &mut self.jupyter_page),
        ] {
            let is_page = page.starts_with("http://") || page.starts_with("https://");
            let accepted = "an address for a browser, as in http://localhost:8086";
            BadSetting::unless(is_page, variable, page, accepted)?;
            page.truncate(page.trim_end_matches('/').len());
        }
        Ok(())
    }
}
