//! What the replay upstream has seen and done.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method};
use serde_json::{Value, json};
use tokio::sync::watch;

/// A request that arrived whole, and what became of the answer.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// The method.
    pub method: Method,
    /// The path with its query, as it came.
    pub path: String,
    /// The headers, as they came.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// The id of the recording that answers; `None` where none was found.
    pub recording: Option<Arc<str>>,
    /// How many bytes of the answer's body the socket has taken so far, counted in whole chunks.
    pub written: u64,
    /// How it ended; `None` while it runs.
    pub ending: Option<Ending>,
}

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The answer was written to its end.
    Completed,
    /// The peer left first. This is also how a stalled or hanging exchange ends.
    PeerClosed {
        /// How many bytes of the body the socket had taken, counted in whole chunks.
        after_bytes: u64,
    },
    /// A fault ended it.
    Faulted,
}

/// The exchanges so far, oldest first, and counts of what is open.
///
/// It keeps the last 16,384 exchanges, and fewer when their bodies exceed 256 MiB.
#[derive(Debug, Clone, Default)]
pub struct Log {
    exchanges: VecDeque<Exchange>,
    /// The number of the first exchange that is still kept; they are numbered in order of arrival.
    first: u64,
    body_bytes: usize,
    connections: u64,
    open_connections: usize,
    in_flight: usize,
}

/// An exchange that runs. Unless it is ended, its peer is what left.
#[derive(Debug)]
pub(super) struct Running {
    log: watch::Sender<Log>,
    number: u64,
    written: u64,
    ending: Option<Ending>,
}

/// A connection that is open, until this is dropped.
#[derive(Debug)]
pub(super) struct Connected {
    log: watch::Sender<Log>,
}

// ===== impl Exchange =====

impl Exchange {
    fn to_json(&self) -> Value {
        let headers = self.headers.keys().map(|name| {
            let values =
                self.headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
            (name.to_string(), values.collect::<Vec<_>>().join(", ").into())
        });
        json!({
            "method": self.method.as_str(),
            "path": self.path,
            "headers": headers.collect::<serde_json::Map<_, _>>(),
            "body": String::from_utf8_lossy(&self.body),
            "recording": self.recording.as_deref(),
            "written": self.written,
            "ending": self.ending.map(Ending::name),
        })
    }
}

// ===== impl Ending =====

impl Ending {
    fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::PeerClosed { .. } => "peer_closed",
            Self::Faulted => "faulted",
        }
    }
}

// ===== impl Log =====

impl Log {
    /// The exchanges that are kept, in order of arrival.
    pub fn exchanges(&self) -> &VecDeque<Exchange> {
        &self.exchanges
    }

    /// How many connections were ever accepted.
    pub fn connections(&self) -> u64 {
        self.connections
    }

    /// How many connections are open now.
    pub fn open_connections(&self) -> usize {
        self.open_connections
    }

    /// How many exchanges run now.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(super) fn to_json(&self) -> Value {
        self.exchanges.iter().map(Exchange::to_json).collect()
    }

    /// Forgets the exchanges; counts stay.
    pub(super) fn clear(&mut self) {
        while self.forget_oldest() {}
    }

    fn push(&mut self, exchange: Exchange) -> u64 {
        self.in_flight += 1;
        self.body_bytes += exchange.body.len();
        self.exchanges.push_back(exchange);
        let number = self.first + self.exchanges.len() as u64 - 1;
        while self.exchanges.len() > KEPT_EXCHANGES || self.body_bytes > KEPT_BODY_BYTES {
            self.forget_oldest();
        }
        number
    }

    fn forget_oldest(&mut self) -> bool {
        let Some(oldest) = self.exchanges.pop_front() else { return false };
        self.body_bytes -= oldest.body.len();
        self.first += 1;
        true
    }

    /// The exchange of this number, unless it was forgotten.
    fn exchange(&mut self, number: u64) -> Option<&mut Exchange> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.exchanges.get_mut(index)
    }
}

// ===== impl Running =====

impl Running {
    pub(super) fn start(
        log: &watch::Sender<Log>,
        request: &Parts,
        body: Bytes,
        recording: Option<Arc<str>>,
    ) -> Self {
        let exchange = Exchange {
            method: request.method.clone(),
            path: request.uri.path_and_query().map_or("", |path| path.as_str()).to_owned(),
            headers: request.headers.clone(),
            body,
            recording,
            written: 0,
            ending: None,
        };
        let mut number = 0;
        log.send_modify(|log| number = log.push(exchange));
        Self { log: log.clone(), number, written: 0, ending: None }
    }

    pub(super) fn wrote(&mut self, bytes: u64) {
        if bytes > 0 {
            self.written += bytes;
            self.update(|exchange, written| exchange.written = written);
        }
    }

    pub(super) fn end(mut self, ending: Ending) {
        self.ending = Some(ending);
    }

    fn update(&self, change: impl FnOnce(&mut Exchange, u64)) {
        self.log.send_modify(|log| {
            if let Some(exchange) = log.exchange(self.number) {
                change(exchange, self.written);
            }
        });
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let ending = self.ending.unwrap_or(Ending::PeerClosed { after_bytes: self.written });
        // One change, so that nobody sees an exchange that neither runs nor has ended.
        self.log.send_modify(|log| {
            log.in_flight -= 1;
            if let Some(exchange) = log.exchange(self.number) {
                exchange.ending = Some(ending);
            }
        });
    }
}

// ===== impl Connected =====

impl Connected {
    pub(super) fn start(log: &watch::Sender<Log>) -> Self {
        log.send_modify(|log| {
            log.connections += 1;
            log.open_connections += 1;
        });
        Self { log: log.clone() }
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.log.send_modify(|log| log.open_connections -= 1);
    }
}

const KEPT_EXCHANGES: usize = 16 * 1024;
const KEPT_BODY_BYTES: usize = 256 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn start(log: &watch::Sender<Log>, body: Bytes) -> Running {
        let (parts, ()) = http::Request::new(()).into_parts();
        Running::start(log, &parts, body, None)
    }

    #[test]
    fn keeps_the_latest_exchanges_and_their_endings() {
        let log = watch::Sender::new(Log::default());
        let mut forgotten = start(&log, Bytes::new());
        for _ in 0..KEPT_EXCHANGES {
            start(&log, Bytes::new()).end(Ending::Completed);
        }
        forgotten.wrote(5);
        assert_eq!(log.borrow().in_flight(), 1);
        forgotten.end(Ending::Faulted);
        let log = log.borrow();
        assert_eq!((log.exchanges().len(), log.in_flight()), (KEPT_EXCHANGES, 0));
        assert!(
            log.exchanges().iter().all(|kept| kept.ending == Some(Ending::Completed) && kept.written == 0)
        );
    }

    #[test]
    fn forgets_the_oldest_when_bodies_grow_too_large() {
        let log = watch::Sender::new(Log::default());
        let body = Bytes::from(vec![b'x'; KEPT_BODY_BYTES / 2]);
        let running =
            [start(&log, body.clone()), start(&log, body.clone()), start(&log, Bytes::from_static(b"y"))];
        assert_eq!(
            log.borrow().exchanges().iter().map(|kept| kept.body.len()).collect::<Vec<_>>(),
            [body.len(), 1]
        );
        drop(running);
        assert_eq!(log.borrow().exchanges()[1].ending, Some(Ending::PeerClosed { after_bytes: 0 }));
    }
}
