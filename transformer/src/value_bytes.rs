//! Values as bytes of the stored state.
//!
//! A type (`f`, `i`, `b` or `s`), then: of `f` and `i` 8 bytes, of `b` one, of `s` its length (4 bytes) and
//! its bytes. Numbers are big-endian. State that was written in this form is read by later versions, so it
//! must not change.

use model::Value;

pub(crate) fn put_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Float(value) => {
            out.push(b'f');
            out.extend_from_slice(&value.to_bits().to_be_bytes());
        }
        Value::Integer(value) => {
            out.push(b'i');
            out.extend_from_slice(&value.to_be_bytes());
        }
        Value::Bool(value) => out.extend_from_slice(&[b'b', u8::from(*value)]),
        Value::String(value) => {
            out.push(b's');
            // A string is a part of a message, which is far shorter than 4 GiB.
            let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(value.as_bytes());
        }
    }
}

pub(crate) fn take_value(rest: &mut &[u8]) -> Option<Value> {
    let [kind] = take_bytes(rest)?;
    match kind {
        b'f' => take_float(rest).map(Value::Float),
        b'i' => take_bytes(rest).map(|bytes| Value::Integer(i64::from_be_bytes(bytes))),
        b'b' => take_bytes(rest).map(|[byte]| Value::Bool(byte != 0)),
        b's' => {
            let length = u32::from_be_bytes(take_bytes(rest)?);
            let (text, left) = rest.split_at_checked(usize::try_from(length).ok()?)?;
            *rest = left;
            String::from_utf8(text.to_vec()).ok().map(Value::String)
        }
        _ => None,
    }
}

pub(crate) fn take_float(rest: &mut &[u8]) -> Option<f64> {
    Some(f64::from_bits(u64::from_be_bytes(take_bytes(rest)?)))
}

pub(crate) fn take_bytes<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk::<N>()?;
    *rest = left;
    Some(*taken)
}
