//! Flux queries and their parameters.
//!
//! A script is a constant. What differs from request to request is sent beside it, as the syntax tree of a file of
//! assignments (`extern`), so that no string of a request is ever read as Flux.

use serde_json::{Value as Json, json};

/// Tags that the server takes for the value and the measurement where it evaluates predicates.
const NOT_IN_PREDICATES: [&str; 2] = ["$", "_name"];

/// A constant Flux script.
#[derive(Debug, Clone, Copy)]
pub(super) struct Script(&'static str);

/// Reads the rows that `$rows` names between `p_from` and `p_to`, and does `$and` with them.
macro_rules! read {
    ($rows:literal, $and:literal) => {
        concat!(
            "from(bucket: p_bucket)
                |> range(start: time(v: p_from), stop: time(v: p_to))
                |> filter(fn: ",
            $rows,
            ") |> ",
            $and,
            " |> drop(columns: [\"_start\", \"_stop\", \"_measurement\"])
            "
        )
    };
}

/// Escapes strings: the server's CSV loses carriage returns, and adds one before each line feed.
macro_rules! escape {
    () => {
        "|> map(fn: (r) => ({r with _value: strings.replaceAll(
            v: strings.replaceAll(v: r._value, t: \"\\\\\", u: \"\\\\\\\\\"), t: \"\\r\", u: \"\\\\r\",
        )}))
        "
    };
}

/// Reads strings: those that aren't empty, and those that are. Read together, the server gives strings behind an
/// empty one wrong times: <https://github.com/influxdata/influxdb/issues/26916>.
macro_rules! read_texts {
    ($and:literal) => {
        concat!(
            "import \"strings\"\n",
            read!("p_texts", $and),
            escape!(),
            "|> yield(name: \"texts\")\n",
            read!("p_empty", $and),
            "|> yield(name: \"empty\")"
        )
    };
}

impl Script {
    /// The oldest value of each field of each series, and the newest one. Strings aren't escaped.
    pub(super) const SPANS: Self = Self(concat!(
        read!("p_rows", "first()"),
        "|> yield(name: \"first\")\n",
        read!("p_rows", "last()"),
        "|> yield(name: \"last\")"
    ));
    /// The newest value of each field of each series. Strings aren't escaped.
    pub(super) const LAST: Self = Self(read!("p_rows", "last()"));
    /// The newest string of each field of each series. A field of another type makes the server's `map` fail.
    pub(super) const LAST_TEXTS: Self = Self(concat!(
        "import \"strings\"\n",
        read!("p_rows", "last()"),
        escape!()
    ));
    /// The oldest values that aren't strings.
    pub(super) const OLDEST: Self = Self(read!("p_rows", "limit(n: p_limit)"));
    /// The newest values that aren't strings, in order of time.
    pub(super) const NEWEST: Self = Self(read!("p_rows", "tail(n: p_limit)"));
    /// The oldest strings.
    pub(super) const OLDEST_TEXTS: Self = Self(read_texts!("limit(n: p_limit)"));
    /// The newest strings, in order of time.
    pub(super) const NEWEST_TEXTS: Self = Self(read_texts!("tail(n: p_limit)"));
}

/// The parameters of a script, as assignments of a Flux file.
#[derive(Debug, Clone, Default)]
pub(super) struct Parameters(Vec<Json>);

impl Parameters {
    pub(super) fn string(self, name: &str, value: &str) -> Self {
        self.with(name, &string(value))
    }

    /// A tick.
    pub(super) fn tick(self, name: &str, tick: i64) -> Self {
        let digits = json!({ "type": "IntegerLiteral", "value": tick.unsigned_abs().to_string() });
        if tick >= 0 {
            return self.with(name, &digits);
        }
        // A literal has no sign.
        let negative = json!({ "type": "UnaryExpression", "operator": "-", "argument": digits });
        self.with(name, &negative)
    }

    /// A number of rows.
    pub(super) fn count(self, name: &str, count: usize) -> Self {
        let digits = json!({ "type": "IntegerLiteral", "value": count.to_string() });
        self.with(name, &digits)
    }

    pub(super) fn rows(self, name: &str, predicate: &Predicate) -> Self {
        let parameter = json!({ "type": "Property", "key": identifier("r"), "value": null });
        let function = json!({
            "type": "FunctionExpression", "params": [parameter], "body": predicate.0,
        });
        self.with(name, &function)
    }

    fn with(mut self, name: &str, value: &Json) -> Self {
        self.0.push(json!({
            "type": "VariableAssignment", "id": identifier(name), "init": value,
        }));
        self
    }
}

/// The body of a request.
pub(super) fn request(script: Script, parameters: &Parameters) -> Json {
    json!({
        "type": "flux",
        "query": script.0,
        "extern": {
            "type": "File", "package": null, "imports": null, "body": parameters.0,
        },
        "dialect": {
            "header": true, "delimiter": ",", "annotations": ["datatype"], "dateTimeFormat": "RFC3339Nano",
        },
    })
}

/// Which rows of a bucket to read: the body of a Flux function of `r`, which the server evaluates where it reads
/// its files.
#[derive(Debug, Clone)]
pub(super) struct Predicate(Json);

impl Predicate {
    /// Rows whose column has this value.
    pub(super) fn equal(column: &str, value: &str) -> Self {
        Self(compared(column, "==", value))
    }

    /// Rows whose column has another value.
    pub(super) fn different(column: &str, value: &str) -> Self {
        Self(compared(column, "!=", value))
    }

    /// Rows whose tag has this value; `None` if the server can't compare it.
    pub(super) fn tag(tag: &str, value: &str) -> Option<Self> {
        (!NOT_IN_PREDICATES.contains(&tag)).then(|| Self::equal(tag, value))
    }

    /// Rows without this tag; `None` if the server can't compare it.
    pub(super) fn without_tag(tag: &str) -> Option<Self> {
        let exists = json!({
            "type": "UnaryExpression", "operator": "exists", "argument": member(tag),
        });
        let absent = json!({ "type": "UnaryExpression", "operator": "not", "argument": exists });
        (!NOT_IN_PREDICATES.contains(&tag)).then_some(Self(absent))
    }

    /// Rows that pass both.
    pub(super) fn and(&self, other: &Self) -> Self {
        Self(joined("and", &self.0, &other.0))
    }

    /// Rows that pass all, or `None` without predicates.
    pub(super) fn all(predicates: Vec<Self>) -> Option<Self> {
        balanced("and", predicates)
    }

    /// Rows that pass any, or `None` without predicates.
    pub(super) fn any(predicates: Vec<Self>) -> Option<Self> {
        balanced("or", predicates)
    }
}

/// A tree as low as possible: the server reads at most 128 levels.
fn balanced(operator: &str, mut predicates: Vec<Predicate>) -> Option<Predicate> {
    while predicates.len() > 1 {
        let mut pairs = Vec::with_capacity(predicates.len().div_ceil(2));
        let mut rest = predicates.into_iter();
        while let Some(left) = rest.next() {
            pairs.push(match rest.next() {
                Some(right) => Predicate(joined(operator, &left.0, &right.0)),
                None => left,
            });
        }
        predicates = pairs;
    }
    predicates.pop()
}

fn joined(operator: &str, left: &Json, right: &Json) -> Json {
    json!({ "type": "LogicalExpression", "operator": operator, "left": left, "right": right })
}

fn compared(column: &str, operator: &str, value: &str) -> Json {
    json!({
        "type": "BinaryExpression", "operator": operator, "left": member(column), "right": string(value),
    })
}

/// The column of a row; any string can be its name.
fn member(column: &str) -> Json {
    json!({ "type": "MemberExpression", "object": identifier("r"), "property": string(column) })
}

fn string(value: &str) -> Json {
    json!({ "type": "StringLiteral", "value": value })
}

fn identifier(name: &str) -> Json {
    json!({ "type": "Identifier", "name": name })
}
