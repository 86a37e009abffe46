//! The web UI as files: what the HTTP server hands out under `/`.
//!
//! One ES module per page in `ui`, as written; nothing is bundled. Third-party modules come by npm's lockfile into
//! `ui/node_modules` before the build (`cargo xtask ui`), and only those named here are embedded. Without them there is a page
//! that says how to get them. Builds for development read the files from the disk each time.
//!
//! Deliberately not here: HTTP, users, data. The pages ask the HTTP API for everything.

use rust_embed::{EmbeddedFile, RustEmbed};
use std::borrow::Cow;

/// What is ours.
#[derive(RustEmbed)]
#[folder = "ui/"]
#[include = "*.html"]
#[include = "*.css"]
#[include = "*.js"]
#[include = "*.svg"]
#[exclude = "node_modules/*"]
#[exclude = "test/*"]
struct Own;

/// What is not.
#[derive(RustEmbed)]
#[folder = "ui/node_modules/"]
#[allow_missing = true]
#[include = "preact/dist/preact.module.js"]
#[include = "preact/hooks/dist/hooks.module.js"]
#[include = "htm/dist/htm.module.js"]
#[include = "uplot/dist/uPlot.esm.js"]
#[include = "uplot/dist/uPlot.min.css"]
struct ThirdParty;

/// Addresses of third-party files, and where they are.
const VENDOR: [(&str, &str); 5] = [
    ("vendor/preact.js", "preact/dist/preact.module.js"),
    (HOOKS, "preact/hooks/dist/hooks.module.js"),
    ("vendor/htm.js", "htm/dist/htm.module.js"),
    ("vendor/uplot.js", "uplot/dist/uPlot.esm.js"),
    ("vendor/uplot.css", "uplot/dist/uPlot.min.css"),
];

/// Where Preact's hooks are: they ask for it by its name at npm, which a browser cannot find.
const HOOKS: &str = "vendor/hooks.js";

/// A file of the UI.
#[derive(Clone, Debug)]
pub struct Asset {
    /// Its bytes.
    pub bytes: Cow<'static, [u8]>,
    /// For the header `Content-Type`.
    pub content_type: &'static str,
    /// For the header `ETag`, quotes included; another for other bytes.
    pub etag: String,
}

/// Finds the file at a path without its first slash; the empty path is the start page.
#[must_use]
pub fn asset(path: &str) -> Option<Asset> {
    let path = if path.is_empty() { "index.html" } else { path };
    if let Some((_, source)) = VENDOR.iter().find(|(address, _)| *address == path) {
        let mut asset = described(path, ThirdParty::get(source)?);
        if path == HOOKS {
            let text = str::from_utf8(&asset.bytes).ok()?;
            let found = text.replace("from\"preact\"", "from\"./preact.js\"");
            asset.bytes = Cow::Owned(found.into_bytes());
        }
        return Some(asset);
    }
    if path == "index.html" && !is_complete() {
        return Some(described(path, Own::get("incomplete.html")?));
    }
    Some(described(path, Own::get(path)?))
}

/// Whether the third-party modules were there when this was built.
#[must_use]
pub fn is_complete() -> bool {
    VENDOR
        .iter()
        .all(|(_, source)| ThirdParty::get(source).is_some())
}

fn described(path: &str, file: EmbeddedFile) -> Asset {
    use std::fmt::Write as _;
    let mut etag = String::from("\"");
    for byte in &file.metadata.sha256_hash()[..12] {
        // Writing to a string cannot fail.
        let _ = write!(etag, "{byte:02x}");
    }
    etag.push('"');
    Asset {
        bytes: file.data,
        content_type: content_type(path),
        etag,
    }
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_page_is_there_with_and_without_third_party_modules() {
        let page = asset("").expect("there is always a start page");
        assert_eq!(page.content_type, "text/html; charset=utf-8");
        let text = String::from_utf8(page.bytes.into_owned()).unwrap();
        assert_eq!(text.contains("main.js"), is_complete());
    }

    #[test]
    fn the_start_page_asks_for_all_modules_at_once() {
        let page = Own::get("index.html").expect("it is there");
        let page = std::str::from_utf8(&page.data).unwrap();
        for path in Own::iter().filter(|path| path.ends_with(".js")) {
            let is_loaded_by_another = path == "main.js" || path.starts_with("js/");
            // Behind the styles, without which nothing is painted.
            let link =
                format!("<link rel=\"modulepreload\" fetchpriority=\"low\" href=\"{path}\">");
            assert!(is_loaded_by_another || page.contains(&link), "{path}");
        }
    }

    #[test]
    fn modules_ask_for_files_and_not_for_names() {
        for (path, _) in VENDOR.iter().filter(|(path, _)| path.ends_with(".js")) {
            let Some(module) = asset(path) else {
                assert!(!is_complete(), "{path}");
                continue;
            };
            let text = String::from_utf8(module.bytes.into_owned()).unwrap();
            for name in ["preact", "preact/hooks", "htm", "uplot"] {
                assert!(!text.contains(&format!("from\"{name}\"")), "{path}");
            }
        }
    }

    #[test]
    fn only_what_is_named_can_be_had() {
        for path in [
            "package.json",
            "../Cargo.toml",
            "test/ui.test.js",
            "node_modules/preact/dist/preact.module.js",
            "vendor/",
            "nothing.js",
        ] {
            assert!(asset(path).is_none(), "{path}");
        }
        let script = asset("main.js").expect("it is there");
        assert_eq!(script.content_type, "text/javascript; charset=utf-8");
        assert_eq!(script.etag.len(), 26);
    }
}
