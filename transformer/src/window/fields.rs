//! Fields by number, so that readings in memory don't carry names, and what their statistics are called.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use model::dead_letter::{Reason, Rejection};
use model::{Layout, Name};

use super::Inconsistent;
use crate::settings::WindowSettings;

/// A field's number, until the lease ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct FieldId(u32);

#[derive(Debug)]
struct Field {
    name: Name<'static>,
    /// The names of its statistics, in the order of the settings; none for one that no row can have.
    statistics: Box<[Option<Arc<str>>]>,
    /// How many of the windows that are held have readings of it.
    windows: usize,
    /// When its last reading arrived, since the lease was taken.
    last_arrival: Duration,
}

/// All fields in use, by number.
#[derive(Debug)]
pub(super) struct Fields {
    layout: Layout,
    template: String,
    statistics: Vec<String>,
    slots: Vec<Option<Field>>,
    ids: HashMap<Name<'static>, FieldId>,
    /// Numbers without a field.
    free: Vec<FieldId>,
    /// The names of all statistics of all fields.
    names: HashSet<Arc<str>>,
}

impl Fields {
    pub(super) fn new(settings: &WindowSettings, layout: Layout) -> Self {
        let statistics = settings.statistics.iter();
        Self {
            layout,
            template: settings.names.clone(),
            statistics: statistics.map(|(name, _)| name.clone()).collect(),
            slots: Vec::new(),
            ids: HashMap::new(),
            free: Vec::new(),
            names: HashSet::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn id(&self, name: &str) -> Option<FieldId> {
        self.ids.get(name).copied()
    }

    pub(super) fn name(&self, id: FieldId) -> Result<&str, Inconsistent> {
        Ok(self.get(id)?.name.as_str())
    }

    /// The names of a field's statistics, in the order of the settings.
    pub(super) fn statistics(&self, id: FieldId) -> Result<&[Option<Arc<str>>], Inconsistent> {
        Ok(&self.get(id)?.statistics)
    }

    /// Refuses new fields with a statistic that no row can have: its name isn't valid, or is that of
    /// another field's statistic.
    pub(super) fn check_new<'a>(
        &self,
        fields: impl Iterator<Item = &'a str>,
    ) -> Result<(), Rejection> {
        let mut names = HashSet::new();
        for field in fields {
            for statistic in &self.statistics {
                let name = self.statistic_name(field, statistic);
                if let Some(error) = self.name_error(&name) {
                    let detail =
                        format!("the row's field {name:?}, a statistic of {field}, {error}");
                    return Err(Rejection::new(Reason::BadName, detail));
                }
                if self.names.contains(&*name) || names.contains(&name) {
                    let detail = format!(
                        "{name:?}, a statistic of {field}, is the name of another field's statistic"
                    );
                    return Err(Rejection::new(Reason::BadName, detail));
                }
                names.insert(name);
            }
        }
        Ok(())
    }

    /// Gives a number to a field that has none. A statistic that no row can have gets no name.
    pub(super) fn insert(
        &mut self,
        name: Name<'static>,
        now: Duration,
    ) -> Result<FieldId, Inconsistent> {
        let mut statistics = Vec::with_capacity(self.statistics.len());
        for statistic in &self.statistics {
            let name = self.statistic_name(&name, statistic);
            let is_usable = self.name_error(&name).is_none() && !self.names.contains(&*name);
            let name = is_usable.then(|| Arc::<str>::from(name));
            self.names.extend(name.clone());
            statistics.push(name);
        }
        let field = Field {
            name: name.clone(),
            statistics: statistics.into(),
            windows: 0,
            last_arrival: now,
        };
        let id = if let Some(id) = self.free.pop() {
            self.slots[id.0 as usize] = Some(field);
            id
        } else {
            let id = u32::try_from(self.slots.len()).map_err(|_| Inconsistent::TOO_MANY_FIELDS)?;
            self.slots.push(Some(field));
            FieldId(id)
        };
        self.ids.insert(name, id);
        Ok(id)
    }

    pub(super) fn record_arrival(
        &mut self,
        id: FieldId,
        now: Duration,
    ) -> Result<(), Inconsistent> {
        self.get_mut(id)?.last_arrival = now;
        Ok(())
    }

    /// A window got its first reading of the field.
    pub(super) fn add_window(&mut self, id: FieldId) -> Result<(), Inconsistent> {
        self.get_mut(id)?.windows += 1;
        Ok(())
    }

    /// A window with readings of the field is no longer held.
    pub(super) fn remove_window(&mut self, id: FieldId) -> Result<(), Inconsistent> {
        let field = self.get_mut(id)?;
        let left = field.windows.checked_sub(1);
        field.windows = left.ok_or(Inconsistent::NO_WINDOW_OF_FIELD)?;
        Ok(())
    }

    /// Forgets the fields without a reading for `idle` and without a window that is held. Rows that were
    /// emitted aren't affected.
    pub(super) fn release_idle(&mut self, now: Duration, idle: Duration) {
        for (place, slot) in self.slots.iter_mut().enumerate() {
            let is_idle =
                |field: &mut Field| field.windows == 0 && field.last_arrival + idle <= now;
            let Some(field) = slot.take_if(is_idle) else {
                continue;
            };
            for name in field.statistics.iter().flatten() {
                self.names.remove(name);
            }
            if let Some(id) = self.ids.remove(field.name.as_str()) {
                debug_assert_eq!(id.0 as usize, place);
                self.free.push(id);
            }
        }
    }

    /// Forgets all fields; no window may be held.
    pub(super) fn forget_all(&mut self) {
        self.slots.clear();
        self.ids.clear();
        self.free.clear();
        self.names.clear();
    }

    fn statistic_name(&self, field: &str, statistic: &str) -> String {
        // The field comes last: it is the device's, and what it contains isn't replaced again.
        let template = self.template.replace("{statistic}", statistic);
        template.replace("{field}", field)
    }

    /// Why no row can have a field of this name.
    fn name_error(&self, name: &str) -> Option<model::NameError> {
        let checked = match self.layout {
            Layout::Rigs => Name::sensor(name),
            Layout::Tagged => Name::new(name),
        };
        checked.err()
    }

    fn get(&self, id: FieldId) -> Result<&Field, Inconsistent> {
        let slot = self.slots.get(id.0 as usize).and_then(Option::as_ref);
        slot.ok_or(Inconsistent::NO_FIELD)
    }

    fn get_mut(&mut self, id: FieldId) -> Result<&mut Field, Inconsistent> {
        let slot = self.slots.get_mut(id.0 as usize).and_then(Option::as_mut);
        slot.ok_or(Inconsistent::NO_FIELD)
    }
}
