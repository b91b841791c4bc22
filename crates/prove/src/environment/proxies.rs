//! The proxies between the parts.

use testkit::TcpProxy;

/// A wire between each two parts.
#[derive(Debug)]
pub struct Proxies {
    /// From who publishes to the broker, or to the one process.
    pub load: TcpProxy,
    inner: Option<Inner>,
}

/// Those between servers and stages.
#[derive(Debug)]
struct Inner {
    broker: TcpProxy,
    redis: [TcpProxy; 3],
    store: TcpProxy,
}

impl Proxies {
    /// Those of servers, at these ports, and their stages.
    pub(super) fn around(mqtt: u16, redis: u16, store: u16) -> Self {
        Self {
            load: TcpProxy::start(mqtt),
            inner: Some(Inner {
                broker: TcpProxy::start(mqtt),
                redis: [(); 3].map(|()| TcpProxy::start(redis)),
                store: TcpProxy::start(store),
            }),
        }
    }

    /// The only one that leads to the one process.
    pub(super) fn to(mqtt: u16) -> Self {
        Self {
            load: TcpProxy::start(mqtt),
            inner: None,
        }
    }

    fn inner(&self) -> &Inner {
        self.inner.as_ref().expect("servers with proxies to them")
    }

    /// From the ingester to the broker.
    #[must_use]
    pub fn broker(&self) -> &TcpProxy {
        &self.inner().broker
    }

    /// From each stage to Redis.
    #[must_use]
    pub fn redis(&self) -> &[TcpProxy; 3] {
        &self.inner().redis
    }

    /// From the sink to the store.
    #[must_use]
    pub fn store(&self) -> &TcpProxy {
        &self.inner().store
    }

    /// All of them, with their names; the load's is the first.
    #[must_use]
    pub fn all(&self) -> Vec<(&'static str, &TcpProxy)> {
        let Some(inner) = &self.inner else {
            return vec![("load to process", &self.load)];
        };
        vec![
            ("load to broker", &self.load),
            ("ingester to broker", &inner.broker),
            ("ingester to redis", &inner.redis[0]),
            ("transformer to redis", &inner.redis[1]),
            ("sink to redis", &inner.redis[2]),
            ("sink to store", &inner.store),
        ]
    }
}
