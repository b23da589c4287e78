//! `GET /api/v1/stream`: changes as server-sent events.

use super::{refusal::Refusal, rooms::Rooms};
use axum::{
    extract::State,
    http::StatusCode,
    response::sse::{self, KeepAlive, Sse},
};
use std::{convert::Infallible, sync::Arc};
use tokio_stream::{Stream, StreamExt, wrappers::BroadcastStream, wrappers::WatchStream};

/// Events `incident`, `anomaly`, `action` (the newest version as JSON), `window` (time and number of
/// series), and `missed` where the listener was too slow and should look anew.
pub async fn stream(State(rooms): State<Arc<Rooms>>) -> Result<Sse<impl Stream<Item = Result<sse::Event, Infallible>>>, Refusal> {
    let place = rooms.listeners.clone().try_acquire_owned();
    let place = place.map_err(|_| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "too many open streams: close one, or try again"))?;
    let stop = WatchStream::new(rooms.stop.clone()).filter(|stop| *stop).map(|_| None);
    let changes = BroadcastStream::new(rooms.view.listen()).map(Some);
    let hello = tokio_stream::once(sse::Event::default().comment("geophone"));
    let events = changes.merge(stop).take_while(Option::is_some).filter_map(move |change| {
        let _ = &place;
        Some(match change? {
            Ok(event) => sse::Event::default().event(event.kind).data(&*event.body),
            Err(missed) => {
                metrics::counter!("geophone_api_stream_missed_total").increment(1);
                sse::Event::default().event("missed").data(missed.to_string())
            }
        })
    });
    Ok(Sse::new(hello.chain(events).map(Ok)).keep_alive(KeepAlive::default()))
}
