//! The live stream of a pipeline.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::extract::PipelineName;
use crate::live::{Events, Subscription, UNBUFFERED, while_read};
use crate::parts::Api;
use crate::problem::{ListProblems, Problem};

/// A comment is sent after this time without an event, so that a connection that is gone is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Events that wait for a slow client, besides those of one state. States that come meanwhile are skipped.
const WAITING: usize = 1;

/// Streams the newest values and figures of a pipeline as server-sent events: at first everything, then what
/// changes, every half second at most. A slow client gets the newest state instead of each one.
///
/// The events, with their data in JSON: `rows` (`LiveRows`), `figures` (`Figures`), `problem` (`LiveProblem`)
/// and `recovered` (`Recovered`). After a gap, the first events of the next connection hold everything.
#[utoipa::path(
    get,
    operation_id = "openStream",
    path = "/pipelines/{pipeline}/stream",
    tag = "pipelines",
    params(PipelineName),
    responses(
        (status = 200, description = "Events without end", body = String, content_type = "text/event-stream"),
        ListProblems,
    ),
)]
pub(crate) async fn open(
    State(api): State<Api>,
    PipelineName(name): PipelineName,
) -> Result<Response, Problem> {
    let part = api.pipeline(&name)?;
    let subscription = api.live().subscribe(&api, part)?;
    let (send, receive) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        let stop = subscription.stop.clone();
        while_read(&stop, &send, forward(subscription, &send)).await;
    });
    let events = Sse::new(ReceiverStream::new(receive));
    let events = events.keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    Ok((UNBUFFERED, events).into_response())
}

/// Sends the events of each state, as fast as the client takes them.
async fn forward(mut from: Subscription, to: &mpsc::Sender<Result<sse::Event, Infallible>>) {
    let mut events = Events::default();
    // What others have read already.
    from.newest.mark_changed();
    // Fails when the task that reads states has ended.
    while from.newest.changed().await.is_ok() {
        let newest = from.newest.borrow_and_update().clone();
        let Some(state) = newest else { continue };
        for event in events.next(&state) {
            let event = sse::Event::default().event(event.name).data(event.data);
            if to.send(Ok(event)).await.is_err() {
                return;
            }
        }
    }
}
