//! Console: one page and its files, as they are in the source, inside the program. Nothing is built, and nothing comes from
//! elsewhere.

use axum::Router;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::error::ApiError;
use super::extract::Segments;

/// The files, by their paths below `engine/console`.
macro_rules! files {
    ($($path:literal,)*) => {
        /// Every file and what it holds.
        const FILES: &[(&str, &str)] = &[
            $(($path, include_str!(concat!("../../console/", $path))),)*
        ];
    };
}

files! {
    "api.js",
    "app.js",
    "charts.js",
    "dom.js",
    "entry-model.js",
    "fleet.js",
    "forms.js",
    "i18n.js",
    "icon.svg",
    "index.html",
    "style.css",
    "text/en.js",
    "text/entry-en.js",
    "text/entry-ja.js",
    "text/ja.js",
    "theme.js",
    "ui.js",
    "views/connections.js",
    "views/credentials.js",
    "views/entry.js",
    "views/group.js",
    "views/groups.js",
    "views/live.js",
    "views/node.js",
    "views/preview.js",
    "views/signin.js",
    "views/sim-edit.js",
    "views/sim.js",
    "views/sims.js",
    "views/tap.js",
    "views/usage.js",
}

/// The page that everything begins with.
const PAGE: &str = "index.html";

/// The console's paths.
pub(super) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/", get(|| async { serve(PAGE) }))
        .route(
            "/console/{*path}",
            get(|Segments(path): Segments<String>| async move { serve(&path) }),
        )
}

fn serve(path: &str) -> Result<Response, ApiError> {
    let file = FILES.iter().find(|(known, _)| *known == path);
    let (path, content) = file.ok_or_else(|| ApiError::not_found("the file"))?;
    let form = match path.rsplit_once('.') {
        Some((_, "html")) => "text/html; charset=utf-8",
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "js")) => "text/javascript; charset=utf-8",
        Some((_, "svg")) => "image/svg+xml",
        _ => "text/plain; charset=utf-8",
    };
    Ok(([(header::CONTENT_TYPE, form)], *content).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    fn paths(folder: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths
            .flat_map(|path| {
                if path.is_dir() {
                    self::paths(&path)
                } else {
                    vec![path]
                }
            })
            .collect()
    }

    #[test]
    fn every_file_of_the_console_is_served() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("console");
        let there = paths(&folder).into_iter();
        let there: BTreeSet<String> = there
            .map(|path| {
                path.strip_prefix(&folder)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        let served: BTreeSet<String> = FILES.iter().map(|(path, _)| (*path).to_owned()).collect();
        assert_eq!(served, there);
        for (path, _) in FILES {
            let response = serve(path).unwrap();
            let form = response.headers()[header::CONTENT_TYPE].to_str().unwrap();
            assert!(!form.starts_with("text/plain"), "{path}");
        }
        serve("../Cargo.toml").unwrap_err();
    }
}
