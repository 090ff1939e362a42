//! What the tests of all crates share: a replay upstream that answers with recorded provider exchanges and misbehaves on request.
//!
//! # Example
//! ```
//! use ziggurat_testkit::{Ending, Recording, Recordings, Replay};
//!
//! # tokio_test::block_on(async {
//! let hello = Recording::synthetic("hello", 200, [("content-type", "application/json")], r#"{"id":"1"}"#);
//! let replay = Replay::start(Recordings::from_iter([hello])).await.unwrap();
//!
//! // A provider whose bodies end after four bytes: `/r/<recording>[,<fault>...]/<whatever the client adds>`.
//! let base_url = replay.url("hello,cut=4");
//! assert_eq!(base_url, format!("http://{}/r/hello,cut=4", replay.addr()));
//!
//! let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
//! let request = http::Request::post(format!("{base_url}/v1/chat/completions")).body(String::new()).unwrap();
//! let response = client.request(request).await.unwrap();
//! let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
//! assert_eq!(body, "{\"id");
//!
//! let log = replay.wait_for(|log| log.in_flight() == 0).await;
//! assert_eq!(log.exchanges()[0].ending, Some(Ending::Faulted));
//! # });
//! ```

pub mod conformance;
mod fault;
#[cfg(target_os = "linux")]
pub mod postgres;
mod recorder;
mod recording;
pub mod redis;
mod replay;
pub mod samples;
mod scripted;
mod vectors;

pub use fault::{Faults, InvalidFault};
pub use recorder::Recorder;
pub use recording::{Recording, Recordings, Unreadable, shared_dir};
pub use replay::{Ending, Exchange, Log, Replay};
pub use scripted::{Scripted, Step, read_body};
pub use vectors::{deviations, vectors};
