//! Reading rows from `InfluxDB` 2 with Flux.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use model::Layout;
use model::sample::Tags;
use model::time::Timestamp;

use super::answer::Target;
use super::clients::Clients;
use super::{BuildError, InfluxSettings, Measurement};
use crate::ReadError;
use crate::history::{
    FieldBuckets, FieldStatistics, Grid, History, Latest, MAX_PAGE, MAX_PAGE_VALUES, Order, Page,
    Selection, SeriesLatest, SeriesSpan, Tallies,
};

mod page;
mod query;
mod scan;
mod series;
mod server;
mod tables;
#[cfg(test)]
mod tests;

use query::{Parameters, Predicate, Script};
use scan::{NumberScan, PageScan, Source, Window, Windows};
use series::{Found, Newest, tags_of};
use server::Server;
use tables::Kind;

/// The first tick that the server stores.
const FIRST_TICK: i64 = i64::MIN + 2;
/// Most values of a response with numbers, or 1,000 of each field: far less than fits into the time limit.
const NUMBERS: usize = 500_000;

/// Reads the rows of a measurement. Clones share its connections.
///
/// Series of the measurement that Rigline doesn't write, because their tags can't be a key, are left out.
#[derive(Debug, Clone)]
pub struct InfluxHistory {
    server: Arc<Server>,
    measurement: Measurement,
    layout: Layout,
}

impl InfluxHistory {
    /// Creates the client. Connects at the first request.
    pub fn new(
        settings: &InfluxSettings,
        measurement: Measurement,
        layout: Layout,
    ) -> Result<Self, BuildError> {
        let target = Target::new(settings)?;
        let clients = Clients::new(settings)?;
        Ok(Self {
            server: Arc::new(Server { clients, target }),
            measurement,
            layout,
        })
    }

    /// All rows of the measurement.
    fn rows(&self) -> Predicate {
        Predicate::equal("_measurement", self.measurement.as_str())
    }

    /// Rows among which are those of the series with these tags, and mostly no others but of series with more
    /// tags.
    fn rows_with(&self, tags: &Tags<'_>) -> Predicate {
        let tags = tags.iter();
        let tags = tags.filter_map(|(name, value)| Predicate::tag(name, value));
        match Predicate::all(tags.collect()) {
            Some(tags) => self.rows().and(&tags),
            None => self.rows(),
        }
    }

    async fn found(
        &self,
        script: Script,
        rows: &Predicate,
        range: Window,
    ) -> Result<Found, ReadError> {
        let mut found = Found::new(self.layout);
        let parameters = in_window(range).rows("p_rows", rows);
        self.server.run(script, parameters, &mut found).await?;
        Ok(found)
    }

    /// The newest values of each field of the series that pass a predicate, by the series' keys.
    async fn newest_values(
        &self,
        rows: &Predicate,
    ) -> Result<BTreeMap<String, Vec<Latest>>, ReadError> {
        let mut newest = Newest::new(self.layout);
        let parameters = in_window(ALWAYS).rows("p_rows", rows);
        self.server
            .run(Script::LAST, parameters, &mut newest)
            .await?;
        let texts = newest
            .texts
            .iter()
            .map(|field| Predicate::equal("_field", field));
        if let Some(texts) = Predicate::any(texts.collect()) {
            let parameters = in_window(ALWAYS).rows("p_rows", &rows.and(&texts));
            newest.is_escaped = true;
            self.server
                .run(Script::LAST_TEXTS, parameters, &mut newest)
                .await?;
        }
        Ok(newest.finish())
    }

    /// What is to be read of a selection; `None` if there is nothing.
    async fn source(
        &self,
        of: Selection<'_>,
        wants: fn(Kind) -> bool,
    ) -> Result<Option<Source>, ReadError> {
        let range = Window {
            from: of.from.nanos().max(FIRST_TICK),
            to: of.to.nanos(),
        };
        let tags = tags_of(self.layout, of.series).filter(|_| range.from < range.to);
        let Some(tags) = tags else {
            return Ok(None);
        };
        let mut rows = self.rows_with(&tags);
        let asked = of
            .fields
            .iter()
            .map(|field| Predicate::equal("_field", field));
        if let Some(fields) = Predicate::any(asked.collect()) {
            rows = rows.and(&fields);
        }
        let mut found = self.found(Script::SPANS, &rows, range).await?;
        let Some(series) = found.series.remove(of.series) else {
            return Ok(None);
        };
        // Otherwise the server would read series with more tags, too.
        let others = found.series.values().flat_map(|other| &other.tags);
        let others: BTreeSet<_> = others.map(|(name, _)| name).collect();
        let more = others.into_iter().filter(|name| !series.has_tag(name));
        let absent = more.filter_map(|name| Predicate::without_tag(name));
        if let Some(absent) = Predicate::all(absent.collect()) {
            rows = rows.and(&absent);
        }
        let of_kinds = |is_wanted: &dyn Fn(Kind) -> bool| {
            let fields = series.fields.iter().filter(|(_, kind)| is_wanted(**kind));
            let fields = fields.map(|(name, _)| Predicate::equal("_field", name));
            Predicate::any(fields.collect()).map(|fields| rows.and(&fields))
        };
        let others = of_kinds(&|kind| kind != Kind::String && wants(kind));
        let texts = of_kinds(&|kind| kind == Kind::String && wants(kind));
        if others.is_none() && texts.is_none() {
            return Ok(None);
        }
        let fields = series.fields.into_iter();
        let fields = fields.filter_map(|(name, kind)| wants(kind).then_some(name));
        Ok(Some(Source {
            tags: series.tags,
            fields: fields.collect(),
            others,
            texts,
            first: series.first,
            last: series.last,
        }))
    }

    async fn page(&self, of: Selection<'_>, limit: usize, order: Order) -> Result<Page, ReadError> {
        if limit == 0 {
            return Err(ReadError::BadRequest {
                detail: "a page has to have at least 1 row".into(),
            });
        }
        let Some(source) = self.source(of, |_| true).await? else {
            return Ok(Page {
                rows: Vec::new(),
                next: None,
            });
        };
        let limit = limit.min(MAX_PAGE);
        // One more than the page can have shows that there are more.
        let points = limit.min(MAX_PAGE_VALUES / source.fields.len()).max(1) + 1;
        let mut page = PageScan::new(&source, order, limit, points);
        let mut windows = Windows::new(order, source.first, source.last);
        while !page.rows.is_ended()
            && let Some(window) = windows.next()
        {
            let (others, texts) = match order {
                Order::OldestFirst => (Script::OLDEST, Script::OLDEST_TEXTS),
                Order::NewestFirst => (Script::NEWEST, Script::NEWEST_TEXTS),
            };
            let parameters = || in_window(window).count("p_limit", points);
            if let Some(rows) = &source.others {
                let parameters = parameters().rows("p_rows", rows);
                self.server.run(others, parameters, &mut page).await?;
            }
            if let Some(rows) = &source.texts {
                let empty = rows.and(&Predicate::equal("_value", ""));
                let other = rows.and(&Predicate::different("_value", ""));
                let parameters = parameters().rows("p_empty", &empty).rows("p_texts", &other);
                self.server.run(texts, parameters, &mut page).await?;
            }
            windows.pass(window);
        }
        Ok(page.rows.finish(&source.tags, &source.fields))
    }

    /// Reads all numbers of a selection and makes the statistics here.
    ///
    /// The server has no standard deviation that it makes where it reads its files, so it would read all values,
    /// too, and its sums lose small differences of large values. Here they are exactly those of a
    /// [`SqliteHistory`](crate::SqliteHistory). 4 million values took 5 s on two busy cores.
    async fn tally(&self, of: Selection<'_>, grid: Grid) -> Result<Vec<FieldBuckets>, ReadError> {
        let is_number = |kind| matches!(kind, Kind::Float | Kind::Integer);
        let Some(source) = self.source(of, is_number).await? else {
            return Ok(Vec::new());
        };
        let points = (NUMBERS / source.fields.len()).max(1_000);
        let mut tallies = Tallies::new(grid, &source.fields);
        let mut numbers = NumberScan::new(&source, points, |field, tick, number| {
            tallies.add(field, tick, number)
        });
        let mut windows = Windows::new(Order::OldestFirst, source.first, source.last);
        while let Some(window) = windows.next()
            && let Some(rows) = &source.others
        {
            let parameters = in_window(window).count("p_limit", points);
            let parameters = parameters.rows("p_rows", rows);
            self.server
                .run(Script::OLDEST, parameters, &mut numbers)
                .await?;
            match numbers.resume.take() {
                Some(tick) => windows.resume(window, tick),
                None => windows.pass(window),
            }
        }
        Ok(tallies.finish())
    }
}

impl History for InfluxHistory {
    async fn series(&self) -> Result<Vec<SeriesSpan>, ReadError> {
        let found = self.found(Script::SPANS, &self.rows(), ALWAYS).await?;
        let spans = found.series.into_iter().map(|(key, series)| SeriesSpan {
            key,
            tags: series.tags,
            first: Timestamp::from_nanos(series.first),
            last: Timestamp::from_nanos(series.last),
        });
        Ok(spans.collect())
    }

    async fn fields(&self, series: Option<&str>) -> Result<Vec<String>, ReadError> {
        let rows = match series {
            None => self.rows(),
            Some(key) => match tags_of(self.layout, key) {
                Some(tags) => self.rows_with(&tags),
                None => return Ok(Vec::new()),
            },
        };
        let mut found = self.found(Script::LAST, &rows, ALWAYS).await?;
        if let Some(key) = series {
            found.series.retain(|other, _| other == key);
        }
        let fields = found.series.into_values().flat_map(|it| it.fields);
        let names: BTreeSet<_> = fields.map(|(name, _)| name.into_inner()).collect();
        Ok(names.into_iter().map(Into::into).collect())
    }

    async fn latest(&self, series: &str) -> Result<Vec<Latest>, ReadError> {
        let Some(tags) = tags_of(self.layout, series) else {
            return Ok(Vec::new());
        };
        let mut newest = self.newest_values(&self.rows_with(&tags)).await?;
        Ok(newest.remove(series).unwrap_or_default())
    }

    async fn latest_of_all(&self) -> Result<Vec<SeriesLatest>, ReadError> {
        let newest = self.newest_values(&self.rows()).await?.into_iter();
        let newest = newest.map(|(key, values)| SeriesLatest { key, values });
        Ok(newest.collect())
    }

    async fn range(&self, of: Selection<'_>, limit: usize) -> Result<Page, ReadError> {
        self.page(of, limit, Order::OldestFirst).await
    }

    async fn newest(&self, of: Selection<'_>, limit: usize) -> Result<Page, ReadError> {
        self.page(of, limit, Order::NewestFirst).await
    }

    async fn buckets(
        &self,
        of: Selection<'_>,
        bucket: Duration,
    ) -> Result<Vec<FieldBuckets>, ReadError> {
        self.tally(of, Grid::new(bucket, of.from, of.to)?).await
    }

    async fn statistics(&self, of: Selection<'_>) -> Result<Vec<FieldStatistics>, ReadError> {
        let fields = self.tally(of, Grid::whole(of.from)).await?;
        Ok(FieldStatistics::of_whole(fields))
    }
}

/// All ticks that the server stores.
const ALWAYS: Window = Window {
    from: FIRST_TICK,
    to: i64::MAX,
};

fn in_window(window: Window) -> Parameters {
    Parameters::default()
        .tick("p_from", window.from)
        .tick("p_to", window.to)
}
