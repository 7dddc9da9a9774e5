//! What is in a directory, as a page and as JSON.

use std::os::fd::OwnedFd;
use std::time::{Duration, UNIX_EPOCH};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use rustix::fs::Dir;
use rustix::io::Errno;

use crate::root::Opened;
use crate::stamp::Stamp;

/// Entries that are looked at; what follows them is not told.
const ENTRIES_MAX: usize = 10_000;
/// What stays as it is in an address.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const STYLE: &str = "body{font:1rem/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
    h1{font-size:1.25rem;overflow-wrap:anywhere}table{width:100%;border-collapse:collapse}\
    th,td{text-align:left;padding:.35rem .5rem;border-bottom:1px solid #8884}td:first-child{overflow-wrap:anywhere}\
    .n{text-align:right;white-space:nowrap}a{text-decoration:none}a:hover,a:focus-visible{text-decoration:underline}\
    tbody tr:hover,tbody tr:focus-within{background:#8882}@media(max-width:40rem){.t{display:none}}";

/// The entries of a directory.
#[derive(Debug)]
pub(crate) struct Listing {
    /// The directory's address, decoded.
    title: String,
    root: bool,
    entries: Vec<Entry>,
    /// There are more.
    cut: bool,
}

#[derive(Debug)]
struct Entry {
    name: Vec<u8>,
    /// Bytes; none for directories.
    size: Option<u64>,
    /// Seconds since the epoch.
    modified: Option<u64>,
}

impl Listing {
    /// Reads a directory. `open` opens an entry the way it is served, so that nothing is told that cannot be had.
    pub(crate) fn read(
        directory: &OwnedFd,
        address: &str,
        hidden: bool,
        open: impl Fn(&[u8]) -> Option<Opened>,
    ) -> Result<Self, Errno> {
        let mut entries = Vec::new();
        let mut cut = false;
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            let odd = |byte: &u8| *byte < 0x20 || *byte == 0x7f || *byte == b'\\';
            let known = hidden || name == b".well-known" || !name.starts_with(b".");
            if name.ends_with(b".") || !known || name.iter().any(odd) {
                continue;
            }
            if entries.len() == ENTRIES_MAX {
                cut = true;
                break;
            }
            match open(name) {
                Some(Opened::File(_, stat)) => {
                    let stamp = Stamp::of(&stat);
                    let (size, modified) = (Some(stamp.size), Some(stamp.modified_s()));
                    entries.push(Entry { name: name.to_vec(), size, modified });
                }
                Some(Opened::Directory(_)) => {
                    entries.push(Entry { name: name.to_vec(), size: None, modified: None });
                }
                None => {}
            }
        }
        entries.sort_by(|a, b| (a.size.is_some(), &a.name).cmp(&(b.size.is_some(), &b.name)));
        let title = percent_decode_str(address).decode_utf8_lossy().into_owned();
        Ok(Self { root: title == "/", title, entries, cut })
    }

    /// A page. `query` may sort it: `sort=name`, `size` or `time`, `order=desc`.
    pub(crate) fn html(mut self, query: &str) -> String {
        let value = |key: &str| query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
        let sort = value("sort").filter(|sort| ["size", "time"].contains(sort)).unwrap_or("name");
        let descending = value("order") == Some("desc");
        match sort {
            "size" => self.entries.sort_by_key(|entry| entry.size),
            "time" => self.entries.sort_by_key(|entry| (entry.size.is_some(), entry.modified)),
            _ => {}
        }
        if descending {
            self.entries.reverse();
            // Directories stay first.
            self.entries.sort_by_key(|entry| entry.size.is_some());
        }
        let title = escaped(&self.title);
        let column = |key: &str, text: &str, class: &str| {
            let (order, state) = match (key == sort, descending) {
                (true, false) => ("&amp;order=desc", " aria-sort=\"ascending\""),
                (true, true) => ("", " aria-sort=\"descending\""),
                (false, _) => ("", ""),
            };
            format!(
                "<th scope=\"col\" class=\"{class}\"{state}><a href=\"?sort={key}{order}\">{text}</a></th>"
            )
        };
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n<style>{STYLE}</style>\n\
             <main>\n<h1>{title}</h1>\n<table>\n<thead><tr>{}{}{}</tr></thead>\n<tbody>\n",
            column("name", "Name", ""),
            column("size", "Size", "n"),
            column("time", "Changed", "n t"),
        );
        if !self.root {
            page.push_str("<tr><td><a href=\"../\">../</a></td><td></td><td class=\"t\"></td></tr>\n");
        }
        for entry in &self.entries {
            let slash = if entry.size.is_none() { "/" } else { "" };
            let href = percent_encode(&entry.name, PLAIN);
            let name = escaped(&String::from_utf8_lossy(&entry.name));
            let size = entry.size.map(human).unwrap_or_default();
            let time = entry.modified.map(time).unwrap_or_default();
            page.push_str(&format!(
                "<tr><td><a href=\"./{href}{slash}\">{name}{slash}</a></td><td class=\"n\">{size}</td>\
                 <td class=\"n t\">{time}</td></tr>\n"
            ));
        }
        page.push_str("</tbody>\n</table>\n");
        if self.cut {
            page.push_str(&format!("<p>Only the first {ENTRIES_MAX} entries are shown.</p>\n"));
        }
        page.push_str("</main>\n</html>\n");
        page
    }

    pub(crate) fn json(&self) -> String {
        let entries: Vec<_> = self
            .entries
            .iter()
            .map(|entry| {
                serde_json::json!({
                    "name": String::from_utf8_lossy(&entry.name),
                    "kind": if entry.size.is_some() { "file" } else { "directory" },
                    "size": entry.size,
                    "modified": entry.modified.map(time),
                })
            })
            .collect();
        serde_json::json!({ "path": self.title, "entries": entries, "complete": !self.cut }).to_string()
    }
}

/// In the format of HTTP.
fn time(seconds: u64) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds.min(253_402_300_799)))
}

fn human(bytes: u64) -> String {
    let mut size = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if size < 1024.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{size:.1} {unit}") };
        }
        size /= 1024.0;
    }
    format!("{size:.1} TiB")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
