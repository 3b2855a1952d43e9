//! Page: part of a list, and where the next part begins: the vendor's headers `x-soracom-next-key` and `link`.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::Value;

use super::error::ApiError;
use super::limits::{PAGE, PAGE_MAX};

/// The header of the key that the next page is asked for by.
const NEXT_KEY: HeaderName = HeaderName::from_static("x-soracom-next-key");

/// The parameter that it is given in.
const LAST_KEY: &str = "last_evaluated_key";

/// Which part of a list is asked for.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Paging {
    limit: Option<i64>,
    last_evaluated_key: Option<String>,
}

impl Paging {
    pub(super) const fn new(limit: Option<i64>, last_evaluated_key: Option<String>) -> Self {
        Self {
            limit,
            last_evaluated_key,
        }
    }

    /// How many elements.
    ///
    /// # Errors
    /// When what is asked for is no count.
    pub(super) fn limit(&self) -> Result<usize, ApiError> {
        self.limit_of(PAGE, PAGE_MAX)
    }

    /// How many elements, with other bounds.
    ///
    /// # Errors
    /// When what is asked for is no count.
    pub(super) fn limit_of(&self, default: usize, max: usize) -> Result<usize, ApiError> {
        let Some(limit) = self.limit else {
            return Ok(default);
        };
        let limit = usize::try_from(limit).ok().filter(|limit| *limit > 0);
        let limit = limit.ok_or_else(|| {
            ApiError::bad_request(format!("limit: accepted are whole numbers from 1 to {max}"))
        })?;
        Ok(limit.min(max))
    }

    /// What the last page ended with; empty for the first page.
    pub(super) fn after(&self) -> &str {
        self.last_evaluated_key.as_deref().unwrap_or_default()
    }

    /// The same as a number.
    ///
    /// # Errors
    /// When it is none.
    pub(super) fn before_number(&self) -> Result<Option<i64>, ApiError> {
        let key = self.last_evaluated_key.as_deref();
        let key = key.filter(|key| !key.is_empty()).map(str::parse);
        key.transpose().map_err(|_| {
            ApiError::bad_request(format!("{LAST_KEY}: it is from no page of this list"))
        })
    }
}

/// Part of a list.
pub(super) struct Page {
    items: Vec<Value>,
    next: Option<(String, String)>,
}

impl Page {
    /// Nothing, and nothing behind it.
    pub(super) const fn empty() -> Self {
        Self {
            items: Vec::new(),
            next: None,
        }
    }

    /// Of a list, of which one more element than `limit` was asked for, so that it shows whether there are more;
    /// `key` is what elements are continued behind by.
    pub(super) fn new<T>(
        uri: &Uri,
        mut list: Vec<T>,
        limit: usize,
        key: impl Fn(&T) -> String,
        show: impl Fn(T) -> Value,
    ) -> Self {
        let is_last = list.len() <= limit;
        list.truncate(limit);
        Self::whole(uri, list, is_last, key, show)
    }
}

impl Page {
    /// Of a list, with what the next page is asked for by, if there is one.
    pub(super) fn part<T>(
        uri: &Uri,
        list: Vec<T>,
        next: Option<String>,
        show: impl Fn(T) -> Value,
    ) -> Self {
        let next = next.map(|key| {
            let link = link(uri, &key);
            (key, link)
        });
        Self {
            items: list.into_iter().map(show).collect(),
            next,
        }
    }

    /// Of a list that ends where it does; `is_last` is whether nothing comes behind it.
    pub(super) fn whole<T>(
        uri: &Uri,
        list: Vec<T>,
        is_last: bool,
        key: impl Fn(&T) -> String,
        show: impl Fn(T) -> Value,
    ) -> Self {
        let next = list.last().filter(|_| !is_last).map(key);
        Self::part(uri, list, next, show)
    }
}

/// The next page's address.
fn link(uri: &Uri, key: &str) -> String {
    let query = uri.query().unwrap_or_default().split('&');
    let kept = query.filter(|part| !part.is_empty() && !part.starts_with(LAST_KEY));
    let mut parts: Vec<String> = kept.map(str::to_owned).collect();
    let key = utf8_percent_encode(key, NON_ALPHANUMERIC);
    parts.push(format!("{LAST_KEY}={key}"));
    format!("<{}?{}>; rel=next", uri.path(), parts.join("&"))
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let mut headers = HeaderMap::new();
        if let Some((key, link)) = self.next {
            for (name, text) in [(NEXT_KEY, key), (header::LINK, link)] {
                // What no header can hold is no key of ours.
                if let Ok(value) = HeaderValue::from_str(&text) {
                    headers.insert(name, value);
                }
            }
        }
        (headers, axum::Json(Value::Array(self.items))).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_where_the_next_begins() {
        let uri: Uri = "/v1/groups?limit=2&last_evaluated_key=x&tag_name=a"
            .parse()
            .unwrap();
        let page = |count: usize| {
            Page::new(
                &uri,
                (0..count).collect(),
                2,
                |number| format!("k {number}"),
                |number| number.into(),
            )
        };
        let (key, link) = page(3).next.unwrap();
        assert_eq!(key, "k 1");
        assert_eq!(
            link,
            "</v1/groups?limit=2&tag_name=a&last_evaluated_key=k%201>; rel=next"
        );
        assert!(page(2).next.is_none());
        assert_eq!(page(3).items.len(), 2);
    }

    #[test]
    fn a_limit_is_a_count() {
        let limit = |limit| Paging {
            limit,
            ..Paging::default()
        };
        assert_eq!(limit(None).limit().unwrap(), PAGE);
        assert_eq!(limit(Some(7)).limit().unwrap(), 7);
        assert_eq!(limit(Some(i64::MAX)).limit().unwrap(), PAGE_MAX);
        limit(Some(0)).limit().unwrap_err();
        limit(Some(-1)).limit().unwrap_err();
    }
}
