//! Media at URLs, for providers that take only its bytes.

use std::{borrow::Cow, future::Future, pin::Pin};

use bytes::Bytes;
use ziggurat_core::{Cause, Problem, Rejection};
use ziggurat_dialect::{Request, remote_media};

/// Fetches what callers name by its URL.
///
/// The URLs are the callers' own, at most 10 and none of them twice: whoever fetches is to guard against those that lead
/// into its own network, and to bound size and time.
pub trait FetchMedia: Send + Sync {
    /// Fetches what stands at these URLs: one for each, in their order.
    fn fetch(&self, urls: Vec<String>) -> Fetching;
}

/// What fetches.
pub type Fetching = Pin<Box<dyn Future<Output = Result<Vec<Fetched>, NotFetched>> + Send>>;

/// What stands at a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Its media type, as `image/png`.
    pub media_type: String,
    /// The bytes.
    pub bytes: Bytes,
}

/// Something was not fetched, and so nothing is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotFetched {
    /// Which of the URLs it was.
    pub index: usize,
    /// Why, in words for the caller.
    pub reason: Cow<'static, str>,
}

/// Puts the bytes of all media at URLs into a request.
pub(crate) async fn bring_in(request: &mut Request<'_>, fetch: &dyn FetchMedia) -> Result<(), Rejection> {
    let media = remote_media(request);
    let mut urls = Vec::new();
    let mut wanted = Vec::with_capacity(media.len());
    for media in media {
        let url = media.url();
        let index = urls.iter().position(|known| *known == url).unwrap_or_else(|| {
            urls.push(url);
            urls.len() - 1
        });
        if index == MOST {
            let message = format!("no more than {MOST} images and files are fetched from URLs for one call");
            return Err(refused(message, &media.place, media.is_image));
        }
        wanted.push((index, media));
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let fetched = match fetch.fetch(urls).await {
        Ok(fetched) => fetched,
        Err(NotFetched { index, reason }) => {
            let first = wanted.iter().find(|(wanted, _)| *wanted == index);
            let (place, is_image) = first.map_or(("", false), |(_, media)| (&*media.place, media.is_image));
            return Err(refused(format!("this URL cannot be used: {reason}"), place, is_image));
        }
    };
    for (index, media) in wanted {
        // Whoever fetches may give less than it was asked for: the encoder then refuses the URL.
        let Some(Fetched { media_type, bytes }) = fetched.get(index) else { continue };
        if media.is_image && !media_type.starts_with("image/") {
            return Err(refused("this URL cannot be used: no image stands there", &media.place, true));
        }
        media.bring_in(media_type, bytes);
    }
    Ok(())
}

/// OpenAI has a code for images alone.
fn refused(message: impl Into<String>, place: &str, is_image: bool) -> Rejection {
    let problem = Problem::new(Cause::InvalidRequest, message).param(place.to_owned());
    if is_image { problem.code("invalid_image_url").into() } else { problem.into() }
}

/// How many different URLs are fetched for one call.
const MOST: usize = 10;
