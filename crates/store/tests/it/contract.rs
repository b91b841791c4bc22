//! What every store with a history promises. What all stores promise of writes is in `writes`.

use store::history::Selection;

use crate::fixture::{OnInflux, OnInfluxOfRigs, OnSqlite, OnTagged, all, seconds};
#[cfg(feature = "mongodb")]
use crate::fixture::{OnMongo, OnMongoOfRigs};
#[cfg(feature = "postgres")]
use crate::fixture::{OnPostgres, OnPostgresOfRigs};

mod buckets;
mod pages;
mod rows;

type TaggedOnSqlite = OnTagged<OnSqlite>;
type TaggedOnInflux = OnTagged<OnInflux>;
#[cfg(feature = "mongodb")]
type TaggedOnMongo = OnTagged<OnMongo>;
#[cfg(feature = "postgres")]
type TaggedOnPostgres = OnTagged<OnPostgres>;

macro_rules! contract {
    ($($theme:ident: $($test:ident)+;)+) => {
        contract! { on_sqlite, OnSqlite; $($theme: $($test)+;)+ }
        contract! { on_sqlite_with_any_tags, TaggedOnSqlite; $($theme: $($test)+;)+ }
        contract! { on_influxdb, OnInfluxOfRigs; $($theme: $($test)+;)+ }
        contract! { on_influxdb_with_any_tags, TaggedOnInflux; $($theme: $($test)+;)+ }
        #[cfg(feature = "mongodb")]
        contract! { on_mongodb, OnMongoOfRigs; $($theme: $($test)+;)+ }
        #[cfg(feature = "mongodb")]
        contract! { on_mongodb_with_any_tags, TaggedOnMongo; $($theme: $($test)+;)+ }
        #[cfg(feature = "postgres")]
        contract! { on_postgres, OnPostgresOfRigs; $($theme: $($test)+;)+ }
        #[cfg(feature = "postgres")]
        contract! { on_postgres_with_any_tags, TaggedOnPostgres; $($theme: $($test)+;)+ }
    };
    ($kind:ident, $fixture:ident; $($theme:ident: $($test:ident)+;)+) => {
        mod $kind {
            use crate::fixture::Fixture;

            $($(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                let fixture = super::$fixture::start();
                super::$theme::$test(&fixture).await;
                fixture.check();
            })+)+
        }
    };
}

contract! {
    rows:
        what_is_written_comes_back
        rows_of_one_key_are_merged
        within_a_batch_the_later_value_wins
        new_fields_come_at_any_time
        names_that_differ_in_case_only_are_two
        any_name_that_may_be_one_is_kept
        a_bad_row_is_named
        values_come_back_bit_by_bit
        times_may_be_far_away
        writers_at_the_same_time_all_get_their_rows_in
        values_of_all_types_are_read;
    pages:
        a_range_has_its_first_tick_and_not_its_last
        pages_follow_each_other
        newest_rows_come_first
        newest_rows_of_a_field_that_has_ended
        pages_of_long_strings_are_short
        the_newest_value_of_each_field_is_the_latest
        what_is_not_known_is_empty
        what_cannot_be_answered_is_refused;
    buckets:
        buckets_start_at_multiples_of_their_length
        buckets_of_large_values_keep_small_differences
        buckets_are_of_numbers_only;
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn all_of_1970() -> Selection<'static> {
    Selection {
        from: seconds(0),
        to: seconds(86_400),
        ..all("R")
    }
}
