//! Lists as clients ask for them: pages, filters by name, order, columns.
//!
//! Items are made from their sources as they are written, and only those that are shown are made where the caller knows what a list
//! is ordered by. Of a long list the sources are in memory, and never more than a slice of the items: it is written while it is sent.
//! RabbitMQ docs: management#http-api pagination.

use crate::call::{Answer, Outcome};
use crate::error::ApiError;
use crate::json::{Json, Object};
use crate::pieces::{Gone, PieceWriter};
use crate::query::Query;
use regex::{Regex, RegexBuilder};
use std::cmp::Ordering;
use std::fmt;
use std::io::Write;
use std::pin::Pin;
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

/// Items that are made at once of a list that is made in slices.
const SLICE: usize = 256;

/// Makes the items of a list, a slice of its sources at a time.
pub(crate) trait Items<T>: Send + Sync + 'static {
    /// An item for each source; `None` for one that is gone.
    fn make(&self, sources: &[T]) -> impl Future<Output = Vec<Option<Object>>> + Send;
}

/// Makes items one at a time of what is at hand.
pub(crate) struct Each<F>(pub(crate) F);

impl<T: Sync, F: Fn(&T) -> Object + Send + Sync + 'static> Items<T> for Each<F> {
    async fn make(&self, sources: &[T]) -> Vec<Option<Object>> {
        sources
            .iter()
            .map(|source| Some((self.0)(source)))
            .collect()
    }
}

/// A list that is written while it is sent.
pub(crate) struct Stream(Box<dyn FnOnce(PieceWriter) -> Writing + Send>);

type Writing = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Stream {
    /// Writes the list, as fast as it is read.
    pub(crate) fn write(self, out: PieceWriter) -> impl Future<Output = ()> + Send {
        (self.0)(out)
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
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
    /// Contained, whatever the case; lower case and not empty.
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
        // Names are elsewhere in memory: none is looked at for nothing.
        if let Some(filter) = self.name_filter() {
            sources.retain(|source| filter.takes(name(source)));
        }
        Filtered { total, sources }
    }

    /// The same of sources that come with their names.
    pub(crate) fn filter_named<'n, T>(
        &self,
        named: impl Iterator<Item = (T, &'n str)>,
    ) -> Filtered<T> {
        let (mut total, filter) = (0, self.name_filter());
        let counted = named.inspect(|_| total += 1);
        let passing = counted.filter(|(_, name)| filter.is_none_or(|filter| filter.takes(name)));
        let sources = passing.map(|(source, _)| source).collect();
        Filtered { total, sources }
    }

    /// The same of sources whose names have to be made.
    pub(crate) fn filter_made<T>(
        &self,
        mut sources: Vec<T>,
        name: impl Fn(&T) -> String,
    ) -> Filtered<T> {
        let total = sources.len();
        if let Some(filter) = self.name_filter() {
            sources.retain(|source| filter.takes(&name(source)));
        }
        Filtered { total, sources }
    }

    /// Whether not all sources may pass.
    pub(crate) fn has_filter(&self) -> bool {
        self.name_filter().is_some()
    }

    fn name_filter(&self) -> Option<&NameFilter> {
        let filter = self.page.as_ref().map(|page| &page.name);
        filter.filter(|filter| !matches!(filter, NameFilter::All))
    }

    /// The sources of the page, where the order of the sources is the order of the page.
    ///
    /// # Errors
    /// There is no such page.
    pub(crate) fn cut<T>(&self, filtered: Filtered<T>) -> Result<Cut<T>, ApiError> {
        if self.sort.is_none() {
            return self.cut_in_order(filtered);
        }
        Ok(Cut {
            counts: filtered.counts(),
            sources: filtered.sources,
            is_ordered: false,
        })
    }

    /// The sources of the page, where they are in the order that is asked for.
    ///
    /// # Errors
    /// There is no such page.
    pub(crate) fn cut_in_order<T>(&self, filtered: Filtered<T>) -> Result<Cut<T>, ApiError> {
        let counts = filtered.counts();
        let mut sources = filtered.sources;
        if self.reverse {
            sources.reverse();
        }
        if let Some(page) = &self.page {
            page.check(counts.filtered)?;
            sources = sources
                .into_iter()
                .skip((page.number - 1) * page.size)
                .take(page.size)
                .collect();
        }
        Ok(Cut {
            counts,
            sources,
            is_ordered: true,
        })
    }

    /// What the list is ordered by, if not as its sources are.
    pub(crate) fn order(&self) -> Option<&str> {
        self.sort.as_deref()
    }

    /// What sources still have to be put in order by.
    fn order_left<T>(&self, cut: &Cut<T>) -> Option<&str> {
        self.order().filter(|_| !cut.is_ordered)
    }

    /// The sources of the page, where what they are ordered by is at hand.
    ///
    /// # Errors
    /// There is no such page.
    pub(crate) fn cut_by<T, K>(
        &self,
        filtered: Filtered<T>,
        key: impl Fn(&T) -> K,
        compare: impl Fn(&K, &K) -> Ordering,
    ) -> Result<Cut<T>, ApiError> {
        let counts = filtered.counts();
        let keys = filtered.sources.iter().map(key).collect();
        Ok(Cut {
            counts,
            sources: self.ordered(filtered.sources, keys, compare)?,
            is_ordered: true,
        })
    }

    /// The list, whose items are made in slices. A long one is written while it is sent.
    ///
    /// # Errors
    /// There is no such page.
    pub(crate) async fn stream<T, I>(self, cut: Cut<T>, items: I) -> Outcome
    where
        T: Send + Sync + 'static,
        I: Items<T>,
    {
        let sort = self.order_left(&cut);
        let Cut {
            counts,
            mut sources,
            ..
        } = cut;
        if let Some(sort) = sort {
            let mut keys = Vec::with_capacity(sources.len());
            let mut left = Vec::with_capacity(sources.len());
            let mut rest = sources.into_iter();
            while rest.len() > 0 {
                let slice: Vec<T> = rest.by_ref().take(SLICE).collect();
                let made = items.make(&slice).await;
                let made = slice.into_iter().zip(made);
                for (source, item) in made.filter_map(|(source, item)| Some((source, item?))) {
                    keys.push(key_in(item, sort));
                    left.push(source);
                }
            }
            sources = self.ordered(left, keys, Json::compare)?;
        }
        if self.page.is_none() && sources.len() > LONG {
            let columns = self.columns;
            return Ok(Answer::Streamed(Stream(Box::new(move |out| {
                Box::pin(async move {
                    // Who hangs up early misses the rest.
                    let _ = tell(out, &sources, &items, &columns).await;
                })
            }))));
        }
        let mut made = Vec::with_capacity(sources.len());
        for slice in sources.chunks(SLICE) {
            made.extend(items.make(slice).await.into_iter().flatten());
        }
        self.document(counts, made.into_iter())
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
        let sort = self.order_left(&cut);
        let Cut {
            counts,
            mut sources,
            ..
        } = cut;
        if let Some(sort) = sort {
            let keys = sources.iter().map(|source| key_in(item(source), sort));
            let keys = keys.collect();
            sources = self.ordered(sources, keys, Json::compare)?;
        }
        self.document(counts, sources.iter().map(item))
    }

    /// All of these items, with what the page says about itself.
    fn document(
        &self,
        Counts { total, filtered }: Counts,
        items: impl ExactSizeIterator<Item = Object>,
    ) -> Outcome {
        let mut out = Vec::new();
        if self.page.is_some() {
            let count = items.len();
            let start =
                format!("{{\"filtered_count\":{filtered},\"item_count\":{count},\"items\":");
            out.extend_from_slice(start.as_bytes());
        }
        out.push(b'[');
        for (index, item) in items.enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write_json(&mut out, &self.columns.apply(item));
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
    fn ordered<T, K>(
        &self,
        sources: Vec<T>,
        keys: Vec<K>,
        compare: impl Fn(&K, &K) -> Ordering,
    ) -> Result<Vec<T>, ApiError> {
        // Equal ones stay in the order of the sources, or turn it round with all others.
        let mut keyed: Vec<(K, usize)> = keys.into_iter().zip(0..).collect();
        let order = |(a, first): &(K, usize), (b, second): &(K, usize)| {
            let order = compare(a, b).then(first.cmp(second));
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

/// What a list is ordered by, in an item.
fn key_in(item: Object, path: &str) -> Json {
    let whole = Json::Object(item);
    whole.at(path.split('.')).cloned().unwrap_or(Json::Int(0))
}

fn write_json(out: &mut impl Write, value: &Json) {
    serde_json::to_writer(out, value).expect("JSON values can be written to memory");
}

/// Writes a list of no page.
async fn tell<T>(
    mut out: PieceWriter,
    sources: &[T],
    items: &impl Items<T>,
    columns: &Columns,
) -> Result<(), Gone> {
    let mut separator: &[u8] = b"[";
    for slice in sources.chunks(SLICE) {
        for item in items.make(slice).await.into_iter().flatten() {
            write_text(&mut out, std::mem::replace(&mut separator, b","));
            write_json(&mut out, &columns.apply(item));
            out.yield_if_full().await?;
        }
    }
    // All of them may be gone.
    if separator == b"[" {
        write_text(&mut out, b"[");
    }
    write_text(&mut out, b"]");
    out.finish().await
}

fn write_text(out: &mut PieceWriter, text: &[u8]) {
    out.write_all(text).expect("it is written to memory");
}

fn is_one_of_several_threads() -> bool {
    Handle::try_current()
        .is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread)
}

/// What a page says of its list.
#[derive(Clone, Copy, Debug)]
struct Counts {
    total: usize,
    /// Those that passed the name filter.
    filtered: usize,
}

/// Sources that passed the name filter.
#[derive(Debug)]
pub(crate) struct Filtered<T> {
    total: usize,
    /// The sources.
    pub(crate) sources: Vec<T>,
}

impl<T> Filtered<T> {
    fn counts(&self) -> Counts {
        Counts {
            total: self.total,
            filtered: self.sources.len(),
        }
    }

    /// All of them passed.
    pub(crate) fn all(sources: Vec<T>) -> Self {
        Self {
            total: sources.len(),
            sources,
        }
    }
}

/// Sources of a page, or all if they are still to be put in order.
#[derive(Debug)]
pub(crate) struct Cut<T> {
    counts: Counts,
    /// The sources.
    pub(crate) sources: Vec<T>,
    is_ordered: bool,
}

impl<T> Cut<T> {
    /// The same page of other sources, one for each.
    pub(crate) fn with<U>(self, sources: Vec<U>) -> Cut<U> {
        Cut {
            counts: self.counts,
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
            let given = match query.get("page_size") {
                Some(_) => size.to_string(),
                None => "undefined".to_owned(),
            };
            return Err(ApiError::Invalid(
                "invalid_pagination_parameters",
                format!("Invalid pagination parameters: page number {number}, page size {given}"),
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
            Self::Contains(part) if name.is_ascii() => contains(name.as_bytes(), part.as_bytes()),
            Self::Contains(part) => name.to_lowercase().contains(part),
            Self::Matches(regex) => regex.is_match(name),
            Self::Nothing => false,
        }
    }
}

/// Whether a part, which is lower case and not empty, is in an ASCII text, whatever the case.
fn contains(text: &[u8], part: &[u8]) -> bool {
    let Some((first, rest)) = part.split_first() else {
        return true;
    };
    memchr::memchr2_iter(*first, first.to_ascii_uppercase(), text).any(|place| {
        let behind = text.get(place + 1..=place + rest.len());
        behind.is_some_and(|behind| behind.eq_ignore_ascii_case(rest))
    })
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
    use http_body_util::BodyExt as _;

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

    /// Numbers, of which those that a seventh divides are gone when they are looked for.
    struct Numbers;

    impl Items<u64> for Numbers {
        async fn make(&self, sources: &[u64]) -> Vec<Option<Object>> {
            assert!(sources.len() <= SLICE);
            let item = |number: &u64| object! { "n" => *number, "rest" => *number % 10 };
            let is_there = |number: &&u64| !number.is_multiple_of(7);
            let items = sources.iter().map(|number| Some(number).filter(is_there));
            items.map(|number| number.map(item)).collect()
        }
    }

    async fn streamed(query: &str, count: u64) -> (bool, String) {
        let listing = Listing::new(&Query::parse(query)).unwrap();
        let filtered = listing.filter((0..count).collect(), |_| "");
        let cut = listing.cut(filtered).unwrap();
        let answer = listing.stream(cut, Numbers).await.unwrap();
        if let Answer::Written(bytes) = answer {
            return (false, String::from_utf8(bytes).unwrap());
        }
        let Answer::Streamed(stream) = answer else {
            panic!("lists are written");
        };
        let (out, body) = crate::pieces::pieces(false);
        let writing = tokio::spawn(stream.write(out));
        let bytes = body.collect().await.unwrap().to_bytes();
        writing.await.unwrap();
        (true, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_long_list_is_written_while_it_is_sent_and_is_the_same() {
        for query in ["columns=n", "columns=n&sort=rest&sort_reverse=true"] {
            let (is_stream, long) = streamed(query, 100_000).await;
            assert!(is_stream);
            let mut numbers: Vec<u64> = (0..100_000)
                .filter(|number: &u64| !number.is_multiple_of(7))
                .collect();
            if query.contains("sort") {
                numbers.reverse();
                numbers.sort_by_key(|number| std::cmp::Reverse(number % 10));
            }
            let items = numbers.iter().map(|number| format!("{{\"n\":{number}}}"));
            let expected = items.collect::<Vec<_>>().join(",");
            assert!(long == format!("[{expected}]"), "{query}");
        }
        assert_eq!(
            streamed("", 3).await,
            (false, r#"[{"n":1,"rest":1},{"n":2,"rest":2}]"#.to_owned())
        );
    }

    #[tokio::test]
    async fn a_page_of_a_long_list_is_made_of_what_is_there() {
        let (is_stream, page) = streamed("page=2&page_size=2&sort=n&columns=n", 10_000).await;
        assert!(!is_stream);
        let head = r#"{"filtered_count":10000,"item_count":2,"items":[{"n":3},{"n":4}],"page":2,"#;
        assert!(page.starts_with(head), "{page}");
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
        for (part, found) in [
            ("ALP", 1),
            ("%C3%A4r", 1),
            ("A", 3),
            ("x", 0),
            ("ta", 1),
            ("taa", 0),
            ("alphabet", 0),
        ] {
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
