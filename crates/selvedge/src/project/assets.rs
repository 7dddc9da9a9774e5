//! The static files of a project: `assets` in the configuration.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use selvedge_model::Digest;
use selvedge_model::assets::{
    ASSET_BYTES_MAX, ASSETS_MAX, Asset, Assets, HtmlHandling, NotFoundHandling, RunWorkerFirst,
};
use serde::Deserialize;

use crate::failure::{Failure, Outcome};

/// Files that say how others are served, and are not served themselves.
const IGNORED: [&str; 4] = [".assetsignore", "_headers", "_redirects", "_worker.js"];

/// `assets` in the configuration; the names are wrangler's.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AssetsConfig {
    /// Relative to the configuration.
    pub(crate) directory: String,
    /// Name in `env` by which the worker asks for files.
    pub(crate) binding: Option<String>,
    html_handling: HtmlHandling,
    not_found_handling: NotFoundHandling,
    run_worker_first: RunWorkerFirst,
}

/// Files to upload.
#[derive(Debug)]
pub(crate) struct AssetFiles {
    /// As the API takes it.
    pub(crate) manifest: Assets,
    /// Where the content of each digest is.
    pub(crate) content: BTreeMap<Digest, PathBuf>,
}

/// Reads the directory. `only` is true when the project has no worker besides.
pub(crate) fn collect(root: &Path, config: &AssetsConfig, only: bool) -> Outcome<AssetFiles> {
    let directory = root.join(&config.directory);
    let directory = directory.canonicalize().map_err(|error| {
        Failure::io("open", &directory, &error).help("correct `assets.directory`, or build the site first")
    })?;
    let text = |name: &str| match fs::read_to_string(directory.join(name)) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(Failure::io("read", &directory.join(name), &error)),
    };
    let mut files = AssetFiles {
        manifest: Assets {
            files: BTreeMap::new(),
            html_handling: config.html_handling,
            not_found_handling: config.not_found_handling,
            run_worker_first: config.run_worker_first.clone(),
            only,
            headers: text("_headers")?,
            redirects: text("_redirects")?,
        },
        content: BTreeMap::new(),
    };
    let mut ignored = GitignoreBuilder::new(&directory);
    for line in text(".assetsignore")?.lines() {
        ignored
            .add_line(None, line)
            .map_err(|error| Failure::new("bad_config", format!(".assetsignore: {error}")))?;
    }
    let ignored =
        ignored.build().map_err(|error| Failure::new("bad_config", format!(".assetsignore: {error}")))?;
    add_directory(&mut files, &directory, &directory, &ignored)?;
    Ok(files)
}

fn add_directory(files: &mut AssetFiles, root: &Path, directory: &Path, ignored: &Gitignore) -> Outcome<()> {
    let failed = |error: std::io::Error| Failure::io("read", directory, &error);
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        // Follows links: what the directory shows is what is deployed.
        let metadata = fs::metadata(&path).map_err(|error| Failure::io("read", &path, &error))?;
        if ignored.matched_path_or_any_parents(&path, metadata.is_dir()).is_ignore() {
            continue;
        }
        if metadata.is_dir() {
            let real = path.canonicalize().map_err(|error| Failure::io("open", &path, &error))?;
            if directory.starts_with(&real) {
                let message = format!("{} leads back to a directory above it", path.display());
                return Err(Failure::new("bad_assets", message).help("remove the link"));
            }
            add_directory(files, root, &path, ignored)?;
        } else {
            add_file(files, root, &path, metadata.len())?;
        }
    }
    Ok(())
}

fn add_file(files: &mut AssetFiles, root: &Path, path: &Path, size: u64) -> Outcome<()> {
    let relative = path.strip_prefix(root).unwrap_or(path);
    let Some(relative) = relative.to_str() else {
        let message = format!("the name of {} is not UTF-8", path.display());
        return Err(Failure::new("bad_assets", message).help("rename the file, or name it in .assetsignore"));
    };
    if IGNORED.contains(&relative) {
        return Ok(());
    }
    if size > ASSET_BYTES_MAX {
        let message = format!("{relative} has {size} bytes; at most {ASSET_BYTES_MAX} are allowed");
        return Err(
            Failure::new("bad_assets", message).help("name it in .assetsignore, or serve it from elsewhere")
        );
    }
    if files.manifest.files.len() == ASSETS_MAX {
        let message = format!("there are more than {ASSETS_MAX} files in {}", root.display());
        return Err(
            Failure::new("bad_assets", message).help("name what is not to be served in .assetsignore")
        );
    }
    let bytes = fs::read(path).map_err(|error| Failure::io("read", path, &error))?;
    let hex: String = digest(&SHA256, &bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let digest: Digest = hex.parse().expect("64 hexadecimal characters");
    files.content.insert(digest.clone(), path.into());
    let asset = Asset { digest, size: bytes.len() as u64, content_type: content_type(path) };
    files.manifest.files.insert(format!("/{relative}"), asset);
    Ok(())
}

/// By the file's ending; text is said to be UTF-8.
fn content_type(path: &Path) -> String {
    let Some(guess) = mime_guess::from_path(path).first() else { return String::new() };
    let textual = guess.type_() == "text" || ["javascript", "json"].contains(&guess.subtype().as_str());
    if textual { format!("{}; charset=utf-8", guess.essence_str()) } else { guess.essence_str().into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_becomes_a_manifest() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join("public").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("index.html", "<p>");
        write("a/b c.js", "1");
        write("secret.key", "x");
        write("node_modules/x.js", "x");
        write(".assetsignore", "*.key\nnode_modules\n");
        write("_headers", "/*\n  X: 1\n");
        let config = AssetsConfig { directory: "public".into(), ..AssetsConfig::default() };
        let files = collect(dir.path(), &config, false).unwrap();
        let paths: Vec<_> = files
            .manifest
            .files
            .iter()
            .map(|(path, file)| (path.as_str(), file.content_type.as_str()))
            .collect();
        assert_eq!(
            paths,
            [("/a/b c.js", "text/javascript; charset=utf-8"), ("/index.html", "text/html; charset=utf-8")]
        );
        assert_eq!(files.content.len(), 2);
        assert!(files.manifest.headers.contains("X: 1"));
        std::os::unix::fs::symlink("..", dir.path().join("public/a/up")).unwrap();
        assert_eq!(collect(dir.path(), &config, false).unwrap_err().code, "bad_assets");
        let none = AssetsConfig { directory: "none".into(), ..AssetsConfig::default() };
        assert!(collect(dir.path(), &none, false).unwrap_err().help.is_some());
    }
}
