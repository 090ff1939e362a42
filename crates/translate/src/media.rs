//! Media at URLs, for providers that take only its bytes.

use std::{borrow::Cow, future::Future, pin::Pin};

use bytes::Bytes;
use http::Extensions;
use ziggurat_core::{Cause, Problem, Rejection};
use ziggurat_dialect::{Request, remote_media};

/// Fetches what callers name by its URL.
///
/// The URLs are the callers' own, at most 10 and none of them twice: whoever fetches is to guard against those that lead
/// into its own network, and to bound time, and size: what stands at a URL is written as often as the call names that.
pub trait FetchMedia: Send + Sync {
    /// Fetches what stands at these URLs: one for each, in their order. The extensions are the call's, and say whose it is.
    fn fetch(&self, wanted: Vec<Wanted>, call: &Extensions) -> Fetching;
}

/// A URL that a call names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The URL.
    pub url: String,
    /// How often it is named: so many copies of what stands there go out.
    pub times: usize,
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
pub enum NotFetched {
    /// One of the URLs is to blame.
    Useless {
        /// Which one.
        index: usize,
        /// Why, in words for the caller.
        reason: Cow<'static, str>,
    },
    /// None of them is: the call is answered with this.
    Refused(Rejection),
}

/// Puts the bytes of all media at URLs into a request.
pub(crate) async fn bring_in(
    request: &mut Request<'_>,
    fetch: &dyn FetchMedia,
    call: &Extensions,
) -> Result<(), Rejection> {
    let found = remote_media(request);
    let mut wanted: Vec<Wanted> = Vec::new();
    let mut places = Vec::with_capacity(found.len());
    for media in found {
        let url = media.url();
        let index = wanted.iter().position(|known| known.url == url).unwrap_or_else(|| {
            wanted.push(Wanted { url, times: 0 });
            wanted.len() - 1
        });
        if index == MOST {
            let message = format!("no more than {MOST} images and files are fetched from URLs for one call");
            return Err(refused(message, &media.place, media.is_image));
        }
        wanted[index].times += 1;
        places.push((index, media));
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let fetched = match fetch.fetch(wanted, call).await {
        Ok(fetched) => fetched,
        Err(NotFetched::Refused(rejection)) => return Err(rejection),
        Err(NotFetched::Useless { index, reason }) => {
            let first = places.iter().find(|(place, _)| *place == index);
            let (place, is_image) = first.map_or(("", false), |(_, media)| (&*media.place, media.is_image));
            return Err(refused(format!("this URL cannot be used: {reason}"), place, is_image));
        }
    };
    for (index, media) in places {
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
