//! The proxies that simulate the network between load, stages and servers.

use testkit::TcpProxy;

/// A proxy for each connection.
#[derive(Debug)]
pub struct Proxies {
    /// From the load to the broker, or to the single process.
    pub load: TcpProxy,
    servers: Option<ServerProxies>,
}

/// Between the stages and their servers.
#[derive(Debug)]
struct ServerProxies {
    broker: TcpProxy,
    redis: [TcpProxy; 3],
    store: TcpProxy,
}

impl Proxies {
    /// For stages and servers at these ports.
    pub(super) fn to_servers(mqtt: u16, redis: u16, store: u16) -> Self {
        Self {
            load: TcpProxy::start(mqtt),
            servers: Some(ServerProxies {
                broker: TcpProxy::start(mqtt),
                redis: [(); 3].map(|()| TcpProxy::start(redis)),
                store: TcpProxy::start(store),
            }),
        }
    }

    /// For a single process, which listens at this port.
    pub(super) fn to_process(mqtt: u16) -> Self {
        Self {
            load: TcpProxy::start(mqtt),
            servers: None,
        }
    }

    fn servers(&self) -> &ServerProxies {
        self.servers
            .as_ref()
            .expect("a deployment on several servers")
    }

    /// From the ingester to the broker.
    #[must_use]
    pub fn broker(&self) -> &TcpProxy {
        &self.servers().broker
    }

    /// From each stage to Redis.
    #[must_use]
    pub fn redis(&self) -> &[TcpProxy; 3] {
        &self.servers().redis
    }

    /// From the sink to the store.
    #[must_use]
    pub fn store(&self) -> &TcpProxy {
        &self.servers().store
    }

    /// All proxies with their names, the load's first.
    #[must_use]
    pub fn all(&self) -> Vec<(&'static str, &TcpProxy)> {
        let Some(servers) = &self.servers else {
            return vec![("load to process", &self.load)];
        };
        vec![
            ("load to broker", &self.load),
            ("ingester to broker", &servers.broker),
            ("ingester to redis", &servers.redis[0]),
            ("transformer to redis", &servers.redis[1]),
            ("sink to redis", &servers.redis[2]),
            ("sink to store", &servers.store),
        ]
    }
}
