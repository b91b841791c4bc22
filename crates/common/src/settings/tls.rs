//! The files of TLS, for each kind of server that we connect to.

use std::path::PathBuf;

use clap::Args;

use super::path;
use crate::tls::ClientTls;

/// Defines the settings of the connections to one kind of server.
macro_rules! client_settings {
    ($(#[$doc:meta])* $name:ident, $heading:literal, $prefix:literal, $flag:literal, $server:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, Args)]
        #[command(next_help_heading = $heading)]
        pub struct $name {
            /// Authorities that are trusted besides those of the machine.
            #[arg(help = concat!("With TLS: file with certificates of authorities, in PEM, that are trusted besides \
                those of the machine to vouch for ", $server), id = concat!($flag, "_ca_file"), long = concat!($flag, "-ca-file"),
                env = concat!($prefix, "_CA_FILE"), value_name = "PATH", value_parser = path())]
            pub ca_file: Option<PathBuf>,
            /// Our certificate.
            #[arg(help = concat!("With TLS: file with our certificate, in PEM, where ", $server, " requires one"), id = concat!($flag, "_cert_file"), long = concat!($flag, "-cert-file"),
                env = concat!($prefix, "_CERT_FILE"), value_name = "PATH", value_parser = path())]
            pub cert_file: Option<PathBuf>,
            /// File with the key of that certificate
            #[arg(id = concat!($flag, "_key_file"), long = concat!($flag, "-key-file"),
                env = concat!($prefix, "_KEY_FILE"), value_name = "PATH", value_parser = path())]
            pub key_file: Option<PathBuf>,
            /// The name in the server's certificate.
            #[arg(help = concat!("With TLS: name in the certificate of ", $server,
                " [default: the host that is connected to]"), id = concat!($flag, "_server_name"), long = concat!($flag, "-server-name"),
                env = concat!($prefix, "_SERVER_NAME"), value_name = "NAME")]
            pub server_name: Option<String>,
        }

        impl $name {
            /// The files and the name, as clients use them. Empty ones count as not given.
            #[must_use]
            pub fn client(&self) -> ClientTls {
                let given = |path: &Option<PathBuf>| {
                    path.clone().filter(|path| !path.as_os_str().is_empty())
                };
                ClientTls {
                    prefix: $prefix,
                    ca_file: given(&self.ca_file),
                    cert_file: given(&self.cert_file),
                    key_file: given(&self.key_file),
                    server_name: self.server_name.clone().filter(|name| !name.is_empty()),
                    has_only_ca: false,
                }
            }
        }
    };
}

client_settings!(
    /// TLS of connections to a broker.
    MqttTls, "MQTT", "MQTT", "mqtt", "the broker"
);
client_settings!(
    /// TLS of connections to Redis.
    RedisTls, "Redis", "REDIS", "redis", "Redis"
);
client_settings!(
    /// TLS of connections to InfluxDB.
    InfluxTls, "InfluxDB", "INFLUX", "influx", "InfluxDB"
);
client_settings!(
    /// TLS of connections to Kafka.
    KafkaTls, "Kafka", "KAFKA", "kafka", "Kafka"
);
