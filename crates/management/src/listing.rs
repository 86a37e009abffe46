//! Lists as clients ask for them: pages, filters by name, order, columns.
//!
//! Items are made one at a time from their sources, and only those that are shown are kept. Where the caller knows what a list is
//! ordered by without making items, nothing is made but what is shown.
//! RabbitMQ docs: management#http-api pagination.

use crate::call::{Answer, Outcome};
use crate::error::ApiError;
use crate::json::{Json, Object};
use crate::query::Query;
use regex::{Regex, RegexBuilder};
use tokio::runtime::{Handle, RuntimeFlavor};

/// Items of a page, unless the request says otherwise.
const PAGE_SIZE_DEFAULT: usize = 100;
/// Most items of a page.
const PAGE_SIZE_MAX: usize = 500;
/// Items of a list that takes a while to write.
const LONG: usize = 2_000;
/// Columns that a request may name; those behind are ignored.
const COLUMNS_MAX: usize = 256;
/// Memory that a name filter may compile to.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// Most items of a [`Piece`].
const PIECE_MAX: usize = 8_192;

/// What command line tools read of a long list at once, so that the node never has all of it in its memory: the first `piece` items
/// whose names come behind `behind`. Names that come and go meanwhile move nothing.
#[derive(Debug)]
pub(crate) struct Piece {
    count: usize,
    behind: Option<String>,
}

impl Piece {
    /// What a request asks for; `None` if it is all.
    pub(crate) fn new(query: &Query) -> Option<Self> {
        let count: usize = query.get("piece")?.parse().ok()?;
        Some(Self {
            count: count.clamp(1, PIECE_MAX),
            behind: query.get("behind").map(str::to_owned),
        })
    }

    /// The items of the piece in the order of their names.
    pub(crate) fn of<T>(
        &self,
        items: impl Iterator<Item = T>,
        name: impl Fn(&T) -> &str,
    ) -> Vec<T> {
        let is_behind = |item: &T| self.behind.as_deref().is_none_or(|last| name(item) > last);
        let mut kept: Vec<T> = Vec::new();
        for item in items.filter(is_behind) {
            kept.push(item);
            if kept.len() == 2 * self.count {
                kept.select_nth_unstable_by(self.count, |a, b| name(a).cmp(name(b)));
                kept.truncate(self.count);
            }
        }
        kept.sort_unstable_by(|a, b| name(a).cmp(name(b)));
        kept.truncate(self.count);
        kept
    }
}

/// How a list is shown.
#[derive(Debug)]
pub(crate) struct Listing {
    page: Option<Page>,
    sort: Option<String>,
    reverse: bool,
    columns: Columns,
}

/// A page of a list.
#[derive(Debug)]
struct Page {
    number: usize,
    size: usize,
    name: NameFilter,
}

#[derive(Debug)]
enum NameFilter {
    All,
    /// Contained, whatever the case.
    Contains(String),
    Matches(Regex),
    /// An expression that cannot be read matches nothing.
    Nothing,
}

/// The fields that are wanted; all if there are none. Compat: of a path (`a.b`) RabbitMQ shows all of `a`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Columns(Vec<String>);

impl Listing {
    /// What a request asks for.
    ///
    /// # Errors
    /// Numbers of pages that make no sense.
    pub(crate) fn new(query: &Query) -> Result<Self, ApiError> {
        Ok(Self {
            page: Page::new(query)?,
            sort: query
                .get("sort")
                .filter(|sort| !sort.is_empty())
                .map(str::to_owned),
            reverse: query.is_true("sort_reverse"),
            columns: Columns::new(query),
        })
    }

    /// Whether nothing but these fields is wanted.
    pub(crate) fn asks_only_for(&self, fields: &[&str]) -> bool {
        let knows = |field: &String| fields.contains(&field.as_str());
        !self.columns.0.is_empty() && self.columns.0.iter().chain(&self.sort).all(knows)
    }

    /// The sources that pass the name filter, and how many there were.
    pub(crate) fn filter<T>(&self, mut sources: Vec<T>, name: impl Fn(&T) -> &str) -> Filtered<T> {
        let total = sources.len();
        if let Some(page) = &self.page {
            sources.retain(|source| page.name.takes(name(source)));
        }
        Filtered { total, sources }
    }

    /// The sources of the page, where the order of the sources is the order of the page.
    ///
    /// # Errors
    /// There is no such page.
    pub(crate) fn cut<T>(&self, filtered: Filtered<T>) -> Result<Cut<T>, ApiError> {
        let Filtered { total, mut sources } = filtered;
        let count = sources.len();
        if self.sort.is_none() && self.reverse {
            sources.reverse();
        }
        if let Some(page) = &self.page
            && self.sort.is_none()
        {
            page.check(count)?;
            sources = sources
                .into_iter()
                .skip((page.number - 1) * page.size)
                .take(page.size)
                .collect();
        }
        Ok(Cut {
            total,
            filtered: count,
            sources,
            is_ordered: self.sort.is_none(),
        })
    }

    /// What the list is ordered by, if not as its sources are.
    pub(crate) fn order(&self) -> Option<&str> {
        self.sort.as_deref()
    }

    /// The sources of the page, where what they are ordered by is at hand.
    ///
    /// # Errors
    /// There is no such page.
    pub(crate) fn cut_by<T>(
        &self,
        filtered: Filtered<T>,
        key: impl Fn(&T) -> Json,
    ) -> Result<Cut<T>, ApiError> {
        let Filtered { total, sources } = filtered;
        Ok(Cut {
            total,
            filtered: sources.len(),
            sources: self.ordered(sources, key)?,
            is_ordered: true,
        })
    }

    /// The list, written one item at a time. `item` may be called twice for a source: once for the order, once to be shown.
    ///
    /// # Errors
    /// There is no such page.
    pub(crate) fn show<T>(&self, cut: Cut<T>, item: impl Fn(&T) -> Object) -> Outcome {
        if cut.sources.len() > LONG && is_one_of_several_threads() {
            // Others are served meanwhile.
            return tokio::task::block_in_place(|| self.write(cut, item));
        }
        self.write(cut, item)
    }

    fn write<T>(&self, cut: Cut<T>, item: impl Fn(&T) -> Object) -> Outcome {
        let Cut {
            total,
            filtered,
            mut sources,
            is_ordered,
        } = cut;
        if !is_ordered && let Some(sort) = self.order() {
            sources = self.ordered(sources, |source| {
                let whole = Json::Object(item(source));
                whole.at(sort.split('.')).cloned().unwrap_or(Json::Int(0))
            })?;
        }
        let mut out = Vec::new();
        if self.page.is_some() {
            let count = sources.len();
            let start =
                format!("{{\"filtered_count\":{filtered},\"item_count\":{count},\"items\":");
            out.extend_from_slice(start.as_bytes());
        }
        out.push(b'[');
        for (index, source) in sources.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            let item = self.columns.apply(item(source));
            serde_json::to_writer(&mut out, &item).expect("JSON values can be written");
        }
        out.push(b']');
        if let Some(Page { number, size, .. }) = &self.page {
            let pages = filtered.div_ceil(*size);
            let end = format!(
                ",\"page\":{number},\"page_count\":{pages},\"page_size\":{size},\"total_count\":{total}}}"
            );
            out.extend_from_slice(end.as_bytes());
        }
        Ok(Answer::Written(out))
    }

    /// A list whose sources are at hand, in order.
    ///
    /// # Errors
    /// There is no such page.
    pub(crate) fn list<T>(
        &self,
        sources: Vec<T>,
        name: impl Fn(&T) -> &str,
        item: impl Fn(&T) -> Object,
    ) -> Outcome {
        let filtered = self.filter(sources, name);
        self.show(self.cut(filtered)?, item)
    }

    /// The sources of the page in their order, of which no more is made than the page needs.
    fn ordered<T>(&self, sources: Vec<T>, key: impl Fn(&T) -> Json) -> Result<Vec<T>, ApiError> {
        // Equal ones stay in the order of the sources, or turn it round with all others.
        let mut keyed: Vec<(Json, usize)> = sources.iter().map(key).zip(0..).collect();
        let order = |(a, first): &(Json, usize), (b, second): &(Json, usize)| {
            let order = a.compare(b).then(first.cmp(second));
            if self.reverse { order.reverse() } else { order }
        };
        let shown = match &self.page {
            Some(page) => {
                page.check(keyed.len())?;
                let first = (page.number - 1) * page.size;
                first..keyed.len().min(first + page.size)
            }
            None => 0..keyed.len(),
        };
        if shown.end < keyed.len() {
            keyed.select_nth_unstable_by(shown.end, order);
            keyed.truncate(shown.end);
        }
        if shown.start > 0 {
            keyed.select_nth_unstable_by(shown.start, order);
        }
        let keyed = &mut keyed[shown];
        keyed.sort_unstable_by(order);
        let mut sources: Vec<Option<T>> = sources.into_iter().map(Some).collect();
        Ok(keyed
            .iter()
            .filter_map(|(_, place)| sources[*place].take())
            .collect())
    }
}

fn is_one_of_several_threads() -> bool {
    Handle::try_current()
        .is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread)
}

/// Sources that passed the name filter.
#[derive(Debug)]
pub(crate) struct Filtered<T> {
    total: usize,
    /// The sources.
    pub(crate) sources: Vec<T>,
}

/// Sources of a page, or all if they are still to be put in order.
#[derive(Debug)]
pub(crate) struct Cut<T> {
    total: usize,
    filtered: usize,
    /// The sources.
    pub(crate) sources: Vec<T>,
    is_ordered: bool,
}

impl<T> Cut<T> {
    /// The same page of other sources, one for each.
    pub(crate) fn with<U>(self, sources: Vec<U>) -> Cut<U> {
        Cut {
            total: self.total,
            filtered: self.filtered,
            sources,
            is_ordered: self.is_ordered,
        }
    }
}

impl Page {
    fn new(query: &Query) -> Result<Option<Self>, ApiError> {
        let Some(number) = query.get("page") else {
            return Ok(None);
        };
        let size = query.get("page_size");
        let read = |text: &str| text.parse::<i64>().ok();
        let (Some(number), Some(size)) = (
            read(number),
            size.map_or(Some(PAGE_SIZE_DEFAULT as i64), read),
        ) else {
            return Err(ApiError::bad("Pagination parameters are invalid"));
        };
        let valid = usize::try_from(number)
            .ok()
            .filter(|number| *number >= 1)
            .zip(
                usize::try_from(size)
                    .ok()
                    .filter(|size| (1..=PAGE_SIZE_MAX).contains(size)),
            );
        let Some((number, size)) = valid else {
            return Err(ApiError::Invalid(
                "invalid_pagination_parameters",
                format!("Invalid pagination parameters: page number {number}, page size {size}"),
            ));
        };
        Ok(Some(Self {
            number,
            size,
            name: NameFilter::new(query),
        }))
    }

    fn check(&self, count: usize) -> Result<(), ApiError> {
        let first = (self.number - 1).checked_mul(self.size);
        if first.is_some_and(|first| first < count || self.number == 1) {
            return Ok(());
        }
        let Self { number, size, .. } = self;
        Err(ApiError::Invalid(
            "page_out_of_range",
            format!("Page out of range, page: {number} page size: {size}, len: {count}"),
        ))
    }
}

impl NameFilter {
    fn new(query: &Query) -> Self {
        match query.get("name").filter(|name| !name.is_empty()) {
            None => Self::All,
            Some(pattern) if query.is_true("use_regex") => RegexBuilder::new(pattern)
                .case_insensitive(true)
                .size_limit(REGEX_BYTES_MAX)
                .build()
                .map_or(Self::Nothing, Self::Matches),
            Some(part) => Self::Contains(part.to_lowercase()),
        }
    }

    fn takes(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Contains(part) if name.is_ascii() => {
                let mut windows = name.as_bytes().windows(part.len());
                windows.any(|window| window.eq_ignore_ascii_case(part.as_bytes()))
            }
            Self::Contains(part) => name.to_lowercase().contains(part),
            Self::Matches(regex) => regex.is_match(name),
            Self::Nothing => false,
        }
    }
}

impl Columns {
    /// The columns that a request names.
    pub(crate) fn new(query: &Query) -> Self {
        let Some(columns) = query.get("columns") else {
            return Self::default();
        };
        let paths = columns.split(',').filter(|column| !column.is_empty());
        Self(
            paths
                .take(COLUMNS_MAX)
                .map(|column| column.split('.').next().unwrap_or_default().to_owned())
                .collect(),
        )
    }

    /// The object with the wanted fields only. Compat: RabbitMQ shows an object without any as an empty list.
    pub(crate) fn apply(&self, object: Object) -> Json {
        if self.0.is_empty() {
            return Json::Object(object);
        }
        let mut picked = object;
        picked.retain(|key| self.0.iter().any(|column| column == key));
        if picked.is_empty() {
            Json::List(Vec::new())
        } else {
            Json::Object(picked)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::object;

    fn shown(query: &str, names: &[&'static str]) -> Result<String, ApiError> {
        let listing = Listing::new(&Query::parse(query))?;
        let item = |name: &&'static str| {
            object! { "name" => *name, "size" => name.len(), "in" => object! { "x" => 1_u8 } }
        };
        let Answer::Written(bytes) = listing.list(names.to_vec(), |name| name, item)? else {
            panic!("lists are written");
        };
        Ok(String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn pieces_make_up_the_whole_in_order() {
        let names: Vec<String> = (0..100).map(|n| format!("q{:02}", n * 37 % 100)).collect();
        let (mut seen, mut behind): (Vec<&String>, String) = (Vec::new(), String::new());
        loop {
            let piece = Piece::new(&Query::parse(&format!("piece=7{behind}"))).unwrap();
            let items = piece.of(names.iter(), |name| name);
            let Some(last) = items.last() else { break };
            behind = format!("&behind={last}");
            seen.extend(items);
        }
        let mut sorted: Vec<&String> = names.iter().collect();
        sorted.sort();
        assert_eq!(seen, sorted);
    }

    #[test]
    fn without_a_page_the_list_is_plain_and_the_filter_is_not_used() {
        let names = ["b", "aa"];
        assert_eq!(
            shown("columns=name&name=zz", &names).unwrap(),
            r#"[{"name":"b"},{"name":"aa"}]"#
        );
        assert_eq!(
            shown("columns=in.x&sort=size&sort_reverse=true", &names).unwrap(),
            r#"[{"in":{"x":1}},{"in":{"x":1}}]"#
        );
        assert_eq!(shown("columns=no", &names).unwrap(), "[[],[]]");
    }

    #[test]
    fn a_listing_knows_when_little_is_wanted() {
        let asks = |query: &str| {
            let listing = Listing::new(&Query::parse(query)).unwrap();
            listing.asks_only_for(&["name", "size"])
        };
        assert!(asks("columns=name,size&sort=size"));
        assert!(!asks("columns=name,in"));
        assert!(!asks("columns=name&sort=in"));
        assert!(!asks(""));
    }

    #[test]
    fn a_page_counts_what_there_is_and_what_passes() {
        let names = ["one", "two", "three", "four"];
        assert_eq!(
            shown("page=2&page_size=2&columns=name&sort=name", &names).unwrap(),
            r#"{"filtered_count":4,"item_count":2,"items":[{"name":"three"},{"name":"two"}],"page":2,"page_count":2,"page_size":2,"total_count":4}"#
        );
        assert_eq!(
            shown("page=1&columns=name&name=^T.*E&use_regex=true", &names).unwrap(),
            r#"{"filtered_count":1,"item_count":1,"items":[{"name":"three"}],"page":1,"page_count":1,"page_size":100,"total_count":4}"#
        );
        assert!(
            shown("page=1&name=(&use_regex=true", &names)
                .unwrap()
                .contains("\"item_count\":0")
        );
    }

    #[test]
    fn equal_items_stay_in_order_and_no_page_misses_one() {
        let names: Vec<String> = (0..300).map(|number| format!("{number:03}")).collect();
        let names: Vec<&'static str> = names.into_iter().map(|name| &*name.leak()).collect();
        for (reverse, mut expected) in [("", names.clone()), ("&sort_reverse=true", names.clone())]
        {
            if !reverse.is_empty() {
                expected.reverse();
            }
            let mut found = Vec::new();
            for page in 1..=4 {
                let query = format!("page={page}&page_size=80&columns=name&sort=size{reverse}");
                let shown: serde_json::Value =
                    serde_json::from_str(&shown(&query, &names).unwrap()).unwrap();
                let items = shown["items"].as_array().unwrap().iter();
                found.extend(items.map(|item| item["name"].as_str().unwrap().to_owned()));
            }
            assert_eq!(found, expected, "{reverse}");
        }
    }

    #[test]
    fn the_filter_of_names_does_not_look_at_case() {
        let names = ["Alpha", "ÄRA", "beta"];
        for (part, found) in [("ALP", 1), ("%C3%A4r", 1), ("A", 3), ("x", 0)] {
            let shown = shown(&format!("page=1&name={part}"), &names).unwrap();
            assert!(
                shown.contains(&format!("\"item_count\":{found}")),
                "{part}: {shown}"
            );
        }
    }

    #[test]
    fn pages_that_do_not_exist_are_refused() {
        let names = ["one"];
        let refused = |query: &str| match shown(query, &names) {
            Err(ApiError::Invalid(word, _)) => word,
            other => panic!("{other:?}"),
        };
        assert_eq!(refused("page=2"), "page_out_of_range");
        assert_eq!(
            refused("page=99999999999&page_size=500"),
            "page_out_of_range"
        );
        for query in [
            "page=0",
            "page=1&page_size=0",
            "page=1&page_size=501",
            "page=-1",
        ] {
            assert_eq!(refused(query), "invalid_pagination_parameters", "{query}");
        }
        assert_eq!(
            shown("page=x", &names),
            Err(ApiError::bad("Pagination parameters are invalid"))
        );
    }
}
