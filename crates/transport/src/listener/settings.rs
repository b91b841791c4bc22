//! Settings of the listener.

mod sockets;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::builder::BoolishValueParser;
use common::settings::{BadSetting, Settings, bytes, count, path};

pub use self::sockets::SocketSettings;
pub(crate) use self::sockets::Wanted;
use super::acl::AclFile;
use super::admission::ConnectionLimits;
use super::auth::{AccessPolicy, UserFile};
use super::endpoint::Endpoint;
use super::rate::RateLimits;
use crate::broker::MAX_PACKET;

/// The least that `MQTT_MAX_PACKET` can be: a CONNECT with a user name and a password has to fit.
const MIN_MAX_PACKET: usize = 1 << 10;

/// Our own MQTT listener, which devices publish to without a broker between.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "MQTT listener")]
pub struct ListenSettings {
    /// Address and port that devices publish to, with MQTT 3.1.1 (QoS 0, 1 or 2) or 5 (QoS 0 or 1)
    #[arg(long, env = "MQTT_LISTEN", default_value = "127.0.0.1:1883", value_parser = address)]
    pub mqtt_listen: SocketAddr,
    /// Password file as `mosquitto_passwd` writes it; its users may publish. It is read again on SIGHUP
    #[arg(long, env = "MQTT_USERS", value_name = "PATH", value_parser = path())]
    pub mqtt_users: Option<PathBuf>,
    /// Rule file in the format of Mosquitto's `acl_file`: who may publish to which topics. It is read again on
    /// SIGHUP
    #[arg(long, env = "MQTT_ACL", value_name = "PATH", value_parser = path())]
    pub mqtt_acl: Option<PathBuf>,
    /// Let clients without a user name publish, from other machines and beside `MQTT_USERS`, too
    #[arg(long, env = "ALLOW_ANONYMOUS", value_parser = BoolishValueParser::new())]
    pub allow_anonymous: bool,
    /// Connections at the same time; those above are closed at once
    #[arg(long, env = "MQTT_MAX_CONNECTIONS", default_value = "10000", value_parser = count)]
    pub mqtt_max_connections: usize,
    /// Connections of one IP address at the same time; half of `MQTT_MAX_CONNECTIONS` by default
    #[arg(long, env = "MQTT_MAX_CONNECTIONS_PER_ADDRESS", value_name = "N", value_parser = count)]
    pub mqtt_max_connections_per_address: Option<usize>,
    /// Connections of one user of `MQTT_USERS` at the same time; unlimited by default
    #[arg(long, env = "MQTT_MAX_CONNECTIONS_PER_USER", value_name = "N", value_parser = count)]
    pub mqtt_max_connections_per_user: Option<usize>,
    /// Messages a second of one user of `MQTT_USERS`; those above wait on the device. Unlimited by default
    #[arg(long, env = "MQTT_MAX_RATE_PER_USER", value_name = "N", value_parser = count)]
    pub mqtt_max_rate_per_user: Option<usize>,
    /// Messages a second of one IP address; those above wait on the device. Unlimited by default
    #[arg(long, env = "MQTT_MAX_RATE_PER_ADDRESS", value_name = "N", value_parser = count)]
    pub mqtt_max_rate_per_address: Option<usize>,
    /// Largest MQTT packet; a larger PUBLISH becomes a dead letter, any other ends its connection
    #[arg(long, env = "MQTT_MAX_PACKET", default_value = "1MiB", value_parser = bytes)]
    pub mqtt_max_packet: usize,
    /// The addresses for TLS and WebSocket.
    #[command(flatten)]
    pub sockets: SocketSettings,
}

fn address(given: &str) -> Result<SocketAddr, String> {
    let accepted = |_| "an IP address and a port: 127.0.0.1:1883, 0.0.0.0:1883, [::1]:1883".into();
    given.trim().parse().map_err(accepted)
}

/// A path that isn't empty.
fn given(path: Option<&PathBuf>) -> Option<&PathBuf> {
    path.filter(|path| !path.as_os_str().is_empty())
}

/// What the settings ask for.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) access_policy: AccessPolicy,
    /// The first one is for plain MQTT.
    pub(crate) sockets: Vec<Wanted>,
}

impl ListenSettings {
    /// The defaults, for a listener at this address.
    #[must_use]
    pub fn at(address: SocketAddr) -> Self {
        Self {
            mqtt_listen: address,
            mqtt_users: None,
            mqtt_acl: None,
            allow_anonymous: false,
            mqtt_max_connections: 10_000,
            mqtt_max_connections_per_address: None,
            mqtt_max_connections_per_user: None,
            mqtt_max_rate_per_user: None,
            mqtt_max_rate_per_address: None,
            mqtt_max_packet: 1 << 20,
            sockets: SocketSettings::default(),
        }
    }

    /// How many connections may be open. One host can't hold all of them, unless it is told so.
    pub(crate) fn connection_limits(&self) -> ConnectionLimits {
        let all = self.mqtt_max_connections;
        ConnectionLimits {
            all,
            of_address: self
                .mqtt_max_connections_per_address
                .unwrap_or(all.div_ceil(2)),
        }
    }

    /// How many messages a second users and addresses may send.
    pub(crate) fn rates(&self) -> RateLimits {
        RateLimits::new(self.mqtt_max_rate_per_user, self.mqtt_max_rate_per_address)
    }

    /// Checks the settings, and reads the files that they name.
    pub(crate) fn plan(&self) -> Result<Plan, BadSetting> {
        BadSetting::unless(
            (MIN_MAX_PACKET..=MAX_PACKET).contains(&self.mqtt_max_packet),
            "MQTT_MAX_PACKET",
            &self.mqtt_max_packet.to_string(),
            "1KiB to 268435460, the largest packet of MQTT",
        )?;
        let file = given(self.mqtt_users.as_ref());
        let mut sockets = vec![Wanted {
            setting: "MQTT_LISTEN",
            address: self.mqtt_listen,
            endpoint: Endpoint::default(),
        }];
        let required = file.is_some() && !self.allow_anonymous;
        sockets.extend(self.sockets.wanted(required)?);
        for wanted in &sockets {
            let local = wanted.address.ip().to_canonical().is_loopback();
            BadSetting::unless(
                local
                    || file.is_some()
                    || self.allow_anonymous
                    || wanted.endpoint.certificate_is_login,
                wanted.setting,
                &wanted.address.to_string(),
                "an address that other machines reach needs MQTT_USERS=PATH (--mqtt-users PATH), a \
                 password file, or ALLOW_ANONYMOUS=true (--allow-anonymous), which lets anybody \
                 publish; 127.0.0.1 needs neither",
            )?;
        }
        let has_users = file.is_some() || self.sockets.asks_for_certificates();
        let access_policy = AccessPolicy {
            users: file
                .map(|path| UserFile::open(path))
                .transpose()?
                .map(Arc::new),
            anonymous: self.allow_anonymous,
            acl: given(self.mqtt_acl.as_ref())
                .map(|path| AclFile::open(path, has_users))
                .transpose()?
                .map(Arc::new),
        };
        Ok(Plan {
            access_policy,
            sockets,
        })
    }
}

impl Settings for ListenSettings {
    fn check(&mut self) -> Result<(), BadSetting> {
        self.plan().map(drop)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use common::settings::Settings;

    use super::ListenSettings;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        listen: ListenSettings,
    }

    fn check(arguments: &[&str]) -> Result<(), String> {
        let arguments = ["program"].iter().chain(arguments);
        let mut program = Program::try_parse_from(arguments).map_err(|error| error.to_string())?;
        program.listen.check().map_err(|error| error.to_string())
    }

    #[test]
    fn a_login_is_required_unless_only_this_machine_can_connect() {
        assert_eq!(check(&[]), Ok(()));
        for local in ["[::1]:1883", "127.0.0.9:1", "[::ffff:127.0.0.1]:1883"] {
            assert_eq!(check(&["--mqtt-listen", local]), Ok(()));
        }
        for open in ["0.0.0.0:1883", "[::]:1883", "192.168.1.9:1883"] {
            let error = check(&["--mqtt-listen", open]).unwrap_err();
            for remedy in [
                "MQTT_USERS",
                "--mqtt-users",
                "ALLOW_ANONYMOUS",
                "--allow-anonymous",
            ] {
                assert!(error.contains(remedy), "{error}");
            }
            assert_eq!(check(&["--mqtt-listen", open, "--allow-anonymous"]), Ok(()));
        }
    }

    #[test]
    fn invalid_settings_are_errors_that_name_the_setting() {
        for (arguments, variable) in [
            (["--mqtt-users", "/nowhere"], "MQTT_USERS"),
            (["--mqtt-acl", "/nowhere"], "MQTT_ACL"),
            (["--mqtt-max-packet", "100"], "MQTT_MAX_PACKET"),
            (["--mqtt-max-packet", "1GiB"], "MQTT_MAX_PACKET"),
            (["--mqtt-max-connections", "0"], "--mqtt-max-connections"),
            (["--mqtt-listen", "localhost"], "--mqtt-listen"),
        ] {
            let error = check(&arguments).unwrap_err();
            assert!(error.contains(variable), "{error}");
        }
    }

    #[test]
    fn addresses_for_tls_and_websocket_need_what_they_use_and_a_login_if_others_reach_them() {
        let tls = ["--mqtt-tls-listen", "127.0.0.1:8883"];
        for (arguments, named) in [
            (tls.to_vec(), "MQTT_TLS_CERT_FILE"),
            (
                [&tls[..], &["--mqtt-tls-cert-file", "/a"]].concat(),
                "MQTT_TLS_KEY_FILE",
            ),
            (
                [
                    &tls[..],
                    &["--mqtt-tls-cert-file", "/a", "--mqtt-tls-key-file", "/b"],
                ]
                .concat(),
                "\"/a\"",
            ),
            (vec!["--mqtt-tls-client-ca-file", "/a"], "MQTT_TLS_LISTEN"),
            (vec!["--mqtt-ws-listen", "0.0.0.0:9001"], "MQTT_WS_LISTEN"),
            (vec!["--mqtt-ws-listen", "9001"], "--mqtt-ws-listen"),
            (
                vec!["--mqtt-max-rate-per-user", "0"],
                "--mqtt-max-rate-per-user",
            ),
        ] {
            let error = check(&arguments).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
        let open = ["--mqtt-ws-listen", "0.0.0.0:9001", "--allow-anonymous"];
        assert_eq!(check(&open), Ok(()));
        assert_eq!(check(&["--mqtt-ws-listen", "127.0.0.1:9001"]), Ok(()));
    }
}
