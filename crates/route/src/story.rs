//! A call, from its first attempt to the one that answers, or to the last.

mod resume;

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use smallvec::{SmallVec, smallvec};
use tokio::time::{Instant, sleep};
use tower_service::Service;
use ziggurat_core::{Body, BoxError, CallEnd, Cause, Metered, Problem, Rejection, Served, Target};

use self::resume::Done;
use crate::{
    Affinity, Ask, Course, Event, Group, List, Permit, Picked, RetryPolicy,
    attempt::{Answer, Asked, Failure, Kind},
    body::{RoutedBody, Told},
    continued::can_continue,
    score::Score,
    tags::Tags,
    timeouts::{Fires, Timeouts, Timer},
};

/// All that is to be known for a call.
pub(crate) struct Story<S> {
    pub(crate) inner: S,
    pub(crate) asked: Asked,
    pub(crate) course: Course,
    /// What the caller allows at most.
    pub(crate) timeouts: Timeouts,
    pub(crate) max_retries: Option<u32>,
    pub(crate) tags: Tags,
    pub(crate) affinity: Option<Affinity>,
    pub(crate) input_tokens: Option<u64>,
    /// Where this layer is the one that ends the call.
    pub(crate) end: Option<CallEnd>,
    pub(crate) tally: Tally,
}

/// What is counted of a call.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// In the group that was asked last.
    retries: u32,
    fallbacks: u32,
}

/// An answer, and who gave it.
struct Answered {
    answer: Answer,
    score: Score,
    idle: Option<Duration>,
}

/// A deployment that may be called now.
struct Chosen {
    index: usize,
    permit: Permit,
    last_resort: bool,
}

/// Deployments of a group that were called.
type Tried = SmallVec<[usize; 4]>;

// ===== impl Story =====

impl<S, ResBody> Story<S>
where
    S: Service<Request<Body>, Response = Response<ResBody>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    /// Makes attempts until one is answered.
    #[expect(
        clippy::manual_async_fn,
        reason = "a block captures in place; an `async fn` would have `self` twice"
    )]
    pub(crate) fn tell(mut self) -> impl Future<Output = Told> + Send {
        async move {
            let total = Fires::after(Instant::now(), self.total_timeout(), Timer::Total);
            let mut groups: SmallVec<[Arc<Group>; 2]> = smallvec![Arc::clone(self.course.first())];
            let mut list = None;
            let mut told: Option<Box<Failure>> = None;
            let mut cooling = false;
            while let Some(group) = groups.last().cloned() {
                let others = self.stands_in(list.unwrap_or(List::General), &groups).is_some();
                let failure = match self.ask_group(&group, others, total).await {
                    Ok(answered) => return self.answer(answered, total),
                    Err(failure) => failure,
                };
                let (falls_back, cause) = (failure.falls_back(), failure.problem.cause);
                cooling |= failure.kind == Kind::Cooling;
                told = Some(the_one_to_tell(told, failure));
                if !falls_back || self.asked.has_left() || !self.asked.body.may_repeat() {
                    break;
                }
                // The first failure decides which list it is: what follows is its order.
                let list = *list.get_or_insert_with(|| self.list_for(cause));
                let Some(next) = self.stands_in(list, &groups) else { break };
                self.report(&Event::FellBack { from: group.name(), to: next.name(), cause });
                self.tally.fallbacks += 1;
                self.tally.retries = 0;
                groups.push(next);
            }
            // Better the least bad than nobody: a group cools down, and in its place nobody could be asked.
            if cooling && self.asked.made() == 0 {
                let first = Arc::clone(self.course.first());
                self.tally.fallbacks = 0;
                match self.ask_group(&first, false, total).await {
                    Ok(answered) => return self.answer(answered, total),
                    Err(failure) => told = Some(the_one_to_tell(told, failure)),
                }
            }
            self.fail(*told.expect("invariant: who is not answered has failed"))
        }
    }

    /// Asks the deployments of a group, as its policy has it; `others` says whether another group may be asked.
    async fn ask_group(
        &mut self,
        group: &Arc<Group>,
        others: bool,
        total: Option<Fires>,
    ) -> Result<Answered, Box<Failure>> {
        let mut tried = Tried::new();
        let mut told: Option<Box<Failure>> = None;
        let mut next = None;
        loop {
            let chosen = match next.take().map_or_else(|| self.choose(group, &tried), Ok) {
                Ok(chosen) => chosen,
                Err(nobody) => return Err(the_one_to_tell(told, nobody)),
            };
            if chosen.last_resort {
                if others {
                    return Err(told.unwrap_or_else(|| cooling(group)));
                }
                let deployment = group.deployments()[chosen.index].id();
                self.report(&Event::LastResort { group: group.name(), deployment });
            }
            let failure = match self.attempts(group, chosen, &mut tried, total).await {
                Ok(answered) => return Ok(answered),
                Err(failure) => failure,
            };
            let (kind, problem, impatient) = (failure.kind, failure.problem.clone(), failure.impatient);
            let policy = failure.policy(group);
            told = Some(the_one_to_tell(told, failure));
            match kind {
                // Who would not wait is not to have others wait, or fail, in their place.
                Kind::Provider if impatient || self.asked.has_left() => break,
                Kind::Provider => {}
                // The next candidate: nobody was asked anything.
                Kind::Refused | Kind::Cooling => continue,
                Kind::Final => break,
            }
            // Bytes of a form have gone that nobody holds.
            if !self.asked.body.may_repeat() {
                break;
            }
            let worth = self.is_worth_a_retry(&policy, &problem);
            // Another deployment may know the key, have the model, or be paid for.
            let may_move = is_the_deployments(problem.cause) && self.may_retry(&policy);
            if !worth && !may_move {
                break;
            }
            next = self.choose(group, &tried).ok().filter(|chosen| !chosen.last_resort);
            let wait = match next {
                Some(_) => Some(Duration::ZERO),
                None if worth => self.wait(group, &problem, total, others),
                None => None,
            };
            let Some(wait) = wait.filter(|_| group.retry_budget().withdraw(Instant::now())) else { break };
            if next.is_none() {
                sleep(wait).await;
                tried.clear();
            }
            self.tally.retries += 1;
        }
        Err(told.expect("invariant: it ends with a failure"))
    }

    /// Asks a deployment; where policy says so, another one beside it.
    async fn attempts(
        &mut self,
        group: &Arc<Group>,
        chosen: Chosen,
        tried: &mut Tried,
        total: Option<Fires>,
    ) -> Result<Answered, Box<Failure>> {
        match group.hedge_after().filter(|_| !self.asked.is_shadow() && self.asked.body.is_whole()) {
            // In a box: what it takes to follow two is not carried by calls that make one at a time.
            Some(after) => Box::pin(self.hedged(group, chosen, tried, total, after)).await,
            None => {
                let limits = self.timeouts_of(group, chosen.index);
                tried.push(chosen.index);
                attempt(&self.asked, self.inner.clone(), group, chosen, limits, total).await
            }
        }
    }

    /// Asks a deployment, and where its answer is long in coming, another one beside it.
    async fn hedged(
        &mut self,
        group: &Arc<Group>,
        chosen: Chosen,
        tried: &mut Tried,
        total: Option<Fires>,
        after: Duration,
    ) -> Result<Answered, Box<Failure>> {
        let limits = self.timeouts_of(group, chosen.index);
        tried.push(chosen.index);
        let mut first = pin!(attempt(&self.asked, self.inner.clone(), group, chosen, limits, total));
        tokio::select! {
            biased;
            answered = &mut first => return answered,
            () = sleep(after) => {}
        }
        let other = self.choose(group, tried).ok().filter(|chosen| !chosen.last_resort);
        // It is load like a retry is.
        let other = other.filter(|_| self.max_retries != Some(0));
        let Some(other) = other.filter(|_| group.retry_budget().withdraw(Instant::now())) else {
            return first.await;
        };
        let limits = self.timeouts_of(group, other.index);
        tried.push(other.index);
        let mut second = pin!(attempt(&self.asked, self.inner.clone(), group, other, limits, total));
        let both = |one, other| Err(the_one_to_tell(Some(one), other));
        tokio::select! {
            biased;
            answered = &mut first => match answered {
                Ok(answered) => Ok(answered),
                Err(failure) => second.await.or_else(|other| both(failure, other)),
            },
            answered = &mut second => match answered {
                Ok(answered) => Ok(answered),
                Err(failure) => first.await.or_else(|other| both(failure, other)),
            },
        }
    }

    /// A deployment of the group that was not called yet.
    fn choose(&self, group: &Group, tried: &[usize]) -> Result<Chosen, Box<Failure>> {
        if self.asked.has_left() {
            let problem = Problem::new(Cause::Overloaded, "the caller has left");
            return Err(Failure::new(Kind::Refused, problem));
        }
        let ask = Ask::new(Instant::now(), self.draw())
            .tried(tried)
            .tags(&self.tags.own)
            .named(&self.tags.named)
            .input_tokens(self.input_tokens)
            .affinity(self.affinity);
        let problem = match group.pick(&ask) {
            Picked::One { index, permit, last_resort } => return Ok(Chosen { index, permit, last_resort }),
            Picked::TooLongForAll => Problem::new(
                Cause::ContextLength,
                format!(
                    "the prompt of about {} tokens fits the context window of no deployment of this model",
                    self.input_tokens.unwrap_or_default()
                ),
            ),
            Picked::NoTag => Problem::new(
                Cause::PermissionDenied,
                "no deployment of this model is for calls with these tags",
            ),
            Picked::AllBusy => Problem::new(
                Cause::RateLimit,
                "all deployments of this model run as many calls as they may at once",
            ),
            Picked::AllTried => {
                Problem::new(Cause::Overloaded, "no deployment of this model is left to be called")
            }
        };
        Err(Failure::new(Kind::Refused, problem))
    }

    /// Whether the same call may be answered by the same group.
    fn is_worth_a_retry(&self, policy: &RetryPolicy, problem: &Problem) -> bool {
        let done = self.tally.retries;
        let worth = match problem.should_retry {
            // A provider knows its own errors best.
            Some(false) => false,
            // What is spent stays so, whatever else it says.
            Some(true) => done < policy.most() && problem.cause != Cause::Quota,
            None => policy.should_retry(problem.cause, done),
        };
        worth && self.max_retries.is_none_or(|most| done < most)
    }

    /// Whether the policy, and the caller, leave another attempt.
    fn may_retry(&self, policy: &RetryPolicy) -> bool {
        self.tally.retries < self.max_retries.unwrap_or(u32::MAX).min(policy.most())
    }

    /// How long to wait ahead of a retry, if that is worth it.
    fn wait(&self, group: &Group, problem: &Problem, total: Option<Fires>, others: bool) -> Option<Duration> {
        let policy = group.retry();
        let wait = policy.backoff(self.tally.retries, problem.retry_after, self.draw())?;
        let fits = total.is_none_or(|total| Instant::now() + wait < total.at);
        // Where somebody else can be asked, nobody waits for long.
        (fits && !(others && wait > PATIENCE)).then_some(wait)
    }

    fn list_for(&self, cause: Cause) -> List {
        let list = match cause {
            Cause::ContextLength => List::ContextWindow,
            Cause::ContentPolicy => List::ContentPolicy,
            _ => List::General,
        };
        if self.course.fallbacks(list).is_empty() { List::General } else { list }
    }

    /// The next group of a list that was not asked yet.
    fn stands_in(&self, list: List, asked: &[Arc<Group>]) -> Option<Arc<Group>> {
        let is_new = |group: &&Arc<Group>| !asked.iter().any(|known| Arc::ptr_eq(known, group));
        self.course.fallbacks(list).iter().find(is_new).cloned()
    }

    fn total_timeout(&self) -> Option<Duration> {
        let configured = self.course.first().timeouts().or(self.asked.config.routes.timeouts());
        configured.narrowed(self.timeouts).total
    }

    /// How long an attempt may take: as it is configured, and as the caller narrows that.
    fn timeouts_of(&self, group: &Group, index: usize) -> (Timeouts, Timeouts) {
        let own = group.deployments()[index].settings().timeouts;
        let configured = own.or(group.timeouts()).or(self.asked.config.routes.timeouts());
        (configured, configured.narrowed(self.timeouts))
    }

    fn draw(&self) -> u64 {
        (self.asked.config.random)()
    }

    fn report(&self, event: &Event<'_>) {
        (self.asked.config.report)(event);
    }

    fn answer(mut self, answered: Answered, total: Option<Fires>) -> Told {
        let Answered { answer, score, idle } = answered;
        let is_shadow = self.asked.is_shadow();
        if !is_shadow {
            score.group().retry_budget().deposit(Instant::now());
        }
        let served = self.served(score.target().clone(), score.group());
        let mut response = match self.asked.is_followed() {
            true => {
                let (dialect, end) = (self.asked.call.dialect(), self.end.take());
                let goes_on =
                    !is_shadow && score.group().continues_streams() && can_continue(&self.asked.call);
                match goes_on.then(|| Done::of(&score, total)) {
                    Some(done) => {
                        let (head, body) = RoutedBody::new(answer, score, idle, dialect, None);
                        Response::from_parts(head, Body::new(self.continued(body, done, end)))
                    }
                    None => {
                        let (head, body) = RoutedBody::new(answer, score, idle, dialect, end);
                        Response::from_parts(head, Body::new(body))
                    }
                }
            }
            false => {
                match answer.watched.ended() {
                    Some(attempt) => score.ended(&attempt, &answer.watched),
                    None => score.passed(&answer.watched),
                }
                let response = Response::from_parts(answer.head, answer.body);
                ending(response, self.end)
            }
        };
        say(&mut response, served);
        Told { response, problem: None }
    }

    fn fail(mut self, failure: Failure) -> Told {
        let Failure { kind, problem, response, by, .. } = failure;
        let dialect = self.asked.call.dialect();
        let response = response.unwrap_or_else(|| match kind {
            Kind::Provider => problem.clone().into_response(dialect),
            // A timeout is a provider's failure, too; what else is final is a refusal of ours.
            Kind::Final if problem.cause == Cause::Timeout => problem.clone().into_response(dialect),
            _ => Rejection::from(problem.clone()).into_response(dialect),
        });
        let mut response = ending(response, self.end.take());
        if let Some((group, index)) = by {
            // Whatever there is to be known of its attempts is on the meter.
            response.extensions_mut().insert(Metered);
            let served = self.served(group.deployments()[index].target().clone(), &group);
            response.extensions_mut().insert(served);
        }
        Told { response, problem: Some(problem) }
    }

    fn served(&self, target: Target, group: &Group) -> Served {
        let mut served = Served::by(target, self.asked.made());
        served.group = Some(group.shared_name());
        (served.retries, served.fallbacks) = (self.tally.retries, self.tally.fallbacks);
        served
    }
}

/// Asks one deployment, and tells it what came of it where that is a failure.
async fn attempt<S, ResBody>(
    asked: &Asked,
    inner: S,
    group: &Arc<Group>,
    chosen: Chosen,
    (configured, limits): (Timeouts, Timeouts),
    total: Option<Fires>,
) -> Result<Answered, Box<Failure>>
where
    S: Service<Request<Body>, Response = Response<ResBody>>,
    S::Error: Into<BoxError>,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    let mut score = Score::new(chosen.permit, Arc::clone(group), chosen.index, configured, asked);
    match asked.attempt(inner, score.target(), limits, total).await {
        Ok(answer) => {
            score.answered();
            Ok(Answered { answer, score, idle: limits.idle })
        }
        Err(mut failure) => {
            if matches!(failure.kind, Kind::Provider | Kind::Final) {
                failure.by = Some((Arc::clone(group), score.index()));
            }
            match failure.fired {
                Some(fires) => {
                    failure.impatient = fires.is_callers(&configured);
                    score.late(&fires);
                }
                None if failure.kind == Kind::Provider => {
                    score.failed(failure.problem.cause, failure.problem.retry_after);
                }
                None => {}
            }
            Err(failure)
        }
    }
}

/// Says who answered, in the place of what a layer inside has said of it.
fn say(response: &mut Response<Body>, served: Served) {
    match response.extensions_mut().get_mut::<Served>() {
        Some(said) => *said = served,
        None => drop(response.extensions_mut().insert(served)),
    }
}

fn ending(response: Response<Body>, end: Option<CallEnd>) -> Response<Body> {
    match end {
        Some(end) => response.map(|body| body.guarded(end)),
        None => response,
    }
}

/// Of two failures the one that the caller is told: the last of a provider's, and only where there is none, a refusal of ours.
fn the_one_to_tell(known: Option<Box<Failure>>, new: Box<Failure>) -> Box<Failure> {
    let Some(known) = known else { return new };
    let rank = |failure: &Failure| match failure.kind {
        Kind::Cooling => 0,
        Kind::Refused => 1,
        Kind::Provider => 2,
        Kind::Final => 3,
    };
    match rank(&known).cmp(&rank(&new)) {
        std::cmp::Ordering::Greater => known,
        std::cmp::Ordering::Less => new,
        // Of refusals, the one that ends first.
        std::cmp::Ordering::Equal if new.kind == Kind::Refused => {
            let ends = |failure: &Failure| failure.problem.retry_after.unwrap_or(Duration::MAX);
            if ends(&new) < ends(&known) { new } else { known }
        }
        std::cmp::Ordering::Equal => new,
    }
}

fn cooling(group: &Group) -> Box<Failure> {
    let message = format!("all deployments of {:?} cool down after failures", group.name());
    Failure::new(Kind::Cooling, Problem::new(Cause::Overloaded, message))
}

/// Whether a cause lies with one deployment: its key, its account, its list of models.
const fn is_the_deployments(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::Quota | Cause::InvalidKey | Cause::PermissionDenied | Cause::ModelNotFound | Cause::NotFound
    )
}

// ===== impl Failure =====

impl Failure {
    /// Whether another group may answer.
    fn falls_back(&self) -> bool {
        match self.kind {
            Kind::Final => false,
            Kind::Refused | Kind::Cooling => true,
            // What is wrong with the request is wrong everywhere.
            Kind::Provider => !self.problem.cause.is_the_callers(),
        }
    }
}

/// Longest wait for a group where another one can be asked.
const PATIENCE: Duration = Duration::from_secs(1);
