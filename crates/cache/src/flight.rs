//! A call under way that several callers share.
//!
//! It belongs to nobody: whoever is present polls it, and what it gives is kept until all have it, within a bound. The one who began it may
//! leave; the last to leave ends it.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    future::Future,
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Wake, Waker},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Response, header, response::Parts};
use http_body::{Body as HttpBody, Frame};
use ziggurat_core::{Body, BoxError, CallEnd, Meter, Rejection, Served};

use crate::{Entry, Form, Held, Key};

/// The calls under way, by what they ask.
#[derive(Clone, Default)]
pub(crate) struct Flights(Arc<List>);

type List = Mutex<HashMap<Key, Arc<Flight>>>;

pub(crate) struct Flight {
    state: Mutex<State>,
    /// Takes it off the list.
    listed: Option<(Key, Weak<List>)>,
    /// Most bytes of the answer that are kept.
    bound: usize,
    keeps: Keep,
}

/// Judges a whole answer, and keeps it where it is good.
pub(crate) type Keep = Box<dyn Fn(&Parts, Form, Bytes) -> Option<Arc<Entry>> + Send + Sync>;

/// The call itself: `None` where it failed, and whoever began it has the error.
pub(crate) type Calling = Pin<Box<dyn Future<Output = Option<Called>> + Send>>;

/// The beginning of an answer, and what keeps other nodes from making the same call until it has ended.
pub(crate) type Called = (Response<Body>, Option<Held>);

struct State {
    driver: Driver,
    meter: Meter,
    /// Until it has ended, and what it came to is known: whoever began it may have left.
    open: Option<CallEnd>,
    head: Option<Parts>,
    form: Form,
    pieces: VecDeque<Piece>,
    /// How many pieces were dropped before those.
    dropped: u64,
    bytes: usize,
    /// Whether what comes is for the one who began it alone: a layer of ours said no to it.
    own: bool,
    end: Option<End>,
    present: usize,
    /// The piece that comes next for the one who began; `None` once they have left. It is not dropped before they have it.
    first_at: Option<u64>,
    /// Whether there was news while it was polled.
    woken: bool,
    names: u64,
    wakers: Vec<(u64, Waker)>,
}

enum Driver {
    Calling(Calling),
    Reading(Reading),
    /// Somebody polls it now.
    Busy,
    Gone,
}

struct Reading {
    body: Body,
    /// Let go when what can be kept is kept.
    held: Option<Held>,
}

#[derive(Clone)]
enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
    /// What a layer of ours tells the one who began, and nobody else.
    Own(Bytes),
}

/// How it ended.
#[derive(Clone)]
enum End {
    /// With all of the answer, and with what is kept of it.
    Whole(Option<Arc<Entry>>),
    /// In the middle, by an error.
    Broken(Shared),
    /// By a layer of ours, for the sake of the one who began it; or without any answer.
    Own,
    /// By a panic.
    Torn,
}

/// An error of a body that several have.
#[derive(Clone, Debug)]
struct Shared(Arc<BoxError>);

/// Somebody who is present.
pub(crate) struct Present {
    flight: Arc<Flight>,
    name: u64,
    /// Whether it began the call.
    began: bool,
    /// The piece that comes next.
    at: u64,
}

/// What somebody gets who waits for the head of the answer.
pub(crate) enum Landed {
    /// It, and that comes behind it.
    Head(Parts, Present),
    /// Nothing: it is to make a call of its own.
    Alone,
}

/// What somebody gets who reads.
pub(crate) enum Next {
    Frame(Frame<Bytes>),
    End,
    Broken(BoxError),
    /// It was too slow, and what comes next is gone.
    Lagged,
    /// The call was ended for the sake of another.
    Alone,
}

struct Awake(Weak<Flight>);

// ===== impl Flights =====

impl Flights {
    /// Whether a call for a key is under way.
    pub(crate) fn has(&self, key: &Key) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(key)
    }

    /// Joins the call under way for a key, or begins it with what `begin` makes; nobody, where that makes none: one has ended just now.
    pub(crate) fn join(
        &self,
        key: Key,
        begin: impl FnOnce() -> Option<(Calling, Meter, Keep)>,
        bound: usize,
    ) -> Option<Present> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(present) = all.get(&key).and_then(Present::join) {
            return Some(present);
        }
        let flight = Flight::new(begin()?, bound, Some((key, Arc::downgrade(&self.0))));
        all.insert(key, Arc::clone(&flight));
        Some(Present { flight, name: FIRST, began: true, at: 0 })
    }
}

// ===== impl Flight =====

impl Flight {
    fn new(
        (calling, meter, keeps): (Calling, Meter, Keep),
        bound: usize,
        listed: Option<(Key, Weak<List>)>,
    ) -> Arc<Self> {
        let state = State {
            driver: Driver::Calling(calling),
            open: Some(meter.keep()),
            meter,
            head: None,
            form: Form::Whole,
            pieces: VecDeque::new(),
            dropped: 0,
            bytes: 0,
            own: false,
            end: None,
            present: 1,
            first_at: Some(0),
            woken: false,
            names: 1,
            wakers: Vec::new(),
        };
        Arc::new(Self { state: Mutex::new(state), listed, bound, keeps })
    }

    /// A call that nobody else joins.
    pub(crate) fn alone(begun: (Calling, Meter, Keep), bound: usize) -> Present {
        Present { flight: Self::new(begun, bound, None), name: FIRST, began: true, at: 0 }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes it off the list: nobody joins any more.
    fn unlist(&self) {
        let Some((key, list)) = &self.listed else { return };
        let Some(list) = list.upgrade() else { return };
        let mut list = list.lock().unwrap_or_else(PoisonError::into_inner);
        if list.get(key).is_some_and(|flight| std::ptr::eq(&**flight, self)) {
            list.remove(key);
        }
    }

    /// Polls the call, unless somebody else does so now; ready when something has changed.
    fn poll(self: &Arc<Self>, name: u64, cx: &Context<'_>) -> Poll<()> {
        let (driver, _old) = {
            let mut state = self.state();
            let old = state.wait(name, cx.waker());
            if name != FIRST && state.is_full(self.bound) {
                // It goes on when the one who began it has read on.
                return Poll::Pending;
            }
            match mem::replace(&mut state.driver, Driver::Busy) {
                Driver::Busy => return Poll::Pending,
                driver => (driver, old),
            }
        };
        // What is polled may panic: then all who wait are told that there is no answer.
        let mut put = PutBack { flight: self, driver: Driver::Gone, end: Some(End::Torn), changed: true };
        let waker = Waker::from(Arc::new(Awake(Arc::downgrade(self))));
        (put.driver, put.end) = match driver.poll(&mut Context::from_waker(&waker)) {
            Polled::Pending(driver) => {
                put.changed = false;
                (driver, None)
            }
            Polled::Answered(called) => (self.answered(called), None),
            Polled::Failed => (Driver::Gone, Some(End::Own)),
            Polled::Frame(reading, frame) => self.grew(reading, frame),
            Polled::Broken(error) => (Driver::Gone, Some(End::Broken(Shared(Arc::new(error))))),
            // What is held is let go behind that.
            Polled::Over(_reading) => (Driver::Gone, Some(self.whole())),
        };
        if put.changed { Poll::Ready(()) } else { Poll::Pending }
    }

    fn answered(&self, (response, held): Called) -> Driver {
        let (parts, body) = response.into_parts();
        let mut state = self.state();
        let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if kind.is_some_and(|kind| kind.starts_with("text/event-stream")) {
            state.form = Form::Events;
        }
        state.own = is_own(&parts);
        let own = state.own;
        state.head = Some(parts);
        drop(state);
        if own {
            self.unlist();
        }
        Driver::Reading(Reading { body, held })
    }

    fn grew(&self, mut reading: Reading, frame: Frame<Bytes>) -> (Driver, Option<End>) {
        let piece = match frame.into_data() {
            Ok(data) => Piece::Data(data),
            Err(frame) => match frame.into_trailers() {
                Ok(trailers) => Piece::Trailers(trailers),
                // Frames of other kinds are known to nobody here.
                Err(_) => return (Driver::Reading(reading), None),
            },
        };
        let mut state = self.state();
        state.own |= state.meter.was_stopped();
        let own = state.own;
        state.bytes += piece.len();
        state.pieces.push_back(if own { piece.owned() } else { piece });
        let lost = state.evict(self.bound);
        drop(state);
        if lost || own {
            // Who comes now cannot have it from its beginning: another is begun, here or on another node.
            self.unlist();
            reading.held = None;
        }
        match reading.body.is_end_stream() {
            true => (Driver::Gone, Some(self.whole())),
            false => (Driver::Reading(reading), None),
        }
    }

    /// Keeps a whole answer.
    fn whole(&self) -> End {
        let (parts, form, pieces) = {
            let state = self.state();
            if state.own {
                return End::Own;
            }
            if state.dropped > 0 || state.bytes > self.bound {
                return End::Whole(None);
            }
            let Some(parts) = state.head.clone() else { return End::Own };
            (parts, state.form, state.pieces.clone())
        };
        End::Whole((self.keeps)(&parts, form, joined(&pieces)))
    }
}

/// The bytes of an answer, copied where they came in several pieces.
fn joined(pieces: &VecDeque<Piece>) -> Bytes {
    let mut data = pieces.iter().filter_map(|piece| match piece {
        Piece::Data(data) => Some(data),
        Piece::Trailers(_) | Piece::Own(_) => None,
    });
    match (data.next(), data.clone().next()) {
        (None, _) => Bytes::new(),
        (Some(only), None) => only.clone(),
        (Some(first), Some(_)) => {
            let mut all = BytesMut::with_capacity(pieces.iter().map(Piece::len).sum());
            all.extend_from_slice(first);
            data.for_each(|data| all.extend_from_slice(data));
            all.freeze()
        }
    }
}

/// Puts a driver back, and tells all who wait.
struct PutBack<'f> {
    flight: &'f Arc<Flight>,
    driver: Driver,
    end: Option<End>,
    /// Whether there is anything new for those who wait.
    changed: bool,
}

impl Drop for PutBack<'_> {
    fn drop(&mut self) {
        let mut state = self.flight.state();
        state.driver = mem::replace(&mut self.driver, Driver::Gone);
        let ended = self.end.is_some();
        if state.end.is_none() {
            state.end = self.end.take();
        }
        let woken = mem::take(&mut state.woken);
        let wakers = if self.changed || woken { mem::take(&mut state.wakers) } else { Vec::new() };
        let open = if ended { state.open.take() } else { None };
        drop(state);
        drop(open);
        if ended {
            self.flight.unlist();
        }
        wakers.into_iter().for_each(|(_, waker)| waker.wake());
    }
}

// ===== impl State =====

impl State {
    /// Has somebody woken when there is news; gives back whom else that would have woken, to be dropped when nothing is locked.
    fn wait(&mut self, name: u64, waker: &Waker) -> Option<Waker> {
        match self.wakers.iter_mut().find(|(waiting, _)| *waiting == name) {
            Some((_, known)) if known.will_wake(waker) => None,
            Some((_, known)) => Some(mem::replace(known, waker.clone())),
            None => {
                self.wakers.push((name, waker.clone()));
                None
            }
        }
    }

    /// Whether there is no room for more until the one who began it has read on.
    fn is_full(&self, bound: usize) -> bool {
        self.bytes > bound && self.first_at.is_some_and(|at| at < self.dropped + self.pieces.len() as u64)
    }

    /// Drops what is beyond the bound and was read by the one who began it; whether its beginning is gone by that.
    fn evict(&mut self, bound: usize) -> bool {
        let was_all = self.dropped == 0;
        while self.bytes > bound && self.pieces.len() > 1 && self.first_at.is_none_or(|at| self.dropped < at)
        {
            self.bytes -= self.pieces.pop_front().map_or(0, |piece| piece.len());
            self.dropped += 1;
        }
        was_all && self.dropped > 0
    }
}

/// The name of the one who began.
const FIRST: u64 = 0;

/// Whether an answer is for the one who began alone: a layer of ours has refused it, or another model has answered than was asked, which others may
/// have no right to.
fn is_own(parts: &Parts) -> bool {
    let fell_back = parts.extensions.get::<Served>().is_some_and(|served| served.fallbacks > 0);
    fell_back || parts.extensions.get::<Rejection>().is_some()
}

// ===== impl Driver =====

enum Polled {
    Pending(Driver),
    Answered(Called),
    Failed,
    Frame(Reading, Frame<Bytes>),
    Broken(BoxError),
    Over(Reading),
}

impl Driver {
    fn poll(self, cx: &mut Context<'_>) -> Polled {
        match self {
            Self::Calling(mut calling) => match calling.as_mut().poll(cx) {
                Poll::Pending => Polled::Pending(Self::Calling(calling)),
                Poll::Ready(Some(called)) => Polled::Answered(called),
                Poll::Ready(None) => Polled::Failed,
            },
            Self::Reading(mut reading) => match Pin::new(&mut reading.body).poll_frame(cx) {
                Poll::Pending => Polled::Pending(Self::Reading(reading)),
                Poll::Ready(Some(Ok(frame))) => Polled::Frame(reading, frame),
                Poll::Ready(Some(Err(error))) => Polled::Broken(error),
                Poll::Ready(None) => Polled::Over(reading),
            },
            Self::Busy | Self::Gone => Polled::Failed,
        }
    }
}

// ===== impl Piece =====

impl Piece {
    fn len(&self) -> usize {
        match self {
            Self::Data(data) | Self::Own(data) => data.len(),
            Self::Trailers(_) => 0,
        }
    }

    fn owned(self) -> Self {
        match self {
            Self::Data(data) => Self::Own(data),
            other => other,
        }
    }
}

// ===== impl Present =====

impl Present {
    fn join(flight: &Arc<Flight>) -> Option<Self> {
        let mut state = flight.state();
        if state.present == 0 || state.end.is_some() || state.dropped > 0 || state.own {
            return None;
        }
        state.present += 1;
        let name = state.names;
        state.names += 1;
        drop(state);
        Some(Self { flight: Arc::clone(flight), name, began: false, at: 0 })
    }

    /// Whether it began the call.
    pub(crate) const fn began(&self) -> bool {
        self.began
    }

    /// In which form the answer comes, once its head is known.
    pub(crate) fn form(&self) -> Form {
        self.flight.state().form
    }

    /// Waits for the head of the answer.
    pub(crate) async fn head(self) -> Landed {
        let mut present = Some(self);
        std::future::poll_fn(move |cx| {
            loop {
                let Some(this) = &present else { return Poll::Ready(Landed::Alone) };
                let state = this.flight.state();
                let own = state.own || matches!(state.end, Some(End::Own | End::Torn));
                if let Some(head) = state.head.as_ref().filter(|_| this.began || !own) {
                    let head = head.clone();
                    drop(state);
                    return Poll::Ready(
                        present.take().map_or(Landed::Alone, |this| Landed::Head(head, this)),
                    );
                }
                if own || state.end.is_some() {
                    return Poll::Ready(Landed::Alone);
                }
                drop(state);
                if this.flight.poll(this.name, cx).is_pending() {
                    return Poll::Pending;
                }
            }
        })
        .await
    }

    /// Waits for the whole answer, where it is kept.
    pub(crate) async fn kept(self) -> Option<Arc<Entry>> {
        std::future::poll_fn(|cx| {
            loop {
                {
                    let state = self.flight.state();
                    match &state.end {
                        Some(End::Whole(kept)) => return Poll::Ready(kept.clone()),
                        Some(End::Broken(_) | End::Own | End::Torn) => return Poll::Ready(None),
                        // It will not be kept.
                        None if state.own || state.dropped > 0 => return Poll::Ready(None),
                        None => {}
                    }
                }
                if self.flight.poll(self.name, cx).is_pending() {
                    return Poll::Pending;
                }
            }
        })
        .await
    }

    /// What comes next of the answer.
    pub(crate) fn poll_next(&mut self, cx: &Context<'_>) -> Poll<Next> {
        loop {
            {
                let state = self.flight.state();
                let Some(at) = self.at.checked_sub(state.dropped) else { return Poll::Ready(Next::Lagged) };
                let piece = usize::try_from(at).ok().and_then(|at| state.pieces.get(at)).cloned();
                if let Some(piece) = piece {
                    if !self.began && matches!(piece, Piece::Own(_)) {
                        return Poll::Ready(Next::Alone);
                    }
                    self.at += 1;
                    if self.began {
                        self.read_on(state);
                    }
                    return Poll::Ready(Next::Frame(match piece {
                        Piece::Data(data) | Piece::Own(data) => Frame::data(data),
                        Piece::Trailers(trailers) => Frame::trailers(trailers),
                    }));
                }
                let own = state.own;
                let end = state.end.clone();
                drop(state);
                match end {
                    Some(End::Own) | None if own && !self.began => return Poll::Ready(Next::Alone),
                    Some(End::Own) if !self.began => return Poll::Ready(Next::Alone),
                    Some(End::Whole(_) | End::Own) => return Poll::Ready(Next::End),
                    Some(End::Broken(error)) => return Poll::Ready(Next::Broken(error.into())),
                    Some(End::Torn) => return Poll::Ready(Next::Broken("the call has panicked".into())),
                    None => {}
                }
            }
            if self.flight.poll(self.name, cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Makes room by what the one who began it has read, for those who wait for that.
    fn read_on(&self, mut state: MutexGuard<'_, State>) {
        let was_full = state.is_full(self.flight.bound);
        state.first_at = Some(self.at);
        let lost = state.evict(self.flight.bound);
        let wakers = if was_full { mem::take(&mut state.wakers) } else { Vec::new() };
        drop(state);
        if lost {
            self.flight.unlist();
        }
        wakers.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// Whether nothing comes behind what was read.
    pub(crate) fn is_over(&self) -> bool {
        let state = self.flight.state();
        matches!(state.end, Some(End::Whole(_))) && self.at == state.dropped + state.pieces.len() as u64
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        let mut state = self.flight.state();
        state.present -= 1;
        if self.began {
            state.first_at = None;
        }
        let last = state.present == 0;
        let gone = last.then(|| (mem::replace(&mut state.driver, Driver::Gone), state.open.take()));
        // Whoever was to poll next may have been this one.
        let wakers = mem::take(&mut state.wakers);
        drop(state);
        if gone.is_some() {
            self.flight.unlist();
        }
        drop(gone);
        wakers.into_iter().filter(|(name, _)| *name != self.name).for_each(|(_, waker)| waker.wake());
    }
}

// ===== impl Awake =====

impl Wake for Awake {
    fn wake(self: Arc<Self>) {
        let Some(flight) = self.0.upgrade() else { return };
        let wakers = {
            let mut state = flight.state();
            state.woken |= matches!(state.driver, Driver::Busy);
            mem::take(&mut state.wakers)
        };
        wakers.into_iter().for_each(|(_, waker)| waker.wake());
    }
}

// ===== impl Shared =====

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Shared {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(self.0.as_ref().as_ref())
    }
}

impl fmt::Debug for Flights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flights").finish_non_exhaustive()
    }
}
