//! Which file answers: the only part that touches the file system.

use std::io::IoSliceMut;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use rustix::fs::fstat;
use rustix::io::{Errno, ReadWriteFlags, preadv2};

use crate::coding::Coding;
use crate::config::FilesConfig;
use crate::glob::Glob;
use crate::hot::{Form, HotFile, HotFiles, lines};
use crate::listing::Listing;
use crate::media::{self, Types};
use crate::path::{Name, NoName};
use crate::pieces::{is_in_memory, read_at};
pub use crate::root::Wait;
use crate::root::{Opened, Root};
use crate::stamp::{Stamp, content_tag};

/// Why there is no file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Miss {
    /// It cannot be known without waiting for a disk.
    WouldWait,
    /// There is none of this name, or none that is served.
    NotFound,
    /// The path is no path.
    Malformed,
    /// The server may not read it.
    Forbidden,
    /// Too much is open, or it changes faster than it can be read.
    Busy,
    /// The file system failed.
    Failed,
    /// The settings say this status.
    Status(u16),
}

/// What a path leads to.
#[derive(Debug)]
pub struct Found {
    pub(crate) what: What,
    pub(crate) status: StatusCode,
}

#[derive(Debug)]
pub(crate) enum What {
    Hot(Arc<HotFile>),
    Cold(Box<ColdFile>),
    /// The address has another form.
    Moved(String),
    Listing(Listing),
}

/// A file that is not in memory.
#[derive(Debug)]
pub(crate) struct ColdFile {
    /// The file as it is comes first.
    pub(crate) forms: Vec<ColdForm>,
    pub(crate) headers: HeaderMap,
}

#[derive(Debug)]
pub(crate) struct ColdForm {
    pub(crate) coding: Option<Coding>,
    pub(crate) file: OwnedFd,
    pub(crate) stamp: Stamp,
}

/// A directory, ready to serve. Shared by all threads.
#[derive(Debug)]
pub struct Files {
    root: Root,
    strip: Vec<u8>,
    hidden: bool,
    index: Vec<String>,
    plan: Vec<Try>,
    fallback: Option<String>,
    listing: bool,
    compressed: Vec<Coding>,
    types: Types,
    cache_control: Vec<(Glob, HeaderValue)>,
    errors: Vec<(u16, String)>,
    pub(crate) max_ranges: usize,
    hot: Option<HotFiles>,
    /// The clock's zero.
    began: Instant,
}

/// One of `try_files`.
#[derive(Debug)]
enum Try {
    /// The path between these.
    Path(String, String),
    Fixed(String),
    Status(u16),
}

/// What a name stands for.
enum Entry {
    File(What),
    Directory(OwnedFd),
}

impl Files {
    /// Opens the directory; one that is no absolute path is below `base`. The error is a sentence.
    pub fn new(config: &FilesConfig, base: &Path) -> Result<Self, String> {
        let mut cache_control = Vec::new();
        for (pattern, value) in &config.cache_control {
            let value = HeaderValue::from_str(value)
                .map_err(|_| format!("{value:?} is no value of a field, for {pattern:?}"))?;
            cache_control.push((Glob::new(pattern), value));
        }
        cache_control.sort_by_key(|(glob, _)| std::cmp::Reverse(glob.weight()));
        let mut errors = Vec::new();
        for (status, page) in &config.errors {
            let status = status.parse().ok().filter(|status| (400..600).contains(status));
            let status = status.ok_or("errors are told by their status, from 400 to 599")?;
            errors.push((status, fixed(page)?));
        }
        if config.index.iter().any(|name| name.contains('/')) {
            return Err("an index is the name of a file, without slashes".into());
        }
        Ok(Self {
            root: Root::open(base.join(&config.root), config.symlinks, config.memory.check_ms)?,
            strip: config.strip.trim_matches('/').into(),
            hidden: config.dotfiles,
            index: config.index.iter().map(|name| fixed(name)).collect::<Result<_, _>>()?,
            plan: plan(&config.try_files)?,
            fallback: config.fallback.as_deref().map(fixed).transpose()?,
            listing: config.listing,
            compressed: config.compressed.clone(),
            types: Types::new(&config.types)?,
            cache_control,
            errors,
            max_ranges: config.max_ranges,
            hot: HotFiles::new(&config.memory),
            began: Instant::now(),
        })
    }

    /// Looks for what answers a path, which is percent-encoded and begins with `/`.
    pub fn find(&self, path: &str, wait: Wait) -> Result<Found, Miss> {
        // One is added since 0 is what was never looked at.
        let now = self.began.elapsed().as_millis() as u64 + 1 + (1 << 32);
        let miss = match self.find_plainly(path, wait, now) {
            Ok(what) => return Ok(Found { what, status: StatusCode::OK }),
            Err(miss) => miss,
        };
        let status = miss.status();
        let page = self.errors.iter().find(|(known, _)| Some(*known) == status.map(|status| status.as_u16()));
        let (Some((_, page)), Some(status)) = (page, status) else { return Err(miss) };
        match self.entry(page.as_bytes(), wait, now) {
            Ok(Entry::File(what)) => Ok(Found { what, status }),
            Err(Miss::WouldWait) => Err(Miss::WouldWait),
            _ => Err(miss),
        }
    }

    fn find_plainly(&self, path: &str, wait: Wait, now: u64) -> Result<What, Miss> {
        let name = match Name::parse(path, self.hidden) {
            Ok(name) => name,
            Err(NoName::Nothing) => return Err(Miss::NotFound),
            Err(NoName::Malformed) => return Err(Miss::Malformed),
            Err(NoName::Roundabout(plainer)) => return Ok(What::Moved(plainer)),
        };
        let name = name.strip(&self.strip).ok_or(Miss::NotFound)?;
        for attempt in &self.plan {
            let found = match attempt {
                Try::Path(before, after) if before.is_empty() && after.is_empty() => {
                    self.path(path, &name, wait, now)
                }
                Try::Path(before, after) => {
                    // `/about/` is no `about.html`.
                    if name.directory && !name.path.is_empty() && !after.starts_with('/') {
                        continue;
                    }
                    let whole = [before.as_bytes(), &name.path, after.as_bytes()].concat();
                    let whole = whole.trim_ascii_start();
                    let whole = whole.strip_prefix(b"/").unwrap_or(whole);
                    // With nothing between them it would be a hidden file.
                    if whole.starts_with(b".") && !self.hidden {
                        continue;
                    }
                    self.file(whole, wait, now)
                }
                Try::Fixed(file) => self.file(file.as_bytes(), wait, now),
                Try::Status(status) => return Err(Miss::Status(*status)),
            };
            match found {
                Err(Miss::NotFound) => {}
                found => return found,
            }
        }
        match &self.fallback {
            Some(file) if media::extension(&name.path).is_none_or(|end| end.eq_ignore_ascii_case("html")) => {
                self.file(file.as_bytes(), wait, now)
            }
            _ => Err(Miss::NotFound),
        }
    }

    /// The path itself: a file, or a directory by its index or listing.
    fn path(&self, raw: &str, name: &Name<'_>, wait: Wait, now: u64) -> Result<What, Miss> {
        if !name.directory {
            let directory = match self.entry(&name.path, wait, now)? {
                Entry::File(what) => return Ok(what),
                Entry::Directory(directory) => directory,
            };
            drop(directory);
            if !self.listing {
                self.index(&name.path, wait, now)?;
            }
            return Ok(What::Moved(format!("{raw}/")));
        }
        match self.index(&name.path, wait, now) {
            Err(Miss::NotFound) if self.listing => {}
            found => return found,
        }
        // Directories are read from disk.
        if wait == Wait::Never {
            return Err(Miss::WouldWait);
        }
        match self.entry(&name.path, wait, now)? {
            Entry::Directory(directory) => {
                let listing = Listing::read(&directory, raw, self.hidden, |entry| {
                    let path = if name.path.is_empty() {
                        entry.to_vec()
                    } else {
                        [&name.path, &b"/"[..], entry].concat()
                    };
                    self.root.get(&path, wait, now).ok()
                });
                listing.map(What::Listing).map_err(miss)
            }
            Entry::File(_) => Err(Miss::NotFound),
        }
    }

    fn index(&self, directory: &[u8], wait: Wait, now: u64) -> Result<What, Miss> {
        let mut path = Vec::with_capacity(directory.len() + 16);
        for index in &self.index {
            path.clear();
            path.extend_from_slice(directory);
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(index.as_bytes());
            match self.file(&path, wait, now) {
                Err(Miss::NotFound) => {}
                found => return found,
            }
        }
        Err(Miss::NotFound)
    }

    fn file(&self, path: &[u8], wait: Wait, now: u64) -> Result<What, Miss> {
        match self.entry(path, wait, now)? {
            Entry::File(what) => Ok(what),
            Entry::Directory(_) => Err(Miss::NotFound),
        }
    }

    /// What a name stands for, from memory if that may be believed.
    fn entry(&self, path: &[u8], wait: Wait, now: u64) -> Result<Entry, Miss> {
        let known = self.hot.as_ref().and_then(|hot| hot.get(path, now));
        if let Some((file, true)) = known {
            return Ok(Entry::File(What::Hot(file)));
        }
        let known = known.map(|(file, _)| file);
        let found = self.open(path, known.as_ref(), wait, now);
        if let (Some(hot), Some(_), false) =
            (&self.hot, &known, matches!(found, Ok(Entry::File(What::Hot(_))) | Err(Miss::WouldWait)))
        {
            hot.forget(path);
        }
        found
    }

    fn open(&self, path: &[u8], known: Option<&Arc<HotFile>>, wait: Wait, now: u64) -> Result<Entry, Miss> {
        let (file, stat) = match self.root.get(path, wait, now).map_err(miss)? {
            Opened::File(file, stat) => (file, stat),
            Opened::Directory(directory) => return Ok(Entry::Directory(directory)),
        };
        let mut forms = vec![ColdForm { coding: None, file, stamp: Stamp::of(&stat) }];
        let mut stamps = vec![Some(forms[0].stamp)];
        let kind = self.types.of(path);
        let compressed = media::may_be_compressed(&kind);
        for &coding in self.compressed.iter().filter(|_| compressed) {
            let beside = [path, coding.suffix().as_bytes()].concat();
            match self.root.get(&beside, wait, now) {
                Ok(Opened::File(file, stat)) => {
                    let stamp = Stamp::of(&stat);
                    stamps.push(Some(stamp));
                    forms.push(ColdForm { coding: Some(coding), file, stamp });
                }
                Err(Errno::AGAIN) if wait == Wait::Never => return Err(Miss::WouldWait),
                _ => stamps.push(None),
            }
        }
        if let Some(known) = known.filter(|known| known.settled && known.stamps == stamps) {
            known.checked.store(now, Ordering::Relaxed);
            return Ok(Entry::File(What::Hot(known.clone())));
        }
        let headers = self.headers(path, kind, forms.len() > 1);
        if let Some(hot) = &self.hot
            && forms.iter().all(|form| form.stamp.size <= hot.file_bytes)
        {
            let settled = forms.iter().all(|form| form.stamp.is_settled());
            let read =
                forms.iter().map(|form| form.read(&headers, wait)).collect::<Result<Option<Vec<_>>, _>>()?;
            // What changes while it is read is sent from the file, where that shows.
            if let Some(forms) = read {
                let file = Arc::new(HotFile { stamps, checked: AtomicU64::new(now), settled, forms });
                hot.put(path, file.clone());
                return Ok(Entry::File(What::Hot(file)));
            }
        }
        Ok(Entry::File(What::Cold(Box::new(ColdFile { forms, headers }))))
    }

    /// The fields that all answers with a file have.
    fn headers(&self, path: &[u8], kind: HeaderValue, varies: bool) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(header::CONTENT_TYPE, kind);
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        if varies {
            headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        }
        if let Some((_, value)) = self.cache_control.iter().find(|(glob, _)| glob.fits(path)) {
            headers.insert(header::CACHE_CONTROL, value.clone());
        }
        headers
    }
}

impl ColdForm {
    /// Reads it all; `None` when it changed meanwhile.
    fn read(&self, common: &HeaderMap, wait: Wait) -> Result<Option<Form>, Miss> {
        let size = self.stamp.size;
        let body = match wait {
            Wait::Allowed => read_at(&self.file, 0..size),
            Wait::Never => self.read_now(size)?,
        };
        let now = fstat(&self.file).map_err(miss)?;
        if body.len() as u64 != size || Stamp::of(&now) != self.stamp {
            return Ok(None);
        }
        let mut headers = common.clone();
        let tag = content_tag(&body);
        self.add_headers(&mut headers, &tag);
        let lines_304 = lines(&not_modified(&headers));
        Ok(Some(Form {
            coding: self.coding,
            tag,
            modified: self.stamp.modified_s(),
            lines: lines(&headers),
            lines_304,
            headers,
            body,
        }))
    }

    fn read_now(&self, size: u64) -> Result<Bytes, Miss> {
        if size == 0 {
            return Ok(Bytes::new());
        }
        let mut bytes = vec![0; size as usize];
        match preadv2(&self.file, &mut [IoSliceMut::new(&mut bytes)], 0, ReadWriteFlags::NOWAIT) {
            Ok(count) if count == bytes.len() => Ok(bytes.into()),
            Err(Errno::OPNOTSUPP) if is_in_memory(&self.file) => Ok(read_at(&self.file, 0..size)),
            _ => Err(Miss::WouldWait),
        }
    }

    pub(crate) fn add_headers(&self, headers: &mut HeaderMap, tag: &HeaderValue) {
        headers.insert(header::ETAG, tag.clone());
        headers.insert(header::LAST_MODIFIED, self.stamp.last_modified());
        if let Some(coding) = self.coding {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
        }
    }
}

/// Of an answer's fields those that tell a cache something about what it has (RFC 9110, section 15.4.5).
pub(crate) fn not_modified(headers: &HeaderMap) -> HeaderMap {
    let told = [header::ETAG, header::LAST_MODIFIED, header::VARY, header::CACHE_CONTROL];
    told.into_iter().filter_map(|name| Some((name.clone(), headers.get(&name)?.clone()))).collect()
}

impl Miss {
    /// The status that says so.
    pub fn status(self) -> Option<StatusCode> {
        Some(match self {
            Self::WouldWait => return None,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Failed => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Status(status) => StatusCode::from_u16(status).unwrap_or(StatusCode::NOT_FOUND),
        })
    }
}

fn miss(error: Errno) -> Miss {
    match error {
        Errno::AGAIN => Miss::WouldWait,
        Errno::ACCESS | Errno::PERM => Miss::Forbidden,
        Errno::BUSY | Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::INTR => Miss::Busy,
        Errno::IO | Errno::STALE | Errno::UCLEAN => Miss::Failed,
        // Not there, not a directory, too long, links in circles or out of the root, no file at all.
        _ => Miss::NotFound,
    }
}

/// The name of a file in the settings, below the root.
fn fixed(text: &str) -> Result<String, String> {
    let name = text.trim_start_matches('/');
    let plain = !name.is_empty()
        && !name.ends_with('/')
        && !name.contains('\0')
        && name.split('/').all(|segment| !segment.is_empty() && segment != "." && segment != "..");
    if plain { Ok(name.into()) } else { Err(format!("{text:?} is no file below the root")) }
}

fn plan(tries: &[String]) -> Result<Vec<Try>, String> {
    let mut plan = Vec::new();
    for (index, text) in tries.iter().enumerate() {
        plan.push(if let Some(status) = text.strip_prefix('=') {
            let status = status.parse().ok().filter(|status| (400..600).contains(status));
            let status = status.ok_or_else(|| format!("{text:?} is no error; write it as =404"))?;
            if index + 1 != tries.len() {
                return Err(format!("{text:?} ends the search; put it last"));
            }
            Try::Status(status)
        } else if let Some((before, after)) = text.split_once("{path}") {
            let before = before.trim_start_matches('/');
            if [before, after]
                .iter()
                .any(|part| part.contains(['{', '}', '\0']) || part.split('/').any(|s| s == ".."))
            {
                return Err(format!("{text:?} is no path; it may have {{path}} once"));
            }
            Try::Path(before.into(), after.into())
        } else {
            Try::Fixed(fixed(text)?)
        });
    }
    if plan.is_empty() {
        plan.push(Try::Path(String::new(), String::new()));
    }
    Ok(plan)
}
