//! All groups, and which stand in for which.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
    time::SystemTime,
};

use tokio::time::Instant;
use ziggurat_core::{Clock, Plan, Principal, Target};

use crate::{Deployment, Group, TagRules, Timeouts};

/// The groups of deployments by the names that callers know them by, and the fallbacks between them. Cheap to clone; made by
/// [`Routes::builder`].
#[derive(Clone, Default)]
pub struct Routes(Arc<Table>);

/// Makes [`Routes`].
#[derive(Default)]
#[must_use]
pub struct RoutesBuilder {
    groups: Vec<Arc<Group>>,
    others: Vec<Deployment>,
    aliases: Vec<(String, String)>,
    lists: HashMap<List, Vec<(String, Vec<String>)>>,
    default: HashMap<List, Vec<String>>,
    most: Option<usize>,
    timeouts: Timeouts,
    otherwise: Option<Arc<Otherwise>>,
}

/// Finds the group of a name that stands for many, such as `openai/*`.
type Otherwise = dyn Fn(&str) -> Option<Arc<Group>> + Send + Sync;

/// For what a group falls back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum List {
    /// Whatever failed.
    General,
    /// The prompt is too long for the model's context window.
    ContextWindow,
    /// The provider's content policy forbids the prompt.
    ContentPolicy,
}

/// Why there are no routes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidRoutes {
    /// Two groups of one name, or an alias that is a group's name.
    Twice(String),
    /// A fallback, or an alias, of or to a name that nothing answers to.
    Unknown {
        /// The group or alias that names it.
        of: String,
        /// What is not known.
        name: String,
    },
    /// Groups that fall back to each other, the first of them again at the end.
    Cycle(Vec<String>),
}

/// Request extension: where a call may go, by what goes wrong. Written beside the [`Plan`] by whoever resolves the model's name
/// ([`PlanLayer`](crate::PlanLayer)), the caller's rights already checked.
#[derive(Clone)]
pub struct Course(Arc<Legs>);

struct Legs {
    first: Arc<Group>,
    general: Box<[Arc<Group>]>,
    context_window: Box<[Arc<Group>]>,
    content_policy: Box<[Arc<Group>]>,
    plan: Plan,
    reads_tags: bool,
    counts_input: bool,
}

/// Groups by [`List`], in the order of [`LISTS`].
type Lists = [Vec<Arc<Group>>; 3];

#[derive(Default)]
struct Table {
    courses: HashMap<Arc<str>, Course>,
    groups: Vec<Arc<Group>>,
    /// Deployments of groups that are made when they are asked for.
    others: Vec<Deployment>,
    /// What the names fall back to that only a wildcard finds, and wildcards.
    listed: HashMap<String, Lists>,
    /// What a group falls back to that has no list of its own.
    default: Lists,
    /// The names of those whose calls go nowhere else, whatever a caller asks for.
    stay: HashSet<String>,
    most: usize,
    timeouts: Timeouts,
    otherwise: Option<Arc<Otherwise>>,
}

// ===== impl Routes =====

impl Routes {
    /// Begins with no group.
    pub fn builder() -> RoutesBuilder {
        RoutesBuilder::default()
    }

    /// Where a call for `model` may go, if anything answers to that name; fallbacks that `principal` may not use are left out.
    #[must_use]
    pub fn course(&self, model: &str, principal: Option<&Principal>) -> Option<Course> {
        let course = match self.0.courses.get(model) {
            Some(course) => course.clone(),
            None => self.found(model)?,
        };
        Some(match principal {
            Some(principal) => course.for_those_who(|name| principal.may_use(name)),
            None => course,
        })
    }

    /// As [`Routes::course`], with other fallbacks than those configured, as a caller names them: of those that are known, and that
    /// `principal` may use, so many as may be configured. None where the calls of `model` stay ([`Routes::stays`]).
    #[must_use]
    pub fn course_with(
        &self,
        model: &str,
        fallbacks: &[String],
        principal: Option<&Principal>,
    ) -> Option<Course> {
        let course = self.course(model, principal)?;
        let named = if self.stays(model) { &[][..] } else { fallbacks };
        let known = named.iter().take(self.0.most).filter_map(|name| self.group(name));
        let list: Vec<_> = known.filter(|group| !Arc::ptr_eq(group, &course.0.first)).collect();
        let named = Course::new(Arc::clone(&course.0.first), [list, Vec::new(), Vec::new()]);
        Some(match principal {
            Some(principal) => named.for_those_who(|name| principal.may_use(name)),
            None => named,
        })
    }

    /// How many groups a call falls back to at most.
    #[must_use]
    pub fn max_fallbacks(&self) -> usize {
        self.0.most
    }

    /// Whether calls of `model` go nowhere else: its general list is there, and empty.
    #[must_use]
    pub fn stays(&self, model: &str) -> bool {
        let of = |name: &str| self.0.stay.contains(name);
        match self.0.courses.get(model) {
            Some(course) => of(course.first().name()),
            None => {
                let group = self.0.otherwise.as_ref().and_then(|otherwise| otherwise(model));
                of(model) || group.is_some_and(|group| group.family().is_some_and(of))
            }
        }
    }

    /// Leaves the deployments of this id alone until then, by this clock: what another node found out. Says whether there are any.
    pub fn cool(&self, deployment: &str, until: SystemTime, clock: &Clock) -> bool {
        let time = until.duration_since(clock.now()).unwrap_or_default();
        let now = Instant::now();
        let mut known = false;
        let listed = self.0.groups.iter().flat_map(|group| group.deployments());
        for own in listed.chain(&self.0.others) {
            if own.id() == deployment {
                own.cool_until(now + time, now);
                known = true;
            }
        }
        known
    }

    /// All groups that were given, those of wildcards apart.
    #[must_use]
    pub fn groups(&self) -> &[Arc<Group>] {
        &self.0.groups
    }

    /// The timeouts of all groups that have none of their own.
    #[must_use]
    pub fn timeouts(&self) -> Timeouts {
        self.0.timeouts
    }

    /// The course of a model that only a wildcard finds.
    fn found(&self, model: &str) -> Option<Course> {
        let first = (self.0.otherwise.as_ref()?)(model)?;
        let family = first.family().unwrap_or(model);
        let listed = self.0.listed.get(model).or_else(|| self.0.listed.get(family));
        let lists = listed.unwrap_or(&self.0.default).clone();
        Some(Course::new(first, lists))
    }

    fn group(&self, name: &str) -> Option<Arc<Group>> {
        match self.0.courses.get(name) {
            Some(course) => Some(Arc::clone(&course.0.first)),
            None => self.0.otherwise.as_ref().and_then(|otherwise| otherwise(name)),
        }
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.groups.iter().map(|group| group.name())).finish()
    }
}

// ===== impl RoutesBuilder =====

impl RoutesBuilder {
    /// Adds a group.
    pub fn group(mut self, group: Arc<Group>) -> Self {
        self.groups.push(group);
        self
    }

    /// Lets a group be called by another name, too.
    pub fn alias(mut self, alias: impl Into<String>, group: impl Into<String>) -> Self {
        self.aliases.push((alias.into(), group.into()));
        self
    }

    /// Falls back from a group to others, in this order, and from there to what they fall back to. Of several lists for one group the
    /// first counts. A group whose general list is empty falls back to nothing that is not in a list of its own: to no default, and to none
    /// that a caller names.
    pub fn fall_back<N: Into<String>>(
        mut self,
        list: List,
        from: impl Into<String>,
        to: impl IntoIterator<Item = N>,
    ) -> Self {
        let to = to.into_iter().map(Into::into).collect();
        self.lists.entry(list).or_default().push((from.into(), to));
        self
    }

    /// Falls back to these where a group has no [`List::General`] of its own.
    pub fn default_fallbacks<N: Into<String>>(self, to: impl IntoIterator<Item = N>) -> Self {
        self.default_fallbacks_for(List::General, to)
    }

    /// Falls back to these where a group has no such list of its own.
    pub fn default_fallbacks_for<N: Into<String>>(
        mut self,
        list: List,
        to: impl IntoIterator<Item = N>,
    ) -> Self {
        self.default.insert(list, to.into_iter().map(Into::into).collect());
        self
    }

    /// Bounds the groups that a call falls back to: 5 unless this says otherwise.
    pub fn max_fallbacks(mut self, most: usize) -> Self {
        self.most = Some(most);
        self
    }

    /// Sets the timeouts of groups that have none of their own.
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Makes known a deployment whose state groups share that are found otherwise ([`Deployment::sharing`]).
    pub fn deployment(mut self, deployment: Deployment) -> Self {
        self.others.push(deployment);
        self
    }

    /// Finds the groups of names that are not listed.
    pub fn otherwise(mut self, find: impl Fn(&str) -> Option<Arc<Group>> + Send + Sync + 'static) -> Self {
        self.otherwise = Some(Arc::new(find));
        self
    }

    /// Makes the routes.
    ///
    /// # Errors
    /// [`InvalidRoutes`] when a name stands twice, or for nothing, or when fallbacks go in a circle.
    pub fn build(mut self) -> Result<Routes, InvalidRoutes> {
        let mut by_name: HashMap<String, Arc<Group>> = HashMap::new();
        let listed = self.groups.iter().map(|group| (group.name().to_owned(), Arc::clone(group)));
        for (name, group) in listed {
            if by_name.insert(name.clone(), group).is_some() {
                return Err(InvalidRoutes::Twice(name));
            }
        }
        for (alias, name) in &self.aliases {
            let group = self.find(&by_name, alias, name)?;
            if by_name.insert(alias.clone(), group).is_some() {
                return Err(InvalidRoutes::Twice(alias.clone()));
            }
        }
        // What falls back by an alias is the group that it stands for.
        for (from, _) in self.lists.values_mut().flatten() {
            if let Some(group) = by_name.get(from) {
                group.name().clone_into(from);
            }
        }
        let most = self.most.unwrap_or(MOST_FALLBACKS);
        let mut default = Lists::default();
        for (list, found) in LISTS.iter().zip(&mut default) {
            for name in self.default.get(list).into_iter().flatten() {
                found.push(self.find(&by_name, "*", name)?);
            }
        }
        let mut courses = HashMap::with_capacity(by_name.len());
        for (name, group) in &by_name {
            let lists = self.follow_all(&by_name, group.name(), &default, most)?;
            courses.insert(Arc::from(&**name), Course::new(Arc::clone(group), lists));
        }
        let mut listed = HashMap::new();
        for (from, _) in self.lists.values().flatten().filter(|(from, _)| !by_name.contains_key(from)) {
            if self.otherwise.is_none() {
                return Err(InvalidRoutes::Unknown { of: "fallbacks".to_owned(), name: from.clone() });
            }
            listed.insert(from.clone(), self.follow_all(&by_name, from, &default, most)?);
        }
        for found in &mut default {
            found.truncate(most);
        }
        let general = self.lists.get(&List::General).into_iter().flatten();
        let stay = general.map(|(from, _)| from).filter(|from| self.stays(from)).cloned().collect();
        let Self { groups, others, timeouts, otherwise, .. } = self;
        Ok(Routes(Arc::new(Table {
            courses,
            groups,
            others,
            listed,
            default,
            stay,
            most,
            timeouts,
            otherwise,
        })))
    }

    /// What a name falls back to, by list, `most` each.
    fn follow_all(
        &self,
        by_name: &HashMap<String, Arc<Group>>,
        name: &str,
        default: &Lists,
        most: usize,
    ) -> Result<Lists, InvalidRoutes> {
        let mut all = Lists::default();
        for ((list, default), found) in LISTS.into_iter().zip(default).zip(&mut all) {
            if self.list(list, name).is_some() {
                self.follow(by_name, list, &mut vec![name.to_owned()], found)?;
            } else if !self.stays(name) {
                found.extend(default.iter().filter(|other| other.name() != name).cloned());
            }
            found.truncate(most);
        }
        Ok(all)
    }

    fn stays(&self, name: &str) -> bool {
        self.list(List::General, name).is_some_and(<[String]>::is_empty)
    }

    fn list(&self, list: List, of: &str) -> Option<&[String]> {
        self.lists.get(&list)?.iter().find_map(|(from, to)| (from == of).then_some(&**to))
    }

    /// Appends what the last group of a path falls back to, and what that does.
    fn follow(
        &self,
        by_name: &HashMap<String, Arc<Group>>,
        list: List,
        path: &mut Vec<String>,
        found: &mut Vec<Arc<Group>>,
    ) -> Result<(), InvalidRoutes> {
        let of = path.last().cloned().unwrap_or_default();
        for name in self.list(list, &of).unwrap_or_default() {
            let group = self.find(by_name, &of, name)?;
            let name = group.name().to_owned();
            path.push(name.clone());
            if path[..path.len() - 1].contains(&name) {
                let start = path.iter().position(|step| *step == name).unwrap_or_default();
                return Err(InvalidRoutes::Cycle(path.split_off(start)));
            }
            // What has been found was followed to its end: without this, all paths to it would be.
            if !found.iter().any(|known| known.name() == name) {
                found.push(group);
                self.follow(by_name, list, path, found)?;
            }
            path.pop();
        }
        Ok(())
    }

    fn find(
        &self,
        by_name: &HashMap<String, Arc<Group>>,
        of: &str,
        name: &str,
    ) -> Result<Arc<Group>, InvalidRoutes> {
        let listed = by_name.get(name).cloned();
        let found = listed.or_else(|| self.otherwise.as_ref().and_then(|otherwise| otherwise(name)));
        found.ok_or_else(|| InvalidRoutes::Unknown { of: of.to_owned(), name: name.to_owned() })
    }
}

impl fmt::Debug for RoutesBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.groups.iter().map(|group| group.name()).collect();
        f.debug_struct("RoutesBuilder").field("groups", &names).finish_non_exhaustive()
    }
}

// ===== impl Course =====

impl Course {
    /// A course of groups: the first, and those that stand in for it by list ([`List::General`], [`List::ContextWindow`],
    /// [`List::ContentPolicy`]).
    pub(crate) fn new(first: Arc<Group>, lists: Lists) -> Self {
        let mut seen = HashSet::new();
        let groups = [&first].into_iter().chain(lists.iter().flatten());
        let mut candidates: Vec<Target> = Vec::new();
        let (mut reads_tags, mut counts_input) = (false, false);
        for group in groups.filter(|group| seen.insert(Arc::as_ptr(group))) {
            candidates.extend(group.deployments().iter().map(|deployment| deployment.target().clone()));
            reads_tags |= group.tag_rules() != TagRules::default();
            counts_input |=
                group.deployments().iter().any(|deployment| deployment.max_input_tokens().is_some());
        }
        let plan = Plan::new(candidates).group(first.model());
        let [general, context_window, content_policy] = lists.map(Vec::into_boxed_slice);
        Self(Arc::new(Legs {
            first,
            general,
            context_window,
            content_policy,
            plan,
            reads_tags,
            counts_input,
        }))
    }

    /// The group that is asked first.
    #[must_use]
    pub fn first(&self) -> &Arc<Group> {
        &self.0.first
    }

    /// The groups that stand in, for what they do.
    #[must_use]
    pub fn fallbacks(&self, list: List) -> &[Arc<Group>] {
        match list {
            List::General => &self.0.general,
            List::ContextWindow => &self.0.context_window,
            List::ContentPolicy => &self.0.content_policy,
        }
    }

    /// All deployments that may be called, those of the first group first.
    #[must_use]
    pub fn plan(&self) -> Plan {
        self.0.plan.clone()
    }

    /// Whether the tags of a call decide who is asked.
    pub(crate) fn reads_tags(&self) -> bool {
        self.0.reads_tags
    }

    /// Whether the length of the input decides who is asked.
    pub(crate) fn counts_input(&self) -> bool {
        self.0.counts_input
    }

    /// The same course, without the fallbacks that may not be used.
    fn for_those_who(self, may_use: impl Fn(&str) -> bool) -> Self {
        let lists = [&self.0.general, &self.0.context_window, &self.0.content_policy];
        let may_use = |group: &Arc<Group>| may_use(group.model()) || may_use(group.name());
        if lists.iter().all(|list| list.iter().all(may_use)) {
            return self;
        }
        let allowed = lists.map(|list| list.iter().filter(|group| may_use(group)).cloned().collect());
        Self::new(Arc::clone(&self.0.first), allowed)
    }
}

impl fmt::Debug for Course {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |groups: &[Arc<Group>]| groups.iter().map(|it| it.name().to_owned()).collect::<Vec<_>>();
        f.debug_struct("Course")
            .field("first", &self.0.first.name())
            .field("general", &names(&self.0.general))
            .finish_non_exhaustive()
    }
}

// ===== impl InvalidRoutes =====

impl fmt::Display for InvalidRoutes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Twice(name) => write!(f, "the name {name:?} stands twice"),
            Self::Unknown { of, name } => write!(f, "{of:?} names {name:?}, which nothing answers to"),
            Self::Cycle(path) => write!(f, "fallbacks go in a circle: {}", path.join(" -> ")),
        }
    }
}

impl std::error::Error for InvalidRoutes {}

/// All of them.
const LISTS: [List; 3] = [List::General, List::ContextWindow, List::ContentPolicy];
/// Groups that a call falls back to at most, unless the host says otherwise: as LiteLLM has it.
const MOST_FALLBACKS: usize = 5;
