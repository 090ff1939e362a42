//! The look for a question that means the same, on the path of a call.

use std::{
    future::Future,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use http::{HeaderValue, Request, Response};
use ziggurat_core::{Body, CacheStatus, Call};

use super::{Embedding, Near, Outcome, Semantic, Similar, Vector};
use crate::{Entry, Key, Lookup, key::Realm, layer::Config, service::Asking};

// ===== impl Config =====

impl Config {
    /// The answer to a question that means the same, if there is one for this caller. Its own question is embedded for that, once, and kept
    /// with the answer that it gets where it finds none.
    pub(crate) fn find_similar<'a>(
        &'a self,
        asking: &'a Asking,
        request: &Request<Body>,
    ) -> impl Future<Output = Option<Response<Body>>> + Send + use<'a> {
        let begun = self.begin_look(asking, request);
        async move {
            let (semantic, partition, embedding) = begun?;
            let look = self.look(semantic, asking, partition, embedding);
            let Ok(found) = tokio::time::timeout(semantic.patience, look).await else {
                semantic.count(Outcome::Late);
                return None;
            };
            let (similar, entry, age) = found?;
            let mut response = self.give(asking, &entry, CacheStatus::Hit, age)?;
            let said = HeaderValue::from_static("ziggurat; hit; detail=similar");
            response.headers_mut().insert("cache-status", said);
            if let Some(lookup) = response.extensions_mut().get_mut::<Lookup>() {
                (lookup.key, lookup.score) = (similar.key, Some(similar.score));
            }
            semantic.count(Outcome::Hit);
            Some(response)
        }
    }

    /// Begins to embed the question of a call, where it has one that may be answered by another's answer: once, whatever comes of it.
    fn begin_look(&self, asking: &Asking, request: &Request<Body>) -> Option<(&Semantic, Key, Embedding)> {
        let semantic = self.semantic.as_ref()?;
        let controls = &asking.controls;
        let goes_past = controls.no_cache && controls.no_store;
        // Who can share a call has an answer without any other.
        if goes_past || self.flights.has(&asking.key) || asking.was_looked_for.swap(true, Ordering::Relaxed) {
            return None;
        }
        let call = Call::of(request)?;
        let question = semantic.question(call)?;
        let realm = Realm {
            tenant: &asking.tenant,
            namespace: controls.namespace.as_deref().unwrap_or(&self.namespace),
            salt: &self.salt,
        };
        let head = (request.headers(), request.uri());
        let common = semantic.common(&question);
        let partition = Key::of_partition(realm, call, head, &self.vary, (&question.rest, &common))?;
        Some((semantic, partition, semantic.embed(&question.text, request.extensions())))
    }

    async fn look(
        &self,
        semantic: &Semantic,
        asking: &Asking,
        partition: Key,
        embedding: Embedding,
    ) -> Option<(Similar, Arc<Entry>, Duration)> {
        let Some(vector) = embedding.await.ok().and_then(|numbers| Vector::new(numbers).ok()) else {
            semantic.count(Outcome::Failed);
            return None;
        };
        let near = asking.near.get_or_init(|| Near { partition, vector });
        if asking.controls.no_cache {
            return None;
        }
        let now = self.clock.now();
        let search = semantic.index.search(&partition, &near.vector, semantic.threshold, now);
        let similar = search.wait().await?;
        let entry = self.store.get(&similar.key).wait().await;
        let Some(entry) = entry.filter(|entry| entry.is_fresh(now)) else {
            // Whether it was there matters to nobody.
            semantic.index.remove(&partition, &similar.key).wait().await;
            return None;
        };
        let age = entry.age(now);
        let is_too_old = asking.controls.max_age.is_some_and(|most| age > most);
        // The question may have been answered anew since, by a call of a tool.
        let good = asking.asked.judge(entry.form, &entry.body)?;
        (!is_too_old && !good.calls).then_some((similar, entry, age))
    }
}
