//! The listener, queue, store and stages of one process.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use common::clock::Clock;
use common::harness::{Parts, Process};
use common::health::Dependency;
use common::pipelines::Pipeline;
use ingester::process::http_route;
use model::pipeline::SourceKind;
use model::position::Positions;
use queue::sqlite::SqliteQueue;
use transport::{
    Fanout, HttpListener, HttpReceiver, HttpRoute, HttpStreamSettings, HttpStreamSource, Listener,
    MqttSettings, PubSubSettings, RedisSubscriber, Source, SubscribeSettings, Subscriber,
};

use super::data_dir::DataDir;
use super::observer::{Observed, Observer};
use super::part::Part;
use super::settings::ServerSettings;

/// Open files besides the connections, with some to spare.
const OTHER_FILES: u64 = 64;

/// A listener and the files of the pipelines that are open, and the settings of their stages.
#[derive(Debug)]
pub struct Server {
    settings: ServerSettings,
    /// At least one.
    parts: Vec<Part>,
    listener: Arc<Listener>,
    api: api::Server,
    /// If a pipeline takes messages over HTTP.
    http: Option<HttpListener>,
    /// Locked until all stages have ended.
    dir: DataDir,
}

impl Server {
    /// Opens the listener's socket and the files in the directory, which it creates if needed.
    pub async fn open(
        dir: DataDir,
        settings: &ServerSettings,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        raise_file_limit(settings.listen.mqtt_max_connections);
        // First, because the most common error is a broker on the same port.
        let listener = Arc::new(Listener::bind(&settings.listen).await?);
        let api = api::Server::bind(&settings.api).await?;
        let pipelines = settings.pipelines.all().iter();
        let parts = pipelines.map(|pipeline| Part::open(dir.path(), pipeline, settings, clock));
        let parts: Vec<_> = parts.collect::<anyhow::Result<_>>()?;
        let http = if http_routes(&parts).is_empty() {
            None
        } else {
            Some(settings.http.bind().await?)
        };
        dir.sync().context("cannot write to the data directory")?;
        Ok(Self {
            settings: settings.clone(),
            parts,
            listener,
            api,
            http,
            dir,
        })
    }

    /// The address that devices publish to.
    #[must_use]
    pub fn listens_on(&self) -> SocketAddr {
        self.listener.local_addr()
    }

    /// Whether a pipeline takes messages that devices publish to the listener.
    #[must_use]
    pub fn takes_mqtt(&self) -> bool {
        self.parts.iter().any(|part| part.wants().is_some())
    }

    /// What else devices can publish by, with its address.
    pub fn other_listeners(&self) -> impl Iterator<Item = String> {
        let all = [
            ("MQTT with TLS", self.listener.tls_addr()),
            ("MQTT over WebSocket", self.listener.web_socket_addr()),
            (
                "MQTT over WebSocket with TLS",
                self.listener.web_socket_tls_addr(),
            ),
        ];
        let mqtt = all.into_iter().filter(|_| self.takes_mqtt());
        let mqtt = mqtt.filter_map(|(what, address)| Some(format!("{what} on {}", address?)));
        let http = self.http.iter();
        mqtt.chain(http.map(|listener| format!("HTTP on {}", listener.url())))
    }

    /// The address of the HTTP API.
    #[must_use]
    pub fn api_listens_on(&self) -> SocketAddr {
        self.api.addr()
    }

    /// Whether the HTTP API is at https.
    #[must_use]
    pub fn api_is_https(&self) -> bool {
        self.settings.api.is_https()
    }

    /// Whether clients of the HTTP API need a token.
    #[must_use]
    pub const fn api_requires_token(&self) -> bool {
        self.settings.api.requires_token()
    }

    /// Whether clients need a user name and a password.
    #[must_use]
    pub fn requires_login(&self) -> bool {
        self.settings.requires_login()
    }

    /// The data directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Whether rows of this pipeline are in the data directory.
    pub(crate) fn has_store_file(&self, pipeline: &str) -> bool {
        let mut parts = self.parts.iter();
        parts.any(|part| part.pipeline.name() == pipeline && part.has_store_file())
    }

    /// The names of the pipelines.
    pub fn pipelines(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().map(|part| part.pipeline.name())
    }

    /// The lists of each pipeline, in the order of [`Self::pipelines`].
    pub fn queues(&self) -> impl Iterator<Item = &SqliteQueue> {
        self.parts.iter().map(|part| &part.queue)
    }

    /// Runs the stages of all pipelines until the process stops and all stages have ended. If one stage ends early, the
    /// others are stopped.
    pub async fn run(
        self,
        observer: Option<Arc<dyn Observer>>,
        process: &Process,
    ) -> anyhow::Result<()> {
        let observer = observer.as_ref();
        let Self {
            settings,
            parts,
            listener,
            api,
            http,
            dir,
        } = self;
        let files = parts.iter().flat_map(Part::files);
        let watch = dir
            .watch(files)
            .context("cannot watch the data directory")?;
        let reload = listener.reload();
        let mut stages = Parts::default();
        start_ingesters(&parts, &settings, listener, observer, process, &mut stages)?;
        for part in &parts {
            part.start(&settings, observer, process, &mut stages)?;
            part.start_alerts(&settings, process, &mut stages);
        }
        if let Some(http) = http {
            let receiver = HttpReceiver::new(http_routes(&parts), &settings.http);
            let process = process.clone();
            stages.spawn(async move { receiver.run(http, process).await });
        }
        let served = parts.iter().map(|part| part.served(&settings)).collect();
        let served = api::Api::new(served, process.health.clone(), process.clock);
        let api_settings = settings.api.clone();
        let of_api = process.clone();
        stages.spawn(async move { api.run(served, &api_settings, of_api).await });
        // The stages and the API have handles of their own, and the last one closes its file.
        drop(parts);
        let ended = tokio::select! {
            ended = stages.all(process, "stage") => ended,
            lost = watch.lost() => Err(lost.into()),
            never = process.on_reload(reload) => match never {},
        };
        drop(dir);
        ended
    }
}

/// The pipelines that take messages over HTTP.
fn http_routes(parts: &[Part]) -> Vec<HttpRoute> {
    let routes = parts.iter().filter_map(|part| match &part.pipeline {
        Pipeline::File(file) => http_route(file, &part.inbox),
        Pipeline::Rigs(_) => None,
    });
    routes.collect()
}

/// Starts the ingester of each pipeline: with the listener, or with a source of its own.
fn start_ingesters(
    parts: &[Part],
    settings: &ServerSettings,
    listener: Arc<Listener>,
    observer: Option<&Arc<dyn Observer>>,
    process: &Process,
    stages: &mut Parts,
) -> anyhow::Result<()> {
    let (listening, others): (Vec<&Part>, Vec<&Part>) =
        parts.iter().partition(|part| part.wants().is_some());
    for part in others {
        start_own_source(part, settings, process, stages)?;
    }
    match listening.as_slice() {
        [] => {}
        // Without a task in between.
        [part] => {
            let session = move |up: Dependency, _| listener.start(&up);
            start_ingester(part, settings, session, observer, process, stages);
        }
        several => {
            let up = process.health.dependency("mqtt");
            let wants = several.iter().filter_map(|part| part.wants()).collect();
            let fanout = Fanout::new(move || listener.start(&up), wants);
            for (place, part) in several.iter().enumerate() {
                let fanout = fanout.clone();
                let session = move |up: Dependency, _| {
                    up.up();
                    fanout.session(place)
                };
                start_ingester(part, settings, session, observer, process, stages);
            }
        }
    }
    Ok(())
}

fn start_ingester<S: Source + Sync>(
    part: &Part,
    settings: &ServerSettings,
    session: impl Fn(Dependency, Positions) -> S + Send + Sync + 'static,
    observer: Option<&Arc<dyn Observer>>,
    process: &Process,
    stages: &mut Parts,
) {
    let (work, queue) = (part.ingester(settings), part.queue.clone());
    let process = part.process(process, "ingester");
    let inbox = part.inbox.clone();
    let observer = part.observer(observer);
    let session = move |up, positions| Observed {
        inner: inbox.beside(session(up, positions)),
        observer: observer.clone(),
    };
    stages.spawn(ingester::run(work, queue, session, process));
}

/// Starts the ingester of a pipeline that connects to a broker or to Redis.
fn start_own_source(
    part: &Part,
    settings: &ServerSettings,
    process: &Process,
    stages: &mut Parts,
) -> anyhow::Result<()> {
    let Pipeline::File(file) = &part.pipeline else {
        return Ok(());
    };
    let (work, queue) = (part.ingester(settings), part.queue.clone());
    let process = part.process(process, "ingester");
    let inbox = part.inbox.clone();
    match file.source.kind() {
        SourceKind::Mqtt => {
            let mut mqtt = MqttSettings::at("localhost", 1883);
            mqtt.tls = settings.broker_tls.clone();
            mqtt.mqtt_version = settings.mqtt_version;
            if let Some(url) = &file.source.url {
                mqtt.set_url(url)?;
            }
            let subscribe = SubscribeSettings::of_file(&file.source);
            let client_id = format!("rigline-{}", *file.name);
            let session =
                move |up, _| inbox.beside(Subscriber::start(&mqtt, &subscribe, &client_id, up));
            stages.spawn(ingester::run(work, queue, session, process));
        }
        SourceKind::RedisPubsub => {
            let source = PubSubSettings::of_file(&file.source, &settings.redis)?;
            let session = move |up, _| inbox.beside(RedisSubscriber::start(&source, up));
            stages.spawn(ingester::run(work, queue, session, process));
        }
        #[cfg(feature = "kafka")]
        SourceKind::Kafka => {
            let source = transport::kafka_reader(file, &settings.kafka, work.queue.limits.batch)?;
            let session = move |up, positions| {
                inbox.beside(transport::KafkaSource::start(&source, up, positions))
            };
            stages.spawn(ingester::run(work, queue, session, process));
        }
        // The settings' check has refused it.
        #[cfg(not(feature = "kafka"))]
        SourceKind::Kafka => anyhow::bail!(common::settings::built_without("kafka")),
        SourceKind::HttpStream => {
            let source = HttpStreamSettings::of_file(file, &settings.streams)?;
            let session =
                move |up, positions| inbox.beside(HttpStreamSource::start(&source, up, &positions));
            stages.spawn(ingester::run(work, queue, session, process));
        }
        SourceKind::Http => {
            let session = move |up, _| inbox.alone(&up);
            stages.spawn(ingester::run(work, queue, session, process));
        }
    }
    Ok(())
}

/// Raises the limit of open files, since each connection takes a file descriptor.
fn raise_file_limit(connections: usize) {
    let wanted = u64::try_from(connections)
        .unwrap_or(u64::MAX)
        .saturating_add(OTHER_FILES);
    let limit = rlimit::increase_nofile_limit(wanted);
    let allowed = *limit.as_ref().unwrap_or(&0);
    if allowed < wanted {
        let error = limit.err().map(|error| error.to_string());
        tracing::warn!(
            allowed,
            wanted,
            error,
            "the limit of open files is below what MQTT_MAX_CONNECTIONS needs: raise `ulimit -n`"
        );
    }
}
