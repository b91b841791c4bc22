//! Statements that read, and what they return.

use model::Layout;
use model::name::Name;
use model::sample::Tags;
use tokio_postgres::Row as Found;
use tokio_postgres::types::ToSql;

use crate::field_type::FieldType;
use crate::history::{Order, SeriesSpan};
use crate::postgres::error::Failure;
use crate::postgres::names::{TIME, quoted};
use crate::postgres::table::{Table, TagColumn, integer};
use crate::postgres::values::Micros;

/// A series as the table has it.
#[derive(Debug)]
pub(super) struct OfSeries {
    pub(super) tags: Tags<'static>,
    /// The values of its tags' columns, in order.
    columns: Vec<TagValue>,
}

/// The value of a tag's column.
#[derive(Debug)]
enum TagValue {
    Integer(i64),
    Text(String),
}

impl OfSeries {
    /// `None` if the table can't have such a series.
    pub(super) fn new(table: &Table, tags: Tags<'static>) -> Option<Self> {
        let known = |name: &str| table.tags.iter().any(|column| column.tag == name);
        if !tags.iter().all(|(name, _)| known(name)) {
            return None;
        }
        let value = |column: &TagColumn| {
            let mut tags = tags.iter();
            let tag = tags.find(|(name, _)| **name == *column.tag);
            match (tag, column.is_integer) {
                (Some((_, value)), true) => integer(value).ok().map(TagValue::Integer),
                (None, true) => None,
                (Some((_, value)), false) => Some(TagValue::Text(value.to_string())),
                (None, false) => Some(TagValue::Text(String::new())),
            }
        };
        let columns = table.tags.iter().map(value).collect::<Option<_>>()?;
        Some(Self { tags, columns })
    }

    /// The values of a statement with [`condition`](Self::condition).
    pub(super) fn values(&self) -> Vec<&(dyn ToSql + Sync)> {
        let columns = self.columns.iter();
        let values = columns.map(|value| match value {
            TagValue::Integer(value) => value as &(dyn ToSql + Sync),
            TagValue::Text(value) => value,
        });
        values.collect()
    }

    /// What its rows have in common; the values are the first ones of the statement.
    pub(super) fn condition(table: &Table) -> String {
        let tags = table.tags.iter().zip(1..);
        let tags = tags.map(|(column, number)| format!("{} = ${number}", column.name));
        tags.chain(["true".to_owned()])
            .collect::<Vec<_>>()
            .join(" AND ")
    }
}

/// The columns that are read, ordered by the names of their fields.
#[derive(Debug)]
pub(super) struct Columns {
    pub(super) fields: Vec<(Name<'static>, FieldType)>,
    /// Their names as statements have them.
    names: Vec<String>,
}

impl Columns {
    /// Those of these fields; of all if none are named.
    pub(super) fn new(table: &Table, fields: &[String]) -> Self {
        Self::of(table, fields, |_| true)
    }

    /// The same, but only those with numbers.
    pub(super) fn of_numbers(table: &Table, fields: &[String]) -> Self {
        Self::of(table, fields, FieldType::is_number)
    }

    fn of(table: &Table, fields: &[String], is_wanted: impl Fn(FieldType) -> bool) -> Self {
        let is_named = |name: &str| fields.is_empty() || fields.iter().any(|field| field == name);
        let columns = table.fields();
        let columns = columns.filter(|(name, column)| is_named(name) && is_wanted(column.kind));
        let columns = columns.filter_map(|(name, column)| {
            let field = Name::new(name.to_owned()).ok()?;
            Some(((field, column.kind), column.name.clone()))
        });
        let (fields, names) = columns.unzip();
        Self { fields, names }
    }
}

/// Rows of a series and a time range that have a value in one of the columns: the time, then the columns. The values
/// are those of the series, the first time, and the first time after.
pub(super) fn rows(
    table: &Table,
    series: &OfSeries,
    columns: &Columns,
    order: Order,
    limit: Option<usize>,
) -> String {
    let direction = match order {
        Order::OldestFirst => "ASC",
        Order::NewestFirst => "DESC",
    };
    let (from, to) = (series.columns.len() + 1, series.columns.len() + 2);
    let selected = [&[TIME.to_owned()], &columns.names[..]].concat();
    let selected = selected.join(", ");
    let there = columns.names.iter();
    let there = there.map(|name| format!("{name} IS NOT NULL"));
    // Without a column, there is no row.
    let there = there.chain(["false".to_owned()]).collect::<Vec<_>>();
    let (there, name) = (there.join(" OR "), &table.name);
    let condition = OfSeries::condition(table);
    let limit = limit.map_or_else(String::new, |limit| format!(" LIMIT {limit}"));
    format!(
        "SELECT {selected} FROM {name} WHERE {condition} AND {TIME} >= ${from} AND {TIME} < ${to}
            AND ({there}) ORDER BY {TIME} {direction}{limit}"
    )
}

/// All series: their tags, and the times of their oldest and newest rows. Each step looks for the next tags in the
/// index, so the cost grows with the series, not with the rows.
pub(super) fn series(table: &Table) -> String {
    let name = &table.name;
    if table.tags.is_empty() {
        return format!(
            "SELECT min({TIME}), max({TIME}) FROM {name} HAVING min({TIME}) IS NOT NULL"
        );
    }
    let list = |prefix: &str| {
        let tags = table.tags.iter().map(|tag| format!("{prefix}{}", tag.name));
        tags.collect::<Vec<_>>().join(", ")
    };
    let (tags, own, before) = (list(""), list("t."), list("s."));
    // No table has this name by chance.
    let step = quoted("rigline: series");
    let same = table.tags.iter();
    let same = same.map(|tag| format!("t.{0} = s.{0}", tag.name));
    let same = same.collect::<Vec<_>>().join(" AND ");
    format!(
        "WITH RECURSIVE {step} AS (
            (SELECT {tags} FROM {name} ORDER BY {tags} LIMIT 1)
            UNION ALL
            SELECT n.* FROM {step} s CROSS JOIN LATERAL (
                SELECT {own} FROM {name} t WHERE ({own}) > ({before}) ORDER BY {own} LIMIT 1) n)
         SELECT {before}, oldest.at, newest.at FROM {step} s
            CROSS JOIN LATERAL (SELECT t.{TIME} AS at FROM {name} t WHERE {same} ORDER BY {own}, t.{TIME} LIMIT 1) oldest
            CROSS JOIN LATERAL (SELECT t.{TIME} AS at FROM {name} t WHERE {same} ORDER BY t.{TIME} DESC LIMIT 1) newest"
    )
}

/// A series of the result; `None` if it can't be one of Rigline's.
pub(super) fn span(
    table: &Table,
    layout: Layout,
    row: &Found,
) -> Result<Option<SeriesSpan>, Failure> {
    let mut tags = Tags::with_capacity(table.tags.len());
    for (place, column) in table.tags.iter().enumerate() {
        let value = if column.is_integer {
            row.try_get::<_, i64>(place)?.to_string()
        } else {
            row.try_get::<_, String>(place)?
        };
        // A tag that a row doesn't have.
        if value.is_empty() {
            continue;
        }
        let (Ok(name), Ok(value)) = (Name::new(column.tag.clone()), Name::new(value)) else {
            return Ok(None);
        };
        tags.push((name, value));
    }
    let first: Micros = row.try_get(table.tags.len())?;
    let last: Micros = row.try_get(table.tags.len() + 1)?;
    Ok(Some(SeriesSpan {
        key: layout.series_key(&tags).into_owned(),
        tags,
        first: first.time(),
        last: last.time(),
    }))
}
