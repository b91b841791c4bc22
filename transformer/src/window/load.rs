//! Restores windows from the state that earlier commits wrote.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use model::{Layout, Timestamp};
use queue::State;

use super::held::Window;
use super::state::{Entry, Place, StoredField};
use super::{Inconsistent, Windows, series, state};
use crate::settings::WindowSettings;

/// What is known of the series while the state is read.
#[derive(Debug, Default)]
struct Times {
    newest: HashMap<Arc<str>, Timestamp>,
    floors: HashMap<Arc<str>, Timestamp>,
}

impl Windows {
    /// Restores the state that earlier commits wrote. Entries that can't be read are logged and deleted.
    /// Timers start from zero.
    ///
    /// Windows of another length than the present one are emitted as they are, logged, and forgotten. A
    /// later reading of their time belongs to a window of the present length like any other: it isn't too
    /// late, and the first rows of the new length lack what the old rows have.
    pub fn load(
        settings: &WindowSettings,
        layout: Layout,
        entries: State,
    ) -> Result<Self, Inconsistent> {
        let (windows, others) = Self::restore(settings, layout, entries)?;
        if others > 0 {
            tracing::warn!(
                windows = others,
                every = ?settings.every,
                "emitted the windows of another length: their length was changed"
            );
        }
        Ok(windows)
    }

    /// Also returns how many windows had another length.
    pub(crate) fn restore(
        settings: &WindowSettings,
        layout: Layout,
        entries: State,
    ) -> Result<(Self, usize), Inconsistent> {
        let mut all = Self::new(settings, layout);
        let mut times = Times::default();
        let windows = all.read(layout, entries, &mut times)?;
        let mut others = 0;
        for (_, window) in windows {
            if window.every == settings.every {
                all.restore_window(window, &times)?;
            } else {
                others += 1;
                all.drop_window(window)?;
            }
        }
        let Times { newest, floors } = times;
        for key in newest.keys().chain(floors.keys()) {
            let stored = floors.get(key).copied();
            let newest = newest.get(key).copied();
            let behind = newest.map(|newest| newest.minus(settings.late_window));
            let floor = stored.max(behind).unwrap_or(series::NEVER);
            if all.series.find(key).is_some() {
                all.series.get_mut(key)?.floor = floor;
                // The settings may let go of more than before.
                all.let_go(key)?;
            } else {
                all.series.retire(key, floor);
                if stored != Some(floor) {
                    all.dirty_floors.push(Arc::clone(key));
                }
            }
        }
        Ok((all, others))
    }

    /// Builds the windows from their entries.
    fn read(
        &mut self,
        layout: Layout,
        entries: State,
        times: &mut Times,
    ) -> Result<BTreeMap<Place, Window>, Inconsistent> {
        let mut windows = BTreeMap::new();
        let mut marks = Vec::new();
        let mut keys: HashSet<Arc<str>> = HashSet::new();
        let mut shared = |series: &str| {
            let known = keys.get(series).cloned();
            known.unwrap_or_else(|| {
                let key: Arc<str> = Arc::from(series);
                keys.insert(Arc::clone(&key));
                key
            })
        };
        for (key, value) in entries {
            match state::decode(layout, &key, &value) {
                None => self.refuse(key),
                Some(Entry::Floor { series, floor }) => {
                    times.floors.insert(shared(&series), floor);
                }
                Some(Entry::Mark { place, in_rows }) => marks.push((key, place, in_rows)),
                Some(Entry::Chunk {
                    place,
                    number,
                    newest,
                    fields,
                }) => {
                    let series = shared(&place.series);
                    let known = times.newest.entry(Arc::clone(&series)).or_insert(newest);
                    *known = newest.max(*known);
                    let (start, every) = (place.start, place.every);
                    let window = windows
                        .entry(place)
                        .or_insert_with(|| Window::new(series, start, every));
                    window.chunks = window.chunks.max(number.saturating_add(1));
                    self.add_chunk(window, fields)?;
                }
            }
        }
        for (key, place, in_rows) in marks {
            match windows.get_mut(&place) {
                None => self.refuse(key),
                Some(window) => {
                    window.marked = true;
                    // Fewer are there if a chunk couldn't be read.
                    window.in_rows = in_rows.min(window.readings);
                }
            }
        }
        Ok(windows)
    }

    fn add_chunk(
        &mut self,
        window: &mut Window,
        fields: Vec<StoredField>,
    ) -> Result<(), Inconsistent> {
        for (name, readings) in fields {
            let field = match self.fields.id(&name) {
                Some(field) => field,
                None => self.fields.insert(name, Duration::ZERO)?,
            };
            for (time, value) in &readings {
                window.insert(field, *time, value, &mut self.fields)?;
            }
        }
        Ok(())
    }

    fn restore_window(&mut self, mut window: Window, times: &Times) -> Result<(), Inconsistent> {
        window.loaded(self.settings.grace);
        let newest = times.newest.get(&window.series);
        let newest = newest.copied().unwrap_or(series::NEVER);
        let idle = self.settings.series_idle;
        let series = self
            .series
            .activate(&window.series, newest, Duration::ZERO, idle)?;
        let (start, due, is_open) = (window.start, window.due, window.is_open());
        let id = self.held.insert(window);
        series.windows.insert(start, id);
        if is_open {
            self.held.opened(id, due);
        }
        Ok(())
    }

    fn refuse(&mut self, key: Vec<u8>) {
        tracing::error!(key = %key.escape_ascii(), "cannot read an entry of the state, deleting it");
        self.unreadable.push(key);
    }
}
