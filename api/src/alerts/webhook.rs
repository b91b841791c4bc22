//! Posts events to webhooks: for each URL in order, each until it is taken or too old.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use common::backoff::Backoff;
use common::clock::Clock;
use common::log_interval::{LogInterval, WARNING_INTERVAL};
use common::metric;
use common::tls::ClientTls;
use metrics::counter;
use model::Timestamp;
use reqwest::Client;
use reqwest::header::CONTENT_TYPE;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::book::Book;
use super::event::Delivery;

#[cfg(test)]
mod tests;

/// Time limit of an attempt.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(10);
/// The waits between attempts.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));
/// An event that couldn't be delivered for this long is given up.
const KEPT_FOR: Duration = Duration::from_hours(24);

/// An event that a webhook has taken, or that was given up.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) url: String,
    pub(crate) number: u64,
}

/// A task for each URL, so that a slow receiver holds up no other. They end when this is dropped.
#[derive(Debug)]
pub(crate) struct Courier {
    workers: BTreeMap<String, Worker>,
    done: mpsc::UnboundedReceiver<Done>,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Worker {
    events: mpsc::UnboundedSender<(u64, Delivery)>,
    is_busy: bool,
}

/// The client of the webhooks at `urls`. Certificates of authorities are needed only if one is at https.
pub(crate) fn client<'a>(
    tls: &ClientTls,
    urls: impl IntoIterator<Item = &'a str>,
) -> anyhow::Result<Client> {
    let is_https = urls.into_iter().any(|url| url.starts_with("https:"));
    let config = tls.config_if(is_https)?;
    let client = Client::builder()
        .tls_backend_preconfigured((*config).clone())
        .user_agent(concat!("rigline/", env!("CARGO_PKG_VERSION")))
        .timeout(ATTEMPT_LIMIT)
        // An event goes to the address in the pipeline file, and to no other.
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()?;
    Ok(client)
}

impl Courier {
    pub(crate) fn start(client: &Client, tls: &ClientTls, book: &Book, clock: Clock) -> Self {
        let (sender, done) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        let mut workers = BTreeMap::new();
        for url in book.urls() {
            let (events, receiver) = mpsc::unbounded_channel();
            let task = Task {
                client: client.clone(),
                tls: tls.clone(),
                url: url.clone(),
                host: host(url),
                clock,
                warning: LogInterval::new(WARNING_INTERVAL),
            };
            tasks.spawn(task.run(receiver, sender.clone()));
            let worker = Worker {
                events,
                is_busy: false,
            };
            workers.insert(url.clone(), worker);
        }
        Self {
            workers,
            done,
            _tasks: tasks,
        }
    }

    /// Hands over the oldest committed event of each webhook that is free.
    pub(crate) fn feed(&mut self, book: &Book) {
        for (url, worker) in self
            .workers
            .iter_mut()
            .filter(|(_, worker)| !worker.is_busy)
        {
            if let Some((number, delivery)) = book.next_for(url) {
                worker.is_busy = worker.events.send((number, delivery.clone())).is_ok();
            }
        }
    }

    /// Waits for an event that is done; for ever without webhooks.
    pub(crate) async fn next_done(&mut self) -> Done {
        match self.done.recv().await {
            Some(done) => self.freed(done),
            None => std::future::pending().await,
        }
    }

    /// An event that is done already.
    pub(crate) fn done_now(&mut self) -> Option<Done> {
        let done = self.done.try_recv().ok()?;
        Some(self.freed(done))
    }

    fn freed(&mut self, done: Done) -> Done {
        if let Some(worker) = self.workers.get_mut(&done.url) {
            worker.is_busy = false;
        }
        done
    }
}

/// The host of a URL, for logs: the rest may be a secret.
fn host(url: &str) -> String {
    let parsed = reqwest::Url::parse(url).ok();
    let host = parsed.as_ref().and_then(reqwest::Url::host_str);
    host.unwrap_or("(unreadable URL)").to_owned()
}

struct Task {
    client: Client,
    tls: ClientTls,
    url: String,
    host: String,
    clock: Clock,
    warning: LogInterval,
}

impl Task {
    async fn run(
        mut self,
        mut events: mpsc::UnboundedReceiver<(u64, Delivery)>,
        done: mpsc::UnboundedSender<Done>,
    ) {
        while let Some((number, delivery)) = events.recv().await {
            self.deliver(&delivery).await;
            let url = self.url.clone();
            if done.send(Done { url, number }).is_err() {
                break;
            }
        }
    }

    async fn deliver(&mut self, delivery: &Delivery) {
        let mut backoff = Backoff::new(WAITS.0, WAITS.1);
        loop {
            let error = match self.attempt(delivery).await {
                Ok(()) => {
                    counter!(metric::WEBHOOK_DELIVERIES, "outcome" => "delivered").increment(1);
                    return;
                }
                Err(error) => error,
            };
            let (host, event) = (&self.host, &delivery.event.id);
            let age = self
                .clock
                .now()
                .since(Timestamp::from_nanos(delivery.created));
            if age > KEPT_FOR {
                tracing::error!(
                    host,
                    event,
                    error,
                    "an event of an alert is given up after 24 h"
                );
                counter!(metric::WEBHOOK_DELIVERIES, "outcome" => "given_up").increment(1);
                return;
            }
            counter!(metric::WEBHOOK_DELIVERIES, "outcome" => "failed").increment(1);
            if self.warning.is_due(Instant::now()) {
                tracing::warn!(
                    host,
                    event,
                    error,
                    "a webhook didn't take an event, retrying"
                );
            }
            tokio::time::sleep(backoff.next_wait()).await;
        }
    }

    async fn attempt(&self, delivery: &Delivery) -> Result<(), String> {
        let body = serde_json::to_vec(&delivery.event).map_err(|error| error.to_string())?;
        let request = self
            .client
            .post(&self.url)
            .header(CONTENT_TYPE, "application/json")
            .header("Idempotency-Key", &delivery.event.id)
            .body(body);
        let response = request.send().await.map_err(|error| self.text(error))?;
        let status = response.status();
        if status.is_success() {
            Ok(())
        } else {
            Err(format!("the answer is {status}"))
        }
    }

    /// An error with its causes or, if it is one of TLS, with its remedy; without the URL.
    fn text(&self, error: reqwest::Error) -> String {
        let error = error.without_url();
        let explained = self.tls.explain(&error, &self.host);
        explained.unwrap_or_else(|| format!("{:#}", anyhow::Error::new(error)))
    }
}
