//! Recorded provider exchanges, read from the JSON files they are kept in.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::{env, fmt, fs, io};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;

/// One exchange with a provider: what was asked, if that is known, and what came back.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "RecordingFile")]
pub struct Recording {
    /// The name it is asked for by, for example `anthropic-messages-01bf236326-02`.
    pub id: String,
    /// Who answered: `openai`, `anthropic`, `bedrock`, ...
    pub provider: String,
    /// Which of the provider's APIs: `chat.completions`, `messages`, `converse-stream`, ...
    pub endpoint: String,
    /// The model that was asked for, where the exchange names one.
    pub model: Option<String>,
    /// The framing of the response's body: `json`, `json-array`, `sse`, `ndjson` or `aws-eventstream`.
    pub format: String,
    /// How near the body is to what was on the wire; only `exact` is good for byte equality.
    pub fidelity: String,
    /// What the exchange shows: `tools`, `error_400`, `finish:stop`, ...
    pub tags: Vec<String>,
    /// The request, its URI a path with its query. A body that was not recorded is empty. Bodies are the
    /// recorded JSON value in the layout of the file, which is not always the layout on the wire.
    pub request: Option<Request<Bytes>>,
    /// The response, its body decoded to the bytes that the provider sent.
    pub response: Response<Bytes>,
}

/// A set of recordings, in the order of their ids; of two with the same id the later one stays.
#[derive(Debug, Clone, Default)]
pub struct Recordings {
    by_id: BTreeMap<String, Arc<Recording>>,
}

/// A file or folder of recordings could not be read.
#[derive(Debug)]
#[non_exhaustive]
pub struct Unreadable {
    /// The file or folder.
    pub path: PathBuf,
    /// What was wrong with it.
    pub source: Box<dyn Error + Send + Sync>,
}

/// The shape of a recording's file. Only `id` and the response's status are mandatory, so that exchanges made
/// by hand stay short.
#[derive(Deserialize)]
struct RecordingFile {
    id: String,
    #[serde(default)]
    provider: String,
    #[serde(default)]
    endpoint: String,
    model: Option<String>,
    format: Option<String>,
    fidelity: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
    request: Option<RequestFile>,
    response: ResponseFile,
}

#[derive(Deserialize)]
struct RequestFile {
    method: String,
    path: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct ResponseFile {
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: String,
    #[serde(default)]
    body_base64: bool,
}

// ===== impl Recording =====

impl Recording {
    /// Makes an exchange by hand. It is found by its id, and by endpoint and model after [`Recording::answering`].
    ///
    /// # Panics
    /// When the status or a header is not a valid one.
    pub fn synthetic<'a>(
        id: impl Into<String>,
        status: u16,
        headers: impl IntoIterator<Item = (&'a str, &'a str)>,
        body: impl Into<Bytes>,
    ) -> Self {
        let headers = header_map(headers).expect("the headers of a synthetic recording are valid");
        let mut response = Response::new(body.into());
        *response.status_mut() =
            StatusCode::from_u16(status).expect("the status of a synthetic recording is valid");
        *response.headers_mut() = headers;
        Self {
            id: id.into(),
            provider: String::new(),
            endpoint: String::new(),
            model: None,
            format: format_of(response.headers()).to_owned(),
            fidelity: "synthetic".to_owned(),
            tags: Vec::new(),
            request: None,
            response,
        }
    }

    /// States which endpoint and model the exchange stands for.
    #[must_use]
    pub fn answering(mut self, endpoint: impl Into<String>, model: impl Into<String>) -> Self {
        self.endpoint = endpoint.into();
        self.model = Some(model.into());
        self
    }

    /// Whether the exchange carries this tag.
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags.iter().any(|own| own == tag)
    }
}

impl TryFrom<RecordingFile> for Recording {
    type Error = Box<dyn Error + Send + Sync>;

    fn try_from(file: RecordingFile) -> Result<Self, Self::Error> {
        let response = Response::<Bytes>::try_from(file.response)?;
        Ok(Self {
            id: file.id,
            provider: file.provider,
            endpoint: file.endpoint,
            model: file.model,
            format: file.format.unwrap_or_else(|| format_of(response.headers()).to_owned()),
            fidelity: file.fidelity.unwrap_or_else(|| "synthetic".to_owned()),
            tags: file.tags,
            request: file.request.map(Request::<Bytes>::try_from).transpose()?,
            response,
        })
    }
}

impl TryFrom<RequestFile> for Request<Bytes> {
    type Error = Box<dyn Error + Send + Sync>;

    fn try_from(file: RequestFile) -> Result<Self, Self::Error> {
        let body =
            file.body.map_or_else(Bytes::new, |json| Bytes::from(String::from(Box::<str>::from(json))));
        // A recorder that blanked out the base URL may have left a path without its first slash.
        let path = if file.path.starts_with('/') { file.path } else { format!("/{}", file.path) };
        let mut request = Request::builder().method(file.method.as_str()).uri(path).body(body)?;
        *request.headers_mut() =
            header_map(file.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())))?;
        Ok(request)
    }
}

impl TryFrom<ResponseFile> for Response<Bytes> {
    type Error = Box<dyn Error + Send + Sync>;

    fn try_from(file: ResponseFile) -> Result<Self, Self::Error> {
        let body = if file.body_base64 { STANDARD.decode(file.body)? } else { file.body.into_bytes() };
        let mut response = Response::builder().status(file.status).body(Bytes::from(body))?;
        *response.headers_mut() =
            header_map(file.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())))?;
        Ok(response)
    }
}

// ===== impl Recordings =====

impl Recordings {
    /// Loads every `.json` file of a folder, one recording each.
    ///
    /// # Errors
    /// When the folder or one of its files cannot be read, or a file has another shape.
    pub fn load(dir: impl AsRef<Path>) -> Result<Self, Unreadable> {
        let dir = dir.as_ref();
        let entries = fs::read_dir(dir).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let files =
            entries.map_err(|error| Unreadable::new(dir, error))?.into_iter().map(|entry| entry.path());
        files
            .filter(|file| file.extension().is_some_and(|ext| ext == "json"))
            .map(|file| read::<Recording>(&file))
            .collect()
    }

    /// Loads one file that holds an array of recordings.
    ///
    /// # Errors
    /// When the file cannot be read or has another shape.
    pub fn load_array(file: impl AsRef<Path>) -> Result<Self, Unreadable> {
        Ok(read::<Vec<Recording>>(file.as_ref())?.into_iter().collect())
    }

    /// The recordings beside the workspace (see [`shared_dir`] for where), read once a process.
    ///
    /// # Panics
    /// When a recording cannot be read, and when there are none and the environment has `CI=true`.
    pub fn shared() -> Option<Self> {
        static SHARED: OnceLock<Recordings> = OnceLock::new();
        let dir = shared_dir()?.join("recordings");
        let load = || Self::load(dir).unwrap_or_else(|error| panic!("{error}: {}", error.source));
        Some(SHARED.get_or_init(load).clone())
    }

    /// The recording of this id.
    pub fn get(&self, id: &str) -> Option<&Arc<Recording>> {
        self.by_id.get(id)
    }

    /// All recordings, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Recording>> {
        self.by_id.values()
    }

    /// The recordings of a provider, of an endpoint, or of both; `None` lets any pass.
    pub fn filter<'a>(
        &'a self,
        provider: impl Into<Option<&'a str>>,
        endpoint: impl Into<Option<&'a str>>,
    ) -> impl Iterator<Item = &'a Arc<Recording>> {
        let (provider, endpoint) = (provider.into(), endpoint.into());
        self.iter().filter(move |recording| {
            provider.is_none_or(|name| recording.provider == name)
                && endpoint.is_none_or(|name| recording.endpoint == name)
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}

impl<R: Into<Arc<Recording>>> Extend<R> for Recordings {
    fn extend<I: IntoIterator<Item = R>>(&mut self, recordings: I) {
        let recordings = recordings.into_iter().map(Into::into);
        self.by_id.extend(recordings.map(|recording| (recording.id.clone(), recording)));
    }
}

impl<R: Into<Arc<Recording>>> FromIterator<R> for Recordings {
    fn from_iter<I: IntoIterator<Item = R>>(recordings: I) -> Self {
        let mut all = Self::default();
        all.extend(recordings);
        all
    }
}

impl IntoIterator for Recordings {
    type Item = Arc<Recording>;
    type IntoIter = std::collections::btree_map::IntoValues<String, Arc<Recording>>;

    fn into_iter(self) -> Self::IntoIter {
        self.by_id.into_values()
    }
}

// ===== impl Unreadable =====

impl Unreadable {
    fn new(path: &Path, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { path: path.to_owned(), source: source.into() }
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot read recordings from {}", self.path.display())
    }
}

impl Error for Unreadable {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}

/// The folder with test data that does not live in the repository, its `recordings/` among it: the one that the
/// environment's `ZIGGURAT_SHARED` names (if relative, from the workspace's root), else `../shared` beside the
/// workspace. Where there is none, prints a line that begins with `skipped:`.
///
/// # Panics
/// When there is none and the environment has `CI=true`: there the tests that need it are mandatory.
pub fn shared_dir() -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let named = env::var_os("ZIGGURAT_SHARED").unwrap_or_else(|| "../shared".into());
    locate(workspace.join(named), env::var_os("CI").is_some_and(|ci| ci == "true"))
}

fn locate(dir: PathBuf, mandatory: bool) -> Option<PathBuf> {
    if dir.join("recordings").is_dir() {
        return Some(dir);
    }
    let missing = format!("no recordings/ in {}; ZIGGURAT_SHARED names another folder", dir.display());
    assert!(!mandatory, "tests over recordings are mandatory in CI: {missing}");
    // In one piece, so that tests that print at once do not mix their lines.
    let skipped = format!("skipped: {missing}\n");
    eprint!("{skipped}");
    None
}

fn read<T: for<'de> Deserialize<'de>>(file: &Path) -> Result<T, Unreadable> {
    let text = fs::read(file).map_err(|error| Unreadable::new(file, error))?;
    serde_json::from_slice(&text).map_err(|error| Unreadable::new(file, error))
}

fn header_map<'a>(headers: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<HeaderMap, http::Error> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
    }
    Ok(map)
}

fn format_of(headers: &HeaderMap) -> &'static str {
    let content_type = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    match content_type.split(|byte| *byte == b';').next().unwrap_or_default() {
        b"text/event-stream" => "sse",
        b"application/x-ndjson" => "ndjson",
        b"application/vnd.amazon.eventstream" => "aws-eventstream",
        _ => "json",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_shared_folder_only_where_it_holds_recordings() {
        let dir = env::temp_dir().join(format!("ziggurat-testkit-{}", std::process::id()));
        fs::create_dir_all(dir.join("recordings")).unwrap();
        assert_eq!(locate(dir.clone(), true), Some(dir.clone()));
        assert_eq!(locate(dir.join("recordings"), false), None);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    #[should_panic(expected = "tests over recordings are mandatory in CI: no recordings/ in nowhere")]
    fn panics_in_ci_where_the_shared_folder_is_missing() {
        locate(PathBuf::from("nowhere"), true);
    }
}
