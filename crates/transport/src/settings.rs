//! Settings of the connection to a broker, and of the subscription.

use std::borrow::Cow;
use std::net::Ipv6Addr;
use std::path::PathBuf;

use common::secret::Secret;
use common::settings::{BadSetting, MqttTls, Settings, not_empty, path};
use common::tls::{self, ClientTls, Stream, StreamError};
use model::pipeline::{self, SourceTable};
use model::topic::{DEFAULT_FILTER, filter_fits};
use percent_encoding::percent_decode_str;
use url::Url;

/// The longest string of MQTT, in bytes.
const MAX_STRING: usize = 65_535;
const PORT: u16 = 1883;
const TLS_PORT: u16 = 8883;

/// Address of the broker, and login.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "MQTT")]
pub struct MqttSettings {
    /// Name or address of the broker
    #[arg(long, env = "MQTT_HOST", default_value = "localhost", value_parser = not_empty)]
    pub mqtt_host: String,
    /// Port of the broker [default: 1883, with TLS 8883]
    #[arg(long, env = "MQTT_PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub mqtt_port: Option<u16>,
    /// Version of MQTT to speak to a broker. 5 tells why the broker refuses something, and its limits
    #[arg(long, env = "MQTT_VERSION", value_enum, default_value_t)]
    pub mqtt_version: MqttVersion,
    /// User to log in as; none if empty
    #[arg(
        long,
        env = "MQTT_USERNAME",
        default_value = "",
        hide_default_value = true
    )]
    pub mqtt_username: String,
    /// Password of that user
    #[arg(long, env = "MQTT_PASSWORD", hide_env_values = true)]
    pub mqtt_password: Option<Secret>,
    /// File that holds the password, instead
    #[arg(long, env = "MQTT_PASSWORD_FILE", value_name = "PATH", value_parser = path())]
    pub mqtt_password_file: Option<PathBuf>,
    /// Client id; the broker keeps undelivered messages under it, and two clients with the same one
    /// disconnect each other [default: one that fits the process]
    #[arg(
        long,
        env = "MQTT_CLIENT_ID",
        default_value = "",
        hide_default_value = true
    )]
    pub mqtt_client_id: String,
    /// Connect with TLS, as with a URL of mqtts
    #[arg(long, env = "MQTT_TLS")]
    pub mqtt_tls: bool,
    /// What is trusted and shown with TLS.
    #[command(flatten)]
    pub tls: MqttTls,
}

/// The version of the protocol on the connection to a broker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum MqttVersion {
    /// MQTT 3.1.1
    #[default]
    #[value(name = "3.1.1")]
    V311,
    /// MQTT 5
    #[value(name = "5")]
    V5,
}

impl MqttSettings {
    /// The defaults, for a broker without a login.
    #[must_use]
    pub fn at(host: &str, port: u16) -> Self {
        Self {
            mqtt_host: host.to_owned(),
            mqtt_port: Some(port),
            mqtt_version: MqttVersion::default(),
            mqtt_username: String::new(),
            mqtt_password: None,
            mqtt_password_file: None,
            mqtt_client_id: String::new(),
            mqtt_tls: false,
            tls: MqttTls::default(),
        }
    }

    /// The port of the broker.
    #[must_use]
    pub fn port(&self) -> u16 {
        let usual = if self.mqtt_tls { TLS_PORT } else { PORT };
        self.mqtt_port.unwrap_or(usual)
    }

    /// The client id that was set, else `default`.
    #[must_use]
    pub fn client_id_or(&self, default: impl FnOnce() -> String) -> String {
        if self.mqtt_client_id.is_empty() {
            default()
        } else {
            self.mqtt_client_id.clone()
        }
    }

    /// Takes server and login from a URL, `mqtt://[user:password@]host[:port]`, or with TLS `mqtts://…`. Without a
    /// login in it, none is used.
    pub fn set_url(&mut self, url: &str) -> Result<(), UrlError> {
        let parsed = Url::parse(url).map_err(|error| UrlError(error.to_string()))?;
        let is_known = matches!(parsed.scheme(), "mqtt" | "mqtts");
        let Some(host) = parsed.host_str().filter(|_| is_known) else {
            return Err(UrlError(
                "it isn't mqtt://host, mqtt://host:port or mqtts://host:port".to_owned(),
            ));
        };
        if !matches!(parsed.path(), "" | "/") || parsed.query().is_some() {
            return Err(UrlError("it has a path".to_owned()));
        }
        let decoded = |text: &str| {
            let decoded = percent_decode_str(text).decode_utf8();
            decoded
                .map(Cow::into_owned)
                .map_err(|error| UrlError(error.to_string()))
        };
        host.trim_matches(['[', ']'])
            .clone_into(&mut self.mqtt_host);
        self.mqtt_port = parsed.port();
        self.mqtt_tls = parsed.scheme() == "mqtts";
        self.mqtt_username = decoded(parsed.username())?;
        self.mqtt_password = parsed
            .password()
            .map(decoded)
            .transpose()?
            .map(Secret::from);
        if self.mqtt_tls {
            let files = self.tls.client().config();
            files.map_err(|error| UrlError(error.to_string()))?;
        }
        Ok(())
    }

    /// TLS, if it is used.
    pub(crate) fn client_tls(&self) -> Option<ClientTls> {
        self.mqtt_tls.then(|| self.tls.client())
    }

    /// Connects to the broker.
    pub(crate) async fn open(&self) -> Result<Stream, StreamError> {
        let tls = self.client_tls();
        tls::open(&self.mqtt_host, self.port(), tls.as_ref()).await
    }

    /// User and password, if there is a user. A password of a file is read again.
    pub(crate) fn login(&self) -> Option<(String, String)> {
        let password = self.mqtt_password.as_ref().map(Secret::current);
        let password = password.map_or_else(String::new, |secret| secret.expose().to_owned());
        let user = Some(self.mqtt_username.clone()).filter(|user| !user.is_empty());
        user.map(|user| (user, password))
    }

    /// Host and port, as they are written with a colon in between.
    #[must_use]
    pub fn address(&self) -> String {
        let port = self.port();
        match self.mqtt_host.parse::<Ipv6Addr>() {
            Ok(address) => format!("[{address}]:{port}"),
            Err(_) => format!("{}:{port}", self.mqtt_host),
        }
    }
}

/// Why a URL isn't that of a broker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the broker's URL can't be used: {0}")]
pub struct UrlError(String);

impl Settings for MqttSettings {
    fn check(&mut self) -> Result<(), BadSetting> {
        let (given, file) = (&mut self.mqtt_password, &mut self.mqtt_password_file);
        Secret::resolve("MQTT_PASSWORD", given, file)?;
        if self.mqtt_tls {
            self.tls.client().config()?;
        }
        BadSetting::unless(
            self.mqtt_password.is_none() || !self.mqtt_username.is_empty(),
            "MQTT_USERNAME",
            "",
            "a user for the password that is given",
        )?;
        for (variable, value) in [
            ("MQTT_USERNAME", &self.mqtt_username),
            ("MQTT_CLIENT_ID", &self.mqtt_client_id),
        ] {
            let fits = value.len() <= MAX_STRING && !value.chars().any(char::is_control);
            BadSetting::unless(
                fits,
                variable,
                value,
                "at most 65535 bytes of text without control characters",
            )?;
        }
        Ok(())
    }
}

/// The subscription.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "MQTT")]
pub struct SubscribeSettings {
    /// Topic filter of the readings. A session that exists keeps its earlier filters, too: change
    /// `MQTT_CLIENT_ID` with it
    #[arg(long, env = "MQTT_TOPIC", default_value = DEFAULT_FILTER)]
    pub mqtt_topic: String,
    /// Messages that the broker had retained from before the subscription, and sends at each start
    #[arg(long, env = "RETAINED", value_enum, default_value_t = Retained::Ignore)]
    pub retained: Retained,
}

/// What to do with retained messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Retained {
    /// Acknowledge and count them, and nothing else
    Ignore,
    /// Take them like other messages
    Accept,
}

impl SubscribeSettings {
    /// The subscription of a pipeline file.
    #[must_use]
    pub fn of_file(source: &SourceTable) -> Self {
        let filter = source.topic.as_ref().map(|topic| topic.filter());
        Self {
            mqtt_topic: filter.unwrap_or_else(|| DEFAULT_FILTER.to_owned()),
            retained: match source.retained.as_deref() {
                Some(pipeline::Retained::Accept) => Retained::Accept,
                Some(pipeline::Retained::Ignore) | None => Retained::Ignore,
            },
        }
    }
}

impl Default for SubscribeSettings {
    fn default() -> Self {
        Self {
            mqtt_topic: DEFAULT_FILTER.to_owned(),
            retained: Retained::Ignore,
        }
    }
}

impl Settings for SubscribeSettings {
    fn check(&mut self) -> Result<(), BadSetting> {
        BadSetting::unless(
            filter_fits(&self.mqtt_topic),
            "MQTT_TOPIC",
            &self.mqtt_topic,
            "a filter that matches topics like rigs/RIG-1/measurements/pressure, for example \
             rigs/+/measurements/#; shared subscriptions ($share/...) would split the readings",
        )
    }
}

#[cfg(test)]
mod tests {
    use common::secret::Secret;
    use common::settings::Settings;

    use super::{MqttSettings, SubscribeSettings};

    fn refused(change: impl FnOnce(&mut MqttSettings)) -> String {
        let mut settings = MqttSettings::at("localhost", 1883);
        change(&mut settings);
        settings.check().unwrap_err().to_string()
    }

    #[test]
    fn a_password_needs_a_user_and_is_not_printed() {
        let error = refused(|s| s.mqtt_password = Some(Secret::new("hunter2")));
        assert!(
            error.contains("MQTT_USERNAME") && !error.contains("hunter2"),
            "{error}"
        );
        let error = refused(|s| s.mqtt_password_file = Some("/nowhere".into()));
        assert!(error.contains("MQTT_PASSWORD_FILE"), "{error}");
        let error = refused(|s| s.mqtt_client_id = "a\nb".into());
        assert!(error.contains("MQTT_CLIENT_ID"), "{error}");
    }

    #[test]
    fn the_default_client_id_is_used_unless_one_is_set() {
        let mut settings = MqttSettings::at("localhost", 1883);
        assert_eq!(settings.client_id_or(|| "own".into()), "own");
        settings.mqtt_client_id = "set".into();
        assert_eq!(settings.client_id_or(|| "own".into()), "set");
    }

    #[test]
    fn an_ipv6_host_is_written_in_brackets() {
        assert_eq!(MqttSettings::at("::1", 1883).address(), "[::1]:1883");
        let broker = MqttSettings::at("broker.example", 1883);
        assert_eq!(broker.address(), "broker.example:1883");
    }

    #[test]
    fn a_url_decides_about_tls_and_its_usual_port() {
        let mut settings = MqttSettings::at("localhost", 1883);
        for (url, tls, address) in [
            ("mqtts://ann:pw@broker.example", true, "broker.example:8883"),
            ("mqtts://broker.example:443", true, "broker.example:443"),
            ("mqtt://broker.example", false, "broker.example:1883"),
        ] {
            settings.set_url(url).unwrap();
            assert_eq!(settings.mqtt_tls, tls, "{url}");
            assert_eq!(settings.address(), address, "{url}");
        }
        assert!(settings.set_url("https://broker.example").is_err());
    }

    #[test]
    fn files_of_tls_are_read_before_the_start_if_they_are_used() {
        let error = refused(|s| {
            s.mqtt_tls = true;
            s.tls.ca_file = Some("/nowhere/ca.pem".into());
        });
        assert!(
            error.contains("MQTT_CA_FILE") && error.contains("/nowhere/ca.pem"),
            "{error}"
        );
    }

    #[test]
    fn a_shared_filter_or_one_that_matches_no_reading_is_refused() {
        for bad in ["$share/g/rigs/+/measurements/#", "plant/#", ""] {
            let error = SubscribeSettings {
                mqtt_topic: bad.into(),
                ..SubscribeSettings::default()
            }
            .check()
            .unwrap_err();
            assert!(error.to_string().contains("MQTT_TOPIC"), "{error}");
        }
        assert_eq!(
            SubscribeSettings {
                mqtt_topic: "rigs/#".into(),
                ..SubscribeSettings::default()
            }
            .check(),
            Ok(())
        );
    }
}
