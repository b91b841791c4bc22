//! The keys of series. A key shows by itself what it is: a rig's name never starts with a brace, the JSON of
//! tags always does.

use model::element::{ElementError, Layout};
use model::name::Name;
use model::sample::Tags;

/// The layout of a key.
pub(super) fn layout_of(key: &str) -> Layout {
    if key.starts_with('{') {
        Layout::Tagged
    } else {
        Layout::Rigs
    }
}

/// The tags of a key.
pub(super) fn tags_of(key: &str) -> Result<Tags<'static>, ElementError> {
    let layout = layout_of(key);
    let tags = layout.tags(key)?.into_iter();
    let owned = |(name, value): (Name<'_>, Name<'_>)| {
        let name = match layout {
            // It isn't copied with each row.
            Layout::Rigs => Name::RIG_ID,
            Layout::Tagged => name.into_owned(),
        };
        (name, value.into_owned())
    };
    Ok(tags.map(owned).collect())
}
