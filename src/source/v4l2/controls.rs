//! Sets a camera's controls by the names that `v4l2-ctl --list-ctrls` prints: `power_line_frequency`.

use std::collections::BTreeMap;

use v4l::Device;
use v4l::control::{Control, Description, Flags, Type, Value};

use super::guarded;

/// Names that a message lists at most.
const NAMES_TOLD_MAX: usize = 40;

/// Sets what is configured. What cannot be set is logged and leaves the camera as it is: a picture that is a little
/// too dark is better than none.
pub(super) fn set(device: &Device, wanted: &BTreeMap<String, i64>, camera: &str) {
    if wanted.is_empty() {
        return;
    }
    let known = match guarded(|| device.query_controls()) {
        Ok(known) => known,
        Err(error) => {
            tracing::warn!(camera, %error, "the camera's controls cannot be listed; none is set");
            return;
        }
    };
    for (name, value) in wanted {
        match find(&known, name) {
            Some(control) => {
                if let Err(reason) = apply(device, control, *value) {
                    tracing::warn!(camera, control = name, value, reason, "the control is not set");
                }
            }
            None => {
                let names = names(&known).join(", ");
                tracing::warn!(
                    camera,
                    control = name,
                    "the camera has no such control; it has {names}"
                );
            }
        }
    }
}

/// The control of that name.
fn find<'a>(known: &'a [Description], name: &str) -> Option<&'a Description> {
    known.iter().find(|control| plain_name(&control.name) == name)
}

fn names(known: &[Description]) -> Vec<String> {
    let settable = known.iter().filter(|control| control.typ != Type::CtrlClass);
    settable.take(NAMES_TOLD_MAX).map(|control| plain_name(&control.name)).collect()
}

/// A name in lower case, whatever is neither letter nor digit between them as one underscore.
fn plain_name(name: &str) -> String {
    let words = name.split(|character: char| !character.is_ascii_alphanumeric());
    let words: Vec<String> =
        words.filter(|word| !word.is_empty()).map(str::to_ascii_lowercase).collect();
    words.join("_")
}

fn apply(device: &Device, control: &Description, value: i64) -> Result<(), String> {
    if control.flags.intersects(Flags::READ_ONLY | Flags::DISABLED) {
        return Err("it can only be read".to_owned());
    }
    let value = match control.typ {
        Type::Boolean => Value::Boolean(value != 0),
        Type::Button => Value::None,
        Type::Integer | Type::Integer64 | Type::Menu | Type::IntegerMenu | Type::Bitmask => {
            let (min, max) = (control.minimum, control.maximum);
            if control.typ != Type::Bitmask && !(min..=max).contains(&value) {
                return Err(format!("expected {min} to {max}"));
            }
            Value::Integer(value)
        }
        other => return Err(format!("it is of the type {other}, which takes no number")),
    };
    device.set_control(Control { id: control.id, value }).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_v4l2_ctl_prints() {
        for (name, expected) in [
            ("Power Line Frequency", "power_line_frequency"),
            ("White Balance, Automatic", "white_balance_automatic"),
            ("Exposure (Absolute)", "exposure_absolute"),
            ("Pan/Tilt", "pan_tilt"),
        ] {
            assert_eq!(plain_name(name), expected);
        }
    }
}
