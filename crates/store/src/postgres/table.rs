//! The table of a pipeline.

use std::collections::{BTreeMap, BTreeSet};

use model::row::Row;
use model::sample::Value;

use super::connection::Connection;
use super::error::Failure;
use super::names::{TIME, field_column, field_of, quoted, tag_column};
use super::settings::PostgresSettings;
use super::values::{field_type, sql_type};
use crate::field_type::FieldType;

/// The columns of a table: name, type, and whether it is a part of the primary key.
const COLUMNS: &str = "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod),
        EXISTS (SELECT 1 FROM pg_index i
            WHERE i.indrelid = a.attrelid AND i.indisprimary AND a.attnum = ANY (i.indkey))
    FROM pg_attribute a WHERE a.attrelid = to_regclass($1::text) AND a.attnum > 0 AND NOT a.attisdropped";

/// Whether tables can be created in the schema where they would be.
const MAY_CREATE: &str = "SELECT coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)";

/// What is known of a table.
#[derive(Debug, Clone)]
pub(super) struct Table {
    /// Its name as statements have it.
    pub(super) name: String,
    /// The columns of the tags, in the order of the tags' names.
    pub(super) tags: Vec<TagColumn>,
    /// The names of these columns.
    tag_columns: BTreeSet<String>,
    /// Columns of fields by the fields' names.
    fields: BTreeMap<String, FieldColumn>,
    /// Columns that Rigline has no values for, by their names, with their types.
    others: BTreeMap<String, String>,
}

/// The column of a tag.
#[derive(Debug, Clone)]
pub(super) struct TagColumn {
    pub(super) tag: String,
    /// Its name.
    column: String,
    /// Its name as statements have it.
    pub(super) name: String,
    pub(super) is_integer: bool,
}

impl TagColumn {
    pub(super) const fn sql_type(&self) -> &'static str {
        if self.is_integer { "bigint" } else { "text" }
    }
}

/// The column of a field.
#[derive(Debug, Clone)]
pub(super) struct FieldColumn {
    /// Its name as statements have it.
    pub(super) name: String,
    pub(super) kind: FieldType,
}

impl Table {
    /// The table of a pipeline without what the server has of it.
    fn of(settings: &PostgresSettings) -> Self {
        let tags = settings.tags.iter().map(|tag| {
            let column = tag_column(tag);
            TagColumn {
                tag: tag.clone(),
                name: quoted(&column),
                is_integer: settings.integer_tags.contains(tag),
                column: column.into_owned(),
            }
        });
        let tags: Vec<_> = tags.collect();
        Self {
            name: quoted(&settings.table),
            tag_columns: tags.iter().map(|tag| tag.column.clone()).collect(),
            tags,
            fields: BTreeMap::new(),
            others: BTreeMap::new(),
        }
    }

    /// Creates the table if there is none, and checks its columns.
    pub(super) async fn prepare(
        connection: &Connection,
        settings: &PostgresSettings,
    ) -> Result<Self, Failure> {
        if let Some(table) = Self::find(connection, settings).await? {
            return Ok(table);
        }
        let mut table = Self::of(settings);
        let tags = table.tags.iter().map(|tag| {
            if tag.is_integer {
                format!("{} bigint NOT NULL", tag.name)
            } else {
                // Tags are compared byte by byte, as everywhere in Rigline.
                format!("{} text COLLATE \"C\" NOT NULL DEFAULT ''", tag.name)
            }
        });
        let mut columns: Vec<_> = tags.collect();
        columns.push(format!("{TIME} timestamptz NOT NULL"));
        let (name, key) = (&table.name, table.key());
        let columns = columns.join(", ");
        let create = format!("CREATE TABLE IF NOT EXISTS {name} ({columns}, PRIMARY KEY ({key}))");
        connection
            .execute(&create)
            .await
            .map_err(Failure::of_setup)?;
        table.read(connection).await?;
        Ok(table)
    }

    /// The table with its columns; `None` if there is none.
    pub(super) async fn find(
        connection: &Connection,
        settings: &PostgresSettings,
    ) -> Result<Option<Self>, Failure> {
        let mut table = Self::of(settings);
        Ok(table.read(connection).await?.then_some(table))
    }

    /// Fails if this user may not create tables.
    pub(super) async fn check_creation(connection: &Connection) -> Result<(), Failure> {
        let answer = connection.query(MAY_CREATE, &[]).await?;
        let may = answer.first().map(|row| row.try_get(0)).transpose()?;
        if may == Some(true) {
            Ok(())
        } else {
            let detail = "there is no table yet, and the user may not create one: it needs the privilege CREATE on the \
                          first schema of its search_path that exists";
            Err(Failure::denied(detail))
        }
    }

    /// Reads what columns there are, and checks those of tags and time. Returns whether there is a table.
    async fn read(&mut self, connection: &Connection) -> Result<bool, Failure> {
        let found = connection.query(COLUMNS, &[&self.name]).await?;
        let (mut columns, mut key) = (BTreeMap::new(), BTreeSet::new());
        for row in &found {
            let (name, kind): (String, String) = (row.try_get(0)?, row.try_get(1)?);
            if row.try_get(2)? {
                key.insert(name.clone());
            }
            columns.insert(name, kind);
        }
        if found.is_empty() {
            return Ok(false);
        }
        self.check(&mut columns, &key)?;
        self.fields.clear();
        self.others.clear();
        for (column, kind) in columns {
            match field_type(&kind) {
                Some(kind) => {
                    let name = quoted(&column);
                    let field = field_of(&column).to_owned();
                    self.fields.insert(field, FieldColumn { name, kind });
                }
                None => {
                    self.others.insert(column, kind);
                }
            }
        }
        Ok(true)
    }

    /// Takes the columns of tags and time out, if they are as a pipeline with these tags has them.
    fn check(
        &self,
        columns: &mut BTreeMap<String, String>,
        key: &BTreeSet<String>,
    ) -> Result<(), Failure> {
        let tags = self.tags.iter();
        let expected = tags.map(|tag| (tag.column.as_str(), tag.sql_type()));
        let expected: Vec<_> = expected
            .chain([(TIME, "timestamp with time zone")])
            .collect();
        let wanted: BTreeSet<_> = expected
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .collect();
        if *key != wanted {
            let list = |names: &BTreeSet<String>| {
                let names: Vec<_> = names.iter().map(String::as_str).collect();
                names.join(", ")
            };
            return Err(Failure::denied(&format!(
                "the table {} has the primary key ({}), but the pipeline's tags need ({}): the tags of a table can't \
                 be changed, name another one",
                self.name,
                list(key),
                list(&wanted)
            )));
        }
        for (name, kind) in expected {
            if let Some(found) = columns.remove(name)
                && found != kind
            {
                return Err(Failure::denied(&format!(
                    "the column {} of the table {} is of type {found}, but has to be of type {kind}",
                    quoted(name),
                    self.name
                )));
            }
        }
        Ok(())
    }

    /// Adds columns for these fields.
    pub(super) async fn add(
        &mut self,
        connection: &Connection,
        fields: &[(&str, FieldType)],
    ) -> Result<(), Failure> {
        let mut added = Vec::new();
        for (field, kind) in fields {
            // What can't be a column was refused before.
            let column = field_column(field, &self.tag_columns);
            let column = column.map_err(|problem| Failure::retry(&problem))?;
            if let Some(other) = self.others.get(&*column) {
                return Err(Failure::denied(&format!(
                    "the column {} of the table {} is of type {other}, but values of the field {field:?} need {}",
                    quoted(&column),
                    self.name,
                    sql_type(*kind)
                )));
            }
            let (name, kind) = (quoted(&column), sql_type(*kind));
            added.push(format!("ADD COLUMN IF NOT EXISTS {name} {kind}"));
        }
        let alter = format!("ALTER TABLE {} {}", self.name, added.join(", "));
        connection.execute(&alter).await?;
        if !self.read(connection).await? {
            return Err(Failure::retry("the table was removed meanwhile"));
        }
        Ok(())
    }

    /// Fails if PostgreSQL can't have something of a row.
    pub(super) fn check_row(&self, row: &Row<'_>) -> Result<(), String> {
        if row.fields.is_empty() {
            return Err("it has no fields".to_owned());
        }
        let mut columns = self.tags.iter();
        for (tag, value) in &row.tags {
            let column = columns.find(|column| column.tag == tag.as_str());
            let column = column.ok_or_else(|| {
                format!(
                    "its tags aren't tags of the pipeline, or aren't in order: {:?}",
                    tag.as_str()
                )
            })?;
            if column.is_integer {
                integer(value)?;
            }
        }
        let is_there = |column: &TagColumn| row.tags.iter().any(|(tag, _)| **tag == *column.tag);
        let mut integers = self.tags.iter().filter(|column| column.is_integer);
        if let Some(missing) = integers.find(|column| !is_there(column)) {
            return Err(format!(
                "it has no tag {:?}, which is an integer",
                missing.tag
            ));
        }
        for (name, value) in &row.fields {
            if !self.fields.contains_key(name.as_str()) {
                field_column(name, &self.tag_columns)?;
            }
            match value {
                Value::Float(number) if !number.is_finite() => {
                    return Err(format!("its field {:?} is {number}", name.as_str()));
                }
                Value::String(text) if text.contains('\0') => {
                    return Err(format!(
                        "its field {:?} has a character U+0000, which PostgreSQL can't store",
                        name.as_str()
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn field(&self, name: &str) -> Option<&FieldColumn> {
        self.fields.get(name)
    }

    /// Fields and their columns, in order of the fields.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, &FieldColumn)> {
        self.fields
            .iter()
            .map(|(name, column)| (name.as_str(), column))
    }

    /// The columns of the primary key.
    pub(super) fn key(&self) -> String {
        let tags = self.tags.iter().map(|tag| tag.name.as_str());
        tags.chain([TIME]).collect::<Vec<_>>().join(", ")
    }
}

/// The number that a tag stands for, which no other tag does.
pub(super) fn integer(tag: &str) -> Result<i64, String> {
    let number = tag.parse::<i64>().ok();
    number
        .filter(|number| number.to_string() == tag)
        .ok_or_else(|| format!("its tag {tag:?} isn't an integer of 64 bits"))
}
