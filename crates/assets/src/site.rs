//! A version's files, ready to be looked up.

use std::sync::Arc;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use selvedge_model::assets::{
    ASSET_BYTES_MAX, ASSETS_MAX, Asset, Assets, HtmlHandling, NotFoundHandling, RunWorkerFirst,
};

use crate::headers::Headers;
use crate::pattern::Pattern;
use crate::redirects::Redirects;

/// Why files cannot be served as they were uploaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Problem(String);

/// What answers a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// A file.
    File(Found),
    /// Somewhere else.
    Redirect {
        /// 301, 302, 303, 307 or 308.
        status: u16,
        /// Value of `Location`.
        location: String,
    },
    /// The file is there, but only to be read.
    MethodNotAllowed,
    /// No file: the worker, or an empty 404.
    Nothing,
}

/// A file that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// 200 or 404.
    pub status: u16,
    /// Which.
    pub asset: Asset,
    /// Fields of the answer, names in lower case.
    pub fields: Vec<(String, String)>,
}

/// A version's files, ready to be looked up.
#[derive(Clone, Debug)]
pub struct Site {
    assets: Arc<Assets>,
    headers: Headers,
    redirects: Redirects,
    first: Vec<Pattern>,
    not_first: Vec<Pattern>,
}

/// Characters that a path does not hold as they are.
const PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'{')
    .add(b'}')
    .add(b'%');

impl Site {
    /// Checks and prepares what was uploaded.
    ///
    /// # Errors
    /// A sentence for the developer.
    pub fn new(assets: Arc<Assets>) -> Result<Self, Problem> {
        if assets.files.len() > ASSETS_MAX {
            return Err(Problem(format!(
                "there are {} files; at most {ASSETS_MAX} are allowed",
                assets.files.len()
            )));
        }
        for (path, asset) in &assets.files {
            let odd = path.split('/').skip(1).any(|part| part.is_empty() || part == "." || part == "..");
            if !path.starts_with('/') || odd || path.len() > 1024 || path.contains(['\0', '\\', '\n', '\r']) {
                return Err(Problem(format!("{path:?} is no path of a file")));
            }
            if asset.size > ASSET_BYTES_MAX {
                return Err(Problem(format!(
                    "{path} has {} bytes; at most {ASSET_BYTES_MAX} are allowed",
                    asset.size
                )));
            }
            if asset.content_type.bytes().any(|byte| !(0x20..0x7f).contains(&byte)) {
                return Err(Problem(format!("the content type of {path} is not valid")));
            }
        }
        let at = |file, (line, problem): (usize, String)| Problem(format!("{file}, line {line}: {problem}"));
        let headers = Headers::parse(&assets.headers).map_err(|error| at("_headers", error))?;
        let redirects = Redirects::parse(&assets.redirects).map_err(|error| at("_redirects", error))?;
        let (mut first, mut not_first) = (Vec::new(), Vec::new());
        if let RunWorkerFirst::Paths(paths) = &assets.run_worker_first {
            for path in paths.iter().take(100) {
                let (list, text) = match path.strip_prefix('!') {
                    Some(text) => (&mut not_first, text),
                    None => (&mut first, path.as_str()),
                };
                let pattern = Pattern::parse(text);
                list.push(
                    pattern.map_err(|problem| Problem(format!("run_worker_first, {path:?}: {problem}")))?,
                );
            }
        }
        Ok(Self { assets, headers, redirects, first, not_first })
    }

    /// There is no worker's code besides the files.
    pub fn is_alone(&self) -> bool {
        self.assets.only
    }

    /// Whether the worker is asked before the files.
    pub fn worker_first(&self, host: &str, path: &str) -> bool {
        let any = |list: &[Pattern]| list.iter().any(|pattern| pattern.matches(host, path).is_some());
        match &self.assets.run_worker_first {
            RunWorkerFirst::Every(every) => *every && !self.assets.only,
            RunWorkerFirst::Paths(_) => any(&self.first) && !any(&self.not_first),
        }
    }

    /// What answers. `navigates` is true when a browser goes to a page, which then gets the page for what is not found
    /// rather than the worker; `last` is true when there is nobody to ask after the files.
    pub fn decide(
        &self,
        method: &str,
        host: &str,
        path: &str,
        query: Option<&str>,
        navigates: bool,
        last: bool,
    ) -> Decision {
        let reads = method == "GET" || method == "HEAD";
        let redirect = |status, location: String| {
            let location = match query {
                Some(query) if !location.contains('?') => format!("{location}?{query}"),
                _ => location,
            };
            Decision::Redirect { status, location }
        };
        let mut wanted = path.to_owned();
        if let Some(target) = self.redirects.find(host, path) {
            if target.status != 200 {
                return redirect(target.status, target.to);
            }
            wanted = target.to;
        }
        let Ok(decoded) = percent_decode_str(&wanted).decode_utf8() else { return Decision::Nothing };
        match self.look_up(&decoded) {
            Lookup::File(name) if reads => self.file(200, host, path, name),
            Lookup::File(_) => Decision::MethodNotAllowed,
            Lookup::Moved(to) if reads => {
                redirect(307, utf8_percent_encode(&avoid_other_hosts(&to), PATH).to_string())
            }
            Lookup::Moved(_) | Lookup::Nothing if !(reads && (last || navigates)) => Decision::Nothing,
            Lookup::Moved(_) | Lookup::Nothing => match self.assets.not_found_handling {
                NotFoundHandling::None => Decision::Nothing,
                NotFoundHandling::SinglePageApplication => self.file(200, host, path, "/index.html".into()),
                NotFoundHandling::NotFoundPage => self.nearest_404(host, path, &decoded),
            },
        }
    }

    fn nearest_404(&self, host: &str, path: &str, decoded: &str) -> Decision {
        let mut dir = decoded;
        while let Some(slash) = dir.rfind('/') {
            dir = &dir[..slash];
            let name = format!("{dir}/404.html");
            if self.has(&name) {
                return self.file(404, host, path, name);
            }
        }
        Decision::Nothing
    }

    fn file(&self, status: u16, host: &str, path: &str, name: String) -> Decision {
        let Some(asset) = self.assets.files.get(&name) else { return Decision::Nothing };
        let mut fields = Vec::with_capacity(4);
        if !asset.content_type.is_empty() {
            fields.push(("content-type".into(), asset.content_type.clone()));
        }
        fields.push(("etag".into(), format!("\"{}\"", &asset.digest.as_str()[..32])));
        fields.push(("cache-control".into(), "public, max-age=0, must-revalidate".into()));
        self.headers.apply(host, path, &mut fields);
        Decision::File(Found { status, asset: asset.clone(), fields })
    }

    fn has(&self, path: &str) -> bool {
        self.assets.files.contains_key(path)
    }

    fn look_up(&self, path: &str) -> Lookup {
        let html = |path: &str| format!("{}.html", path.trim_end_matches('/'));
        let index = |path: &str| format!("{}/index.html", path.trim_end_matches('/'));
        let handling = self.assets.html_handling;
        if handling == HtmlHandling::None {
            return if self.has(path) { Lookup::File(path.into()) } else { Lookup::Nothing };
        }
        // Addresses that name the file itself lead to the nice one.
        let plain = path
            .strip_suffix("/index.html")
            .or_else(|| path.strip_suffix("/index").filter(|_| !self.has(path)));
        if let Some(dir) = plain.filter(|dir| self.has(&index(dir))) {
            return Lookup::Moved(nice_index(handling, dir));
        }
        if let Some(page) = path.strip_suffix(".html").filter(|page| !page.ends_with('/') && self.has(path)) {
            return Lookup::Moved(nice_page(handling, page));
        }
        if self.has(path) {
            return Lookup::File(path.into());
        }
        let slashed = path.ends_with('/');
        let bare = path.trim_end_matches('/');
        if path.ends_with("//") {
            return Lookup::Nothing;
        }
        let (is_page, is_index) = (!bare.is_empty() && self.has(&html(bare)), self.has(&index(bare)));
        let found =
            |name: String, nice: String| if nice == path { Lookup::File(name) } else { Lookup::Moved(nice) };
        // A page and a directory of one name: the slash tells them apart.
        match (is_page, is_index) {
            (true, true) if handling == HtmlHandling::AutoTrailingSlash => {
                Lookup::File(if slashed { index(bare) } else { html(bare) })
            }
            (true, _) => found(html(bare), nice_page(handling, bare)),
            (false, true) => found(index(bare), nice_index(handling, bare)),
            (false, false) => Lookup::Nothing,
        }
    }
}

enum Lookup {
    File(String),
    /// It is found at a nicer address.
    Moved(String),
    Nothing,
}

fn nice_page(handling: HtmlHandling, page: &str) -> String {
    if handling == HtmlHandling::ForceTrailingSlash { format!("{page}/") } else { page.into() }
}

fn nice_index(handling: HtmlHandling, dir: &str) -> String {
    match handling {
        HtmlHandling::DropTrailingSlash if !dir.is_empty() => dir.into(),
        _ => format!("{dir}/"),
    }
}

/// `//host` would lead away.
fn avoid_other_hosts(path: &str) -> String {
    format!("/{}", path.trim_start_matches(['/', '\\']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn site(files: &[&str], change: impl FnOnce(&mut Assets)) -> Site {
        let asset = |name: &&str| Asset {
            digest: "0".repeat(64).parse().unwrap(),
            size: name.len() as u64,
            content_type: "text/html".into(),
        };
        let files = files.iter().map(|name| ((*name).to_owned(), asset(name))).collect();
        let mut assets = Assets { files, ..Assets::default() };
        change(&mut assets);
        Site::new(Arc::new(assets)).unwrap()
    }

    fn get(site: &Site, path: &str) -> String {
        match site.decide("GET", "h", path, None, false, true) {
            Decision::File(found) => format!("{} {}", found.status, found.asset.size),
            Decision::Redirect { status, location } => format!("{status} {location}"),
            Decision::MethodNotAllowed => "405".into(),
            Decision::Nothing => "-".into(),
        }
    }

    const FILES: [&str; 5] =
        ["/index.html", "/page.html", "/dir/index.html", "/both.html", "/both/index.html"];

    #[test]
    fn auto_trailing_slash() {
        let site = site(&FILES, |_| ());
        for (path, answer) in [
            ("/", "200 11"),
            ("/index.html", "307 /"),
            ("/index", "307 /"),
            ("/page", "200 10"),
            ("/page/", "307 /page"),
            ("/page.html", "307 /page"),
            ("/dir", "307 /dir/"),
            ("/dir/", "200 15"),
            ("/dir/index", "307 /dir/"),
            ("/dir/index.html", "307 /dir/"),
            ("/both", "200 10"),
            ("/both/", "200 16"),
            ("/none", "-"),
            ("/pa%67e", "200 10"),
            ("/%ff", "-"),
            ("//dir", "-"),
            ("/dir//", "-"),
        ] {
            assert_eq!(get(&site, path), answer, "{path}");
        }
    }

    #[test]
    fn other_handlings() {
        let forced = site(&FILES, |a| a.html_handling = HtmlHandling::ForceTrailingSlash);
        assert_eq!(get(&forced, "/page"), "307 /page/");
        assert_eq!(get(&forced, "/page/"), "200 10");
        assert_eq!(get(&forced, "/dir"), "307 /dir/");
        let dropped = site(&FILES, |a| a.html_handling = HtmlHandling::DropTrailingSlash);
        assert_eq!(get(&dropped, "/dir/"), "307 /dir");
        assert_eq!(get(&dropped, "/dir"), "200 15");
        assert_eq!(get(&dropped, "/"), "200 11");
        let none = site(&FILES, |a| a.html_handling = HtmlHandling::None);
        assert_eq!(get(&none, "/page"), "-");
        assert_eq!(get(&none, "/page.html"), "200 10");
    }

    #[test]
    fn what_is_not_found() {
        let spa = site(&FILES, |a| a.not_found_handling = NotFoundHandling::SinglePageApplication);
        assert_eq!(get(&spa, "/some/route"), "200 11");
        assert_eq!(spa.decide("GET", "h", "/api", None, false, false), Decision::Nothing);
        assert!(matches!(spa.decide("GET", "h", "/api", None, true, false), Decision::File(_)));
        let pages =
            site(&["/404.html", "/a/404.html"], |a| a.not_found_handling = NotFoundHandling::NotFoundPage);
        assert_eq!(get(&pages, "/x/y"), "404 9");
        assert_eq!(get(&pages, "/a/b/c"), "404 11");
        assert_eq!(spa.decide("POST", "h", "/", None, false, true), Decision::MethodNotAllowed);
    }

    #[test]
    fn redirects_come_first_and_keep_the_query() {
        let site = site(&FILES, |a| a.redirects = "/old/* /page/:splat 301\n/shown /page 200\n".into());
        assert_eq!(get(&site, "/old/x"), "301 /page/x");
        assert_eq!(get(&site, "/shown"), "200 10");
        let with_query = site.decide("GET", "h", "/page/", Some("a=1"), false, false);
        assert_eq!(with_query, Decision::Redirect { status: 307, location: "/page?a=1".into() });
    }

    #[test]
    fn the_worker_may_come_first() {
        let site = site(&FILES, |a| {
            a.run_worker_first = RunWorkerFirst::Paths(vec!["/api/*".into(), "!/api/docs/*".into()]);
        });
        assert!(site.worker_first("h", "/api/x"));
        assert!(!site.worker_first("h", "/api/docs/x"));
        assert!(!site.worker_first("h", "/"));
    }

    proptest! {
        #[test]
        fn no_path_leads_out(path in "[/a%2e.\\\\]{0,20}") {
            let site = site(&FILES, |a| a.not_found_handling = NotFoundHandling::NotFoundPage);
            if let Decision::Redirect { location, .. } = site.decide("GET", "h", &path, None, true, true) {
                prop_assert!(location.starts_with('/') && !location.starts_with("//") && !location.starts_with("/\\"));
            }
        }
    }
}
