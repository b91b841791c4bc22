//! What the fields of a window's rows are called, and what they are measured in.

use super::{PipelineFile, ShapeKind, Statistic, Statistics};

/// The names of a window's fields unless the file says otherwise.
const USUAL_NAMES: &str = "{field}_{statistic}";

impl Statistic {
    /// What is computed unless the file says otherwise.
    pub const USUAL: [Self; 5] = [Self::Count, Self::Mean, Self::Median, Self::Min, Self::Max];

    /// The name in a pipeline file, and in a field's name unless the file gives it another one.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Mean => "mean",
            Self::Median => "median",
            Self::Min => "min",
            Self::Max => "max",
            Self::Sum => "sum",
            Self::Stddev => "stddev",
            Self::First => "first",
            Self::Last => "last",
        }
    }
}

impl PipelineFile {
    /// The statistics of a window with the names that they get in the names of fields.
    #[must_use]
    pub fn statistics(&self) -> Vec<(String, Statistic)> {
        let named = |statistic: &Statistic| (statistic.name().to_owned(), *statistic);
        match self.rows.statistics.as_deref() {
            None => Statistic::USUAL.iter().map(named).collect(),
            Some(Statistics::List(list)) => list.iter().map(named).collect(),
            Some(Statistics::Named(named)) => {
                let named = named.iter();
                named
                    .map(|(name, statistic)| (name.clone(), *statistic))
                    .collect()
            }
        }
    }

    /// The template of the names of a window's fields: `{field}_{statistic}`.
    #[must_use]
    pub fn statistic_names(&self) -> &str {
        let names = self.rows.names.as_deref();
        names.map_or(USUAL_NAMES, String::as_str)
    }

    /// What a field of the pipeline's rows is measured in, if the file says so. A statistic of a window has the
    /// unit of its field; a count has none.
    #[must_use]
    pub fn unit_of(&self, name: &str) -> Option<&str> {
        let unit = |field: &str| self.fields.of(field)?.unit.as_deref();
        if self.shape() != ShapeKind::Window {
            return unit(name);
        }
        let statistics = self.statistics();
        let with_unit = statistics
            .iter()
            .filter(|(_, statistic)| *statistic != Statistic::Count);
        with_unit
            .filter_map(|(statistic, _)| self.field_of(name, statistic))
            .find_map(unit)
    }

    /// The field of which `name` is this statistic. Names without `{field}` are of a file whose messages hold one
    /// reading, called `value`.
    fn field_of<'a>(&self, name: &'a str, statistic: &str) -> Option<&'a str> {
        let names = self.statistic_names().replace("{statistic}", statistic);
        match names.split_once("{field}") {
            Some((before, behind)) => name.strip_prefix(before)?.strip_suffix(behind),
            None => (name == names).then_some("value"),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::pipeline::PipelineFile;

    fn units(rows: &str, names: &[&str]) -> Vec<Option<String>> {
        let text = format!(
            "name = \"a\"\n[source]\ntopic = \"a/{{b}}/{{field}}\"\n[fields.t]\nunit = \"°C\"\n\
             [fields.t_max]\nunit = \"bar\"\n[rows]\n{rows}"
        );
        let file = PipelineFile::parse("a.toml", &text, &|_| None).unwrap();
        let unit = |name: &&str| file.unit_of(name).map(str::to_owned);
        names.iter().map(unit).collect()
    }

    #[test]
    fn statistics_have_the_unit_of_their_field() {
        let some = |unit: &str| Some(unit.to_owned());
        assert_eq!(
            units("shape = \"pivot\"", &["t", "t_max", "t_mean", "u"]),
            [some("°C"), some("bar"), None, None]
        );
        let window = "shape = \"window\"\nevery = \"5s\"\n";
        assert_eq!(
            units(
                window,
                &[
                    "t_mean",
                    "t_max",
                    "t_max_max",
                    "t_count",
                    "t_stddev",
                    "u_mean"
                ]
            ),
            [some("°C"), some("°C"), some("bar"), None, None, None]
        );
        let named = format!(
            "{window}statistics = {{ avg = \"mean\", n = \"count\" }}\nnames = \"{{statistic}}.{{field}}.x\""
        );
        assert_eq!(
            units(&named, &["avg.t.x", "n.t.x", "mean.t.x", "avg.t"]),
            [some("°C"), None, None, None]
        );
    }
}
