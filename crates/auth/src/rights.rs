//! Which models a caller may use, and for whom.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use http::{Extensions, Method, Request, Uri, uri::PathAndQuery};
use tokio::time::Instant;
use ziggurat_core::{
    Body, Budget, Call, Cause, Field, Limit, Operation, Patience, Principal, Problem, Rejection, Reply,
    ScopeKind, percent_encoded,
};

use crate::{Authenticate, CustomerRecord, KeyRecord, service::refusal};

/// Puts the model that an alias stands for into the request; gives the call as it is then, if it is another.
pub(crate) fn alias(
    request: &mut Request<Body>,
    call: &Call,
    aliases: &BTreeMap<String, String>,
) -> Result<Option<Call>, Rejection> {
    let Some(model) = call.model().and_then(|named| aliases.get(named)) else { return Ok(None) };
    let bytes = match in_path(request.uri(), model) {
        Some(uri) => {
            *request.uri_mut() = uri?;
            request.body().held().cloned().unwrap_or_default()
        }
        None => call.edit().set_string(Field::Model, model).finish(),
    };
    Call::replace(request, bytes).map(Some)
}

/// The URI with another model in its path; `None` where the path names none.
fn in_path(uri: &Uri, model: &str) -> Option<Result<Uri, Rejection>> {
    let path = uri.path();
    let (_, _, Some(named)) = Operation::of_path(&Method::POST, path) else { return None };
    let start = named.as_ptr() as usize - path.as_ptr() as usize;
    let mut changed = path[..start].to_owned();
    changed.push_str(&percent_encoded(model));
    changed.push_str(&path[start + named.len()..]);
    if let Some(query) = uri.query() {
        changed.push('?');
        changed.push_str(query);
    }
    let mut parts = uri.clone().into_parts();
    Some(
        PathAndQuery::try_from(changed)
            .ok()
            .and_then(|path| {
                parts.path_and_query = Some(path);
                Uri::from_parts(parts).ok()
            })
            .ok_or_else(|| Rejection::new(Cause::InvalidRequest, "the path cannot name this model")),
    )
}

/// Checks that the caller may use the model of `call`; what is said of it names the model that was `asked` for, and no other.
pub(crate) fn may_use(principal: &Principal, call: &Call, asked: &Call) -> Result<(), Rejection> {
    let allowed = match call.model() {
        Some(model) => principal.may_use(model),
        // The provider's own default, or what stands in a form that is not read here: whatever it may be.
        None => principal.models.as_deref().is_none_or(|models| models.iter().any(|entry| **entry == *"*")),
    };
    if allowed {
        return Ok(());
    }
    let message = match asked.model() {
        Some(model) => {
            let shown: String = model.chars().take(SHOWN_CHARS).collect();
            format!("this key may not use the model '{shown}'")
        }
        None => "this key may use certain models only, and the request names none where it can be checked"
            .to_owned(),
    };
    Err(Problem::new(Cause::PermissionDenied, message).param("model").into())
}

/// Waits for an answer that comes later: that is what stores behind have less for this call, at `most`.
pub(crate) async fn waited<T>(extensions: &mut Extensions, reply: Reply<T>, most: Duration) -> T {
    match reply {
        Reply::Ready(answer) => answer,
        Reply::Later(answer) => {
            let (patience, start) = (Patience::of(extensions), Instant::now());
            let answer = answer.await;
            patience.waited(start.elapsed().min(most));
            answer
        }
    }
}

/// Adds what applies to the end users whom a caller is for, and whom its call names, to what applies to the caller.
pub(crate) async fn with_customers(
    extensions: &mut Extensions,
    principal: &mut Principal,
    caller: &KeyRecord,
    call: &Call,
    auth: &dyn Authenticate,
) -> Result<(), Rejection> {
    let own = caller.end_user.as_deref();
    if let Some(id) = own {
        with_customer(extensions, principal, id, auth).await?;
    }
    match call.end_user().filter(|id| !id.is_empty() && Some(&**id) != own) {
        Some(id) => with_customer(extensions, principal, &id, auth).await,
        None => Ok(()),
    }
}

async fn with_customer(
    extensions: &mut Extensions,
    principal: &mut Principal,
    id: &str,
    auth: &dyn Authenticate,
) -> Result<(), Rejection> {
    if id.len() > MAX_ID_BYTES || id.contains(char::is_control) {
        let message = format!("the end user's id holds control characters or more than {MAX_ID_BYTES} bytes");
        return Err(Problem::new(Cause::InvalidRequest, message).param("user").into());
    }
    let known = waited(extensions, auth.customer(id), Duration::MAX).await.map_err(refusal)?;
    let Some(customer) = known else { return Ok(()) };
    if customer.blocked {
        return Err(Problem::new(Cause::PermissionDenied, "this end user is blocked").param("user").into());
    }
    narrow(principal, &customer);
    Ok(())
}

/// Adds budgets and limits behind those of the key, in front of all others: the most specific come first.
fn narrow(principal: &mut Principal, customer: &CustomerRecord) {
    if !customer.budgets.is_empty() {
        let kind = |budget: &Budget| budget.account.scope.kind;
        principal.budgets = inserted(&principal.budgets, &customer.budgets, kind);
    }
    if !customer.limits.is_empty() {
        let kind = |limit: &Limit| limit.account.scope.kind;
        principal.limits = inserted(&principal.limits, &customer.limits, kind);
    }
}

fn inserted<T: Clone>(own: &[T], added: &[T], kind: impl Fn(&T) -> ScopeKind) -> Arc<[T]> {
    let at = own.iter().position(|one| kind(one) > ScopeKind::EndUser).unwrap_or(own.len());
    own[..at].iter().chain(added).chain(&own[at..]).cloned().collect()
}

/// Characters of a model's name that are told.
const SHOWN_CHARS: usize = 200;

/// Longest id of an end user in bytes.
const MAX_ID_BYTES: usize = 1024;
