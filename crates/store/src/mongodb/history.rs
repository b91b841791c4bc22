//! Reading rows back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ::mongodb::bson::{Bson, Document, RawDocumentBuf, doc};
use ::mongodb::{Cursor, Database};
use model::name::Name;
use model::sample::{Tags, Value};
use model::time::Timestamp;
use tokio::task::JoinSet;

use super::Shared;
use super::client::in_time;
use super::documents::date_from;
use super::registry::{self, Registered};
use crate::ReadError;
use crate::history::{
    FieldBuckets, FieldStatistics, Grid, History, Latest, MAX_PAGE, Order, Page, Pages, Selection,
    SeriesLatest, SeriesSpan, Tallies,
};

/// Most documents of an answer of the server. It also ends at 16 MiB.
pub(super) const ANSWER: u32 = 1_000;
/// Most series that are asked about at the same time.
const AT_ONCE: usize = 8;

/// Reads the rows of a collection. Clones share its connections.
///
/// It knows the series and fields that Rigline has written to the collection, not those of other documents.
#[derive(Debug, Clone)]
pub struct MongoHistory {
    pub(super) shared: Arc<Shared>,
}

impl MongoHistory {
    pub(super) fn of(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Asks the server whether it answers, and lets documents of the collection be read.
    pub async fn probe(&self) -> Result<(), ReadError> {
        let database = self.shared.database().await?;
        let collection = database.collection::<RawDocumentBuf>(&self.shared.settings.collection);
        // The index of ids is always there.
        in_time(collection.find_one(doc! { "_id": "-" })).await?;
        Ok(())
    }

    /// The tags of a key; `None` if no series of the pipeline has this key.
    fn tags(&self, key: &str) -> Option<(Tags<'static>, Document)> {
        let tags = self.shared.settings.layout.tags(key).ok()?;
        let by_name: BTreeMap<_, _> = tags
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        let filter = self.shared.with_tags(&by_name)?;
        let owned = tags.into_iter();
        let owned = owned.map(|(name, value)| (name.into_owned(), value.into_owned()));
        Some((owned.collect(), filter))
    }

    /// Documents ordered by time.
    async fn find(
        &self,
        filter: Document,
        order: Order,
        fields: &[String],
        limit: usize,
    ) -> Result<Cursor<RawDocumentBuf>, ReadError> {
        let database = self.shared.database().await?;
        let documents = &self.shared.documents;
        let collection = database.collection::<RawDocumentBuf>(&self.shared.settings.collection);
        let direction = match order {
            Order::OldestFirst => 1,
            Order::NewestFirst => -1,
        };
        let batch = u32::try_from(limit).map_or(ANSWER, |limit| limit.clamp(1, ANSWER));
        let mut find = collection
            .find(filter)
            .sort(doc! { documents.time(): direction })
            .batch_size(batch);
        if !fields.is_empty() {
            let mut wanted = doc! { "_id": 0, documents.time(): 1 };
            for field in fields {
                wanted.insert(documents.field(field), 1);
            }
            find = find.projection(wanted);
        }
        if limit == 1 {
            find = find.limit(1);
        }
        Ok(in_time(find).await?)
    }

    /// The first document in an order, with its time.
    async fn first(
        &self,
        filter: Document,
        order: Order,
    ) -> Result<Option<(Timestamp, RawDocumentBuf)>, ReadError> {
        let mut found = self.find(filter, order, &[], 1).await?;
        if !in_time(found.advance()).await? {
            return Ok(None);
        }
        let document = found.current().to_owned();
        Ok(self
            .shared
            .documents
            .time_of(&document)
            .map(|time| (time, document)))
    }

    /// The documents of a selection; `None` if there are none. `limit` is how many are needed at least.
    async fn scan(
        &self,
        of: Selection<'_>,
        order: Order,
        limit: usize,
    ) -> Result<Option<(Tags<'static>, Cursor<RawDocumentBuf>)>, ReadError> {
        let Some((tags, mut filter)) = self.tags(of.series).filter(|_| of.from < of.to) else {
            return Ok(None);
        };
        let documents = &self.shared.documents;
        let (from, to) = (date_from(of.from), date_from(of.to));
        filter.insert(documents.time(), doc! { "$gte": from, "$lt": to });
        // What can't be a name is the name of no field.
        let fields = of
            .fields
            .iter()
            .filter(|field| Name::new(field.as_str()).is_ok());
        let mut fields: Vec<_> = fields.cloned().collect();
        fields.sort_unstable();
        fields.dedup();
        if fields.is_empty() && !of.fields.is_empty() {
            return Ok(None);
        }
        if !fields.is_empty() {
            let any = fields
                .iter()
                .map(|field| Bson::from(doc! { documents.field(field): { "$exists": true } }));
            filter.insert("$or", any.collect::<Vec<_>>());
        }
        let found = self.find(filter, order, &fields, limit.max(2)).await?;
        Ok(Some((tags, found)))
    }

    async fn page(&self, of: Selection<'_>, limit: usize, order: Order) -> Result<Page, ReadError> {
        if limit == 0 {
            return Err(ReadError::BadRequest {
                detail: "a page has to have at least 1 row".into(),
            });
        }
        let limit = limit.min(MAX_PAGE);
        let mut pages = Pages::new(limit, order);
        let Some((tags, mut found)) = self.scan(of, order, limit + 1).await? else {
            return Ok(pages.page);
        };
        let documents = &self.shared.documents;
        while in_time(found.advance()).await? {
            let document = found.current();
            let Some(time) = documents.time_of(document) else {
                continue;
            };
            if !pages.row(&tags, time, documents.values(document)) {
                break;
            }
        }
        Ok(pages.page)
    }

    /// Reads all numbers of a selection and makes the statistics here: servers that only speak MongoDB's protocol
    /// have no deviation, and these are those of the other stores, bit by bit.
    async fn tally(&self, of: Selection<'_>, grid: Grid) -> Result<Vec<FieldBuckets>, ReadError> {
        let Some((tags, mut found)) = self.scan(of, Order::OldestFirst, usize::MAX).await? else {
            return Ok(Vec::new());
        };
        let id = self.shared.documents.series_id(&tags);
        let database = self.shared.database().await?;
        let fields = registry::fields_of(&self.shared, database, id).await?;
        let names: Vec<_> = fields
            .into_iter()
            .filter_map(|name| Name::new(name).ok())
            .collect();
        let places: BTreeMap<_, _> = names
            .iter()
            .enumerate()
            .map(|(at, name)| (name, at))
            .collect();
        let mut tallies = Tallies::new(grid, &names);
        while in_time(found.advance()).await? {
            let document = found.current();
            let Some(time) = self.shared.documents.time_of(document) else {
                continue;
            };
            for (name, value) in self.shared.documents.values(document) {
                if let (Some(place), Some(number)) = (places.get(&name), value.as_number()) {
                    tallies.add(*place, time.nanos(), number)?;
                }
            }
        }
        Ok(tallies.finish())
    }

    /// The newest value of each of these fields of a series.
    async fn latest_of(&self, key: &str, fields: &[String]) -> Result<Vec<Latest>, ReadError> {
        let Some((_, filter)) = self.tags(key) else {
            return Ok(Vec::new());
        };
        let documents = &self.shared.documents;
        let newest = self.first(filter.clone(), Order::NewestFirst).await?;
        let mut latest = Vec::with_capacity(fields.len());
        for field in fields {
            let value = |(time, document): &(Timestamp, RawDocumentBuf)| {
                let value: Value = documents.value_of(document, field)?;
                Some((*time, value))
            };
            // Mostly the newest document has them all.
            let mut found = newest.as_ref().and_then(value);
            if found.is_none() && newest.is_some() {
                let mut filter = filter.clone();
                filter.insert(documents.field(field), doc! { "$exists": true });
                let older = self.first(filter, Order::NewestFirst).await?;
                found = older.as_ref().and_then(value);
            }
            latest.extend(found.map(|(tick, value)| Latest {
                field: field.clone(),
                tick,
                value,
            }));
        }
        Ok(latest)
    }

    /// The times of the oldest and the newest row of a series; `None` if it has none.
    async fn span(&self, key: String) -> Result<Option<SeriesSpan>, ReadError> {
        let Some((tags, filter)) = self.tags(&key) else {
            return Ok(None);
        };
        let first = self.first(filter.clone(), Order::OldestFirst).await?;
        let last = self.first(filter, Order::NewestFirst).await?;
        Ok(first.zip(last).map(|((first, _), (last, _))| SeriesSpan {
            key,
            tags,
            first,
            last,
        }))
    }

    /// Asks about all series, some at the same time; returns the answers in the order of the series.
    async fn of_all<T, F>(&self, ask: impl Fn(Self, Registered) -> F) -> Result<Vec<T>, ReadError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, ReadError>> + Send + 'static,
    {
        let database: &Database = self.shared.database().await?;
        let series = registry::all_series(&self.shared, database).await?;
        let mut answers: BTreeMap<usize, T> = BTreeMap::new();
        // It ends the questions with the call.
        let mut asked = JoinSet::new();
        let mut waiting = series.into_iter().enumerate();
        loop {
            while asked.len() < AT_ONCE
                && let Some((place, series)) = waiting.next()
            {
                let answer = ask(self.clone(), series);
                asked.spawn(async move { (place, answer.await) });
            }
            let Some(joined) = asked.join_next().await else {
                return Ok(answers.into_values().collect());
            };
            let (place, answer) = joined.map_err(|error| ReadError::Unavailable {
                detail: format!("a question about a series ended early: {error}"),
            })?;
            answers.insert(place, answer?);
        }
    }
}

impl History for MongoHistory {
    async fn series(&self) -> Result<Vec<SeriesSpan>, ReadError> {
        let spans = self.of_all(|history, series| async move { history.span(series.key).await });
        Ok(spans.await?.into_iter().flatten().collect())
    }

    async fn fields(&self, series: Option<&str>) -> Result<Vec<String>, ReadError> {
        let database = self.shared.database().await?;
        match series.map(|key| self.tags(key)) {
            None => registry::all_fields(&self.shared, database).await,
            Some(None) => Ok(Vec::new()),
            Some(Some((tags, _))) => {
                let id = self.shared.documents.series_id(&tags);
                registry::fields_of(&self.shared, database, id).await
            }
        }
    }

    async fn latest(&self, series: &str) -> Result<Vec<Latest>, ReadError> {
        let fields = self.fields(Some(series)).await?;
        self.latest_of(series, &fields).await
    }

    async fn latest_of_all(&self) -> Result<Vec<SeriesLatest>, ReadError> {
        let latest = self.of_all(|history, Registered { key, fields }| async move {
            let values = history.latest_of(&key, &fields).await?;
            Ok(SeriesLatest { key, values })
        });
        let mut latest = latest.await?;
        latest.retain(|series| !series.values.is_empty());
        Ok(latest)
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
