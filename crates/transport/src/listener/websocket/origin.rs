//! Which pages may connect: browsers let a page of any site open a WebSocket to any address, also to a listener
//! on the user's own machine.

use std::net::IpAddr;

use url::{Host, Url};

/// The origins of pages that may connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origins {
    /// All: clients have to log in.
    All,
    /// These (`MQTT_WS_ORIGINS`).
    These(Vec<String>),
    /// Pages of this machine, and those of the IP address that the client connects to. Not those of the same
    /// host name: whoever owns a name can let it point to any address.
    Local,
}

impl Origins {
    /// Whether a client may connect that sends these headers. Clients that aren't browsers send no origin.
    pub(crate) fn allow(&self, origin: Option<&str>, host: Option<&str>) -> bool {
        let Some(origin) = origin else { return true };
        match self {
            Self::All => true,
            Self::These(origins) => origins
                .iter()
                .any(|one| one == "*" || one.eq_ignore_ascii_case(origin)),
            Self::Local => is_local(origin, host),
        }
    }
}

fn is_local(origin: &str, host: Option<&str>) -> bool {
    let address = match Url::parse(origin).ok().as_ref().and_then(Url::host) {
        Some(Host::Domain(name)) => return name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(address)) => IpAddr::from(address),
        Some(Host::Ipv6(address)) => IpAddr::from(address),
        None => return false,
    };
    address.is_loopback() || host.and_then(host_address) == Some(address)
}

/// The address in a header `Host`, if it holds no name.
fn host_address(host: &str) -> Option<IpAddr> {
    let url = Url::parse(&format!("http://{host}")).ok()?;
    match url.host()? {
        Host::Ipv4(address) => Some(address.into()),
        Host::Ipv6(address) => Some(address.into()),
        Host::Domain(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::Origins;

    #[test]
    fn pages_of_other_machines_need_a_login_or_an_entry() {
        let these = Origins::These(vec!["https://plant.example".to_owned()]);
        let any = Origins::These(vec!["*".to_owned()]);
        for (origin, host, local, listed) in [
            ("http://localhost:8050", "localhost:9001", true, false),
            ("http://127.0.0.1", "127.0.0.1:9001", true, false),
            ("http://[::1]:8050", "[::1]:9001", true, false),
            ("http://10.0.0.7:8050", "10.0.0.7:9001", true, false),
            ("http://10.0.0.8:8050", "10.0.0.7:9001", false, false),
            ("https://plant.example", "10.0.0.7:9001", false, true),
            ("HTTPS://PLANT.example", "10.0.0.7:9001", false, true),
            // A name that its owner has pointed to this machine.
            ("https://evil.example", "evil.example:9001", false, false),
            (
                "https://localhost.evil.example",
                "localhost:9001",
                false,
                false,
            ),
            ("null", "localhost:9001", false, false),
        ] {
            let allowed = |origins: &Origins| origins.allow(Some(origin), Some(host));
            assert_eq!(allowed(&Origins::Local), local, "{origin}");
            assert_eq!(allowed(&these), listed, "{origin}");
            assert!(allowed(&Origins::All) && allowed(&any));
        }
        assert!(Origins::Local.allow(None, None) && these.allow(None, None));
    }
}
