//! What an error of TLS means, and what to do.

use std::error::Error;
use std::io;
use std::sync::Arc;

use rustls::{AlertDescription as Alert, CertificateError as Bad, Error as Tls};

use super::ClientTls;

/// What a server without TLS does, which can't read the handshake.
pub(super) const CLOSED: &str =
    "the server closed the connection during the TLS handshake: is this its port for TLS?";

/// Explains the error of TLS at the bottom of `error`.
pub(super) fn explain(
    error: &(dyn Error + 'static),
    client: &ClientTls,
    name: &str,
) -> Option<String> {
    let Some(error) = tls_error(error) else {
        return ended_early(error).then(|| CLOSED.to_owned());
    };
    Some(match error {
        Tls::InvalidCertificate(bad) => certificate(bad, client, name),
        Tls::AlertReceived(alert) => alert_received(*alert, client)?,
        Tls::InvalidMessage(_) => {
            "the server doesn't speak TLS at this port: check the port, or don't ask for TLS"
                .to_owned()
        }
        Tls::PeerIncompatible(why) => {
            format!("the server offers nothing that we accept, TLS 1.2 at least ({why:?})")
        }
        _ => return None,
    })
}

/// Whether what a client has sent can't be TLS, as when it connects without TLS to a port for it.
#[must_use]
pub fn is_not_tls(error: &(dyn Error + 'static)) -> bool {
    matches!(tls_error(error), Some(Tls::InvalidMessage(_)))
}

fn certificate(bad: &Bad, client: &ClientTls, name: &str) -> String {
    let prefix = client.prefix;
    match bad {
        // A bad signature: the authority was renewed under its old name.
        Bad::UnknownIssuer | Bad::BadSignature => format!(
            "the server's certificate is of an authority that isn't trusted: set {prefix}_CA_FILE to \
             the certificate of that authority"
        ),
        Bad::NotValidForName | Bad::NotValidForNameContext { .. } => {
            let names = match bad {
                Bad::NotValidForNameContext { presented, .. } => presented.join(", "),
                _ => String::new(),
            };
            let remedy = if client.has_only_ca {
                "connect to a name in it".to_owned()
            } else {
                format!("set {prefix}_SERVER_NAME to a name in it")
            };
            format!(
                "the server's certificate isn't for {name:?} (it is for: {names}): {remedy}, if this is \
                 the right server"
            )
        }
        Bad::Expired | Bad::ExpiredContext { .. } => {
            "the server's certificate has expired: renew it, or correct this machine's clock".to_owned()
        }
        Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
            "the server's certificate isn't valid yet: correct this machine's clock, or the server's"
                .to_owned()
        }
        // What `openssl req -x509` makes unless it is told otherwise.
        other if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            "the server's certificate is that of an authority: give the server one that the authority \
             has signed (docs/tls.md)"
                .to_owned()
        }
        other => format!("the server's certificate can't be used: {other:?}"),
    }
}

fn alert_received(alert: Alert, client: &ClientTls) -> Option<String> {
    let prefix = client.prefix;
    Some(match alert {
        Alert::CertificateRequired => {
            let remedy = certificate_remedy(client);
            format!("the server requires a client certificate: {remedy}")
        }
        // What servers of version 1.2 answer to a client without a certificate.
        Alert::HandshakeFailure if client.cert_file.is_none() => {
            let remedy = certificate_remedy(client);
            format!("the server ended the TLS handshake; if it requires a certificate: {remedy}")
        }
        Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateRevoked
        | Alert::CertificateExpired
        | Alert::CertificateUnknown
        | Alert::UnknownCA
        | Alert::DecryptError
        | Alert::AccessDenied
            if client.cert_file.is_some() =>
        {
            format!("the server refuses the certificate in {prefix}_CERT_FILE ({alert:?})")
        }
        Alert::ProtocolVersion => {
            "the server doesn't speak TLS 1.2 or newer: update it, or allow 1.2 there".to_owned()
        }
        Alert::UnrecognisedName if client.has_only_ca => {
            "the server doesn't know the name that we connect to".to_owned()
        }
        Alert::UnrecognisedName => format!(
            "the server doesn't know the name that we connect to: set {prefix}_SERVER_NAME to one \
             that it has"
        ),
        _ => return None,
    })
}

fn certificate_remedy(client: &ClientTls) -> String {
    let prefix = client.prefix;
    if client.has_only_ca {
        "there is no setting for one here, so allow clients without".to_owned()
    } else {
        format!("set {prefix}_CERT_FILE and {prefix}_KEY_FILE")
    }
}

/// The error of TLS among an error and its causes.
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Tls> {
    causes(error).find_map(|error| error.downcast_ref::<Tls>())
}

/// Whether the connection ended during the handshake, as tokio-rustls words it.
fn ended_early(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|error| error.to_string() == "tls handshake eof")
}

/// An error and its causes.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        // As the Redis client keeps errors.
        if let Some(shared) = error.downcast_ref::<Arc<dyn Error + Send + Sync>>() {
            let shared: &(dyn Error + 'static) = &**shared;
            return Some(shared);
        }
        // The source of an I/O error is that of the error in it, not the error itself.
        match error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            Some(inner) => Some(inner),
            None => error.source(),
        }
    })
}
