//! The readings of one field in one window, in the order of time and value.
//!
//! A float takes 16 bytes, at most twice as many while the table grows; other values take 32.

use std::cmp::Ordering;

use model::{Timestamp, Value};

/// Readings out of order that are kept apart: inserting one moves at most this many, and merging them
/// moves a full window only every so often.
const MAX_TAIL: usize = 1_024;

/// A finite float, in the order of numbers.
#[derive(Debug, Clone, Copy)]
struct Float(f64);

impl PartialEq for Float {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Float {}

impl PartialOrd for Float {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Float {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// A value that isn't a float; of the same time, booleans come before integers, and these before strings.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Other {
    Bool(bool),
    Integer(i64),
    String(Box<str>),
}

impl Other {
    fn value(&self) -> Value {
        match self {
            Self::Bool(value) => Value::Bool(*value),
            Self::Integer(value) => Value::Integer(*value),
            Self::String(value) => Value::String(value.to_string()),
        }
    }
}

/// A value as it is kept.
enum Kept {
    Float(Float),
    Other(Other),
}

impl Kept {
    fn of(value: &Value) -> Self {
        match value {
            // Zero has two signs and is one value.
            Value::Float(value) => Self::Float(Float(*value + 0.0)),
            Value::Integer(value) => Self::Other(Other::Integer(*value)),
            Value::Bool(value) => Self::Other(Other::Bool(*value)),
            Value::String(value) => Self::Other(Other::String(value.as_str().into())),
        }
    }
}

/// A sorted list to which items come mostly in order. Equal items are kept.
#[derive(Debug)]
struct Runs<T> {
    sorted: Vec<T>,
    /// Sorted, too, and below the last of `sorted`.
    tail: Vec<T>,
}

impl<T> Default for Runs<T> {
    fn default() -> Self {
        Self {
            sorted: Vec::new(),
            tail: Vec::new(),
        }
    }
}

impl<T: Ord> Runs<T> {
    const fn len(&self) -> usize {
        self.sorted.len() + self.tail.len()
    }

    fn contains(&self, item: &T) -> bool {
        let is_above_all = self.sorted.last().is_none_or(|last| last < item);
        !is_above_all
            && (self.sorted.binary_search(item).is_ok() || self.tail.binary_search(item).is_ok())
    }

    fn insert(&mut self, item: T) {
        if self.sorted.last().is_none_or(|last| *last <= item) {
            self.sorted.push(item);
            return;
        }
        let place = self.tail.partition_point(|other| *other <= item);
        self.tail.insert(place, item);
        if self.tail.len() >= MAX_TAIL {
            self.settle();
        }
    }

    /// Everything in one sorted list.
    fn settle(&mut self) -> &[T] {
        if !self.tail.is_empty() {
            self.sorted.append(&mut self.tail);
            // The stable sort merges two sorted parts in linear time.
            self.sorted.sort();
        }
        &self.sorted
    }

    fn first(&self) -> Option<&T> {
        let first = self.sorted.first();
        self.tail.first().min(first).or(first)
    }

    fn last(&self) -> Option<&T> {
        self.sorted.last()
    }
}

/// The readings of one field in one window.
#[derive(Debug, Default)]
pub(super) struct Readings {
    floats: Runs<(Timestamp, Float)>,
    /// Few fields have other values. Of the same time, they come after floats.
    others: Option<Box<Runs<(Timestamp, Other)>>>,
}

impl Readings {
    pub(super) fn len(&self) -> usize {
        self.floats.len() + self.others.as_ref().map_or(0, |others| others.len())
    }

    /// Whether there is a reading of this time and value.
    pub(super) fn contains(&self, time: Timestamp, value: &Value) -> bool {
        match Kept::of(value) {
            Kept::Float(float) => self.floats.contains(&(time, float)),
            Kept::Other(other) => {
                let others = self.others.as_ref();
                others.is_some_and(|others| others.contains(&(time, other)))
            }
        }
    }

    pub(super) fn insert(&mut self, time: Timestamp, value: &Value) {
        match Kept::of(value) {
            Kept::Float(float) => self.floats.insert((time, float)),
            Kept::Other(other) => self.others.get_or_insert_default().insert((time, other)),
        }
    }

    /// Puts the numbers into `out`, in the order of time and value.
    pub(super) fn numbers(&mut self, out: &mut Vec<f64>) {
        out.clear();
        let mut floats = self.floats.settle().iter().peekable();
        let others = self
            .others
            .as_mut()
            .map_or(&[][..], |others| others.settle());
        for (time, other) in others {
            while let Some((_, Float(float))) = floats.next_if(|(float_time, _)| float_time <= time)
            {
                out.push(*float);
            }
            out.extend(other.value().as_number());
        }
        out.extend(floats.map(|(_, Float(float))| *float));
    }

    /// The earliest time.
    pub(super) fn earliest(&self) -> Option<Timestamp> {
        let float = self.floats.first().map(|(time, _)| *time);
        let other = self.first_other().map(|(time, _)| *time);
        float.into_iter().chain(other).min()
    }

    /// The value of the first reading.
    pub(super) fn first(&self) -> Option<Value> {
        match (self.floats.first(), self.first_other()) {
            (Some((time, Float(float))), other) if other.is_none_or(|(other, _)| time <= other) => {
                Some(Value::Float(*float))
            }
            (_, other) => other.map(|(_, other)| other.value()),
        }
    }

    /// The value of the last reading.
    pub(super) fn last(&self) -> Option<Value> {
        let other = self.others.as_ref().and_then(|others| others.last());
        match (self.floats.last(), other) {
            (Some((time, Float(float))), other) if other.is_none_or(|(other, _)| time > other) => {
                Some(Value::Float(*float))
            }
            (_, other) => other.map(|(_, other)| other.value()),
        }
    }

    fn first_other(&self) -> Option<&(Timestamp, Other)> {
        self.others.as_ref().and_then(|others| others.first())
    }
}

#[cfg(test)]
mod tests {
    use model::{Timestamp, Value};
    use proptest::prelude::*;

    use super::{MAX_TAIL, Readings, Runs};

    #[test]
    fn a_float_takes_sixteen_bytes() {
        assert_eq!(size_of::<(Timestamp, super::Float)>(), 16);
        assert_eq!(size_of::<(Timestamp, super::Other)>(), 32);
    }

    /// Whatever the order, a full window is sorted quickly and holds everything.
    #[test]
    fn full_window_in_any_order_holds_everything() {
        let count = 20 * MAX_TAIL;
        let prime = 7_919;
        let orders: [&dyn Fn(usize) -> usize; 3] =
            [&|place| place, &|place| count - 1 - place, &|place| {
                place * prime % count
            }];
        for order in orders {
            let mut runs = Runs::default();
            for place in 0..count {
                assert!(!runs.contains(&order(place)));
                runs.insert(order(place));
                assert!(runs.tail.len() < MAX_TAIL);
            }
            assert_eq!((runs.len(), runs.first()), (count, Some(&0)));
            assert!(runs.settle().iter().copied().eq(0..count));
            assert!(
                runs.sorted.capacity() <= 2 * count,
                "at most 32 bytes a float"
            );
        }
    }

    #[test]
    fn zero_is_one_value_and_types_are_several() {
        let time = Timestamp::from_nanos(7);
        let mut readings = Readings::default();
        readings.insert(time, &Value::Float(-0.0));
        assert!(readings.contains(time, &Value::Float(0.0)));
        for other in [
            Value::Integer(0),
            Value::Bool(false),
            Value::String("0".into()),
        ] {
            assert!(!readings.contains(time, &other), "{other:?}");
            readings.insert(time, &other);
            assert!(readings.contains(time, &other), "{other:?}");
        }
        assert_eq!(readings.len(), 4);
        assert_eq!(readings.first(), Some(Value::Float(0.0)));
        assert_eq!(readings.last(), Some(Value::String("0".into())));
    }

    proptest! {
        #[test]
        fn runs_are_a_sorted_list(items in proptest::collection::vec(0_u8..40, 0..60), each in 1_usize..9) {
            let mut runs = Runs::default();
            let mut list = Vec::new();
            for (place, item) in items.iter().enumerate() {
                prop_assert_eq!(runs.contains(item), list.contains(item));
                runs.insert(*item);
                list.push(*item);
                list.sort_unstable();
                prop_assert_eq!(runs.first(), list.first());
                prop_assert_eq!(runs.last(), list.last());
                prop_assert_eq!(runs.len(), list.len());
                if place.is_multiple_of(each) {
                    prop_assert_eq!(runs.settle(), &list);
                }
            }
        }
    }
}
