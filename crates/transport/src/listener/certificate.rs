//! What certificates of clients say.

use der::asn1::ObjectIdentifier;
use der::{AnyRef, Decode, Reader, SliceReader, Tag, Tagged};
use rustls_pki_types::CertificateDer;
use webpki::EndEntityCert;

/// The attribute CN (X.520, 6.2.2).
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// The first CN of a certificate's subject, unless it is empty.
pub(super) fn common_name(certificate: &CertificateDer<'_>) -> Option<String> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    let name = first_common_name(certificate.subject()).ok()??;
    (!name.is_empty()).then_some(name)
}

/// The first CN of a subject: a sequence of sets of attributes (RFC 5280, 4.1.2.4), without the tag of the sequence.
fn first_common_name(subject: &[u8]) -> der::Result<Option<String>> {
    let mut sets = SliceReader::new(subject)?;
    while !sets.is_finished() {
        let mut attributes = SliceReader::new(AnyRef::decode(&mut sets)?.value())?;
        while !attributes.is_finished() {
            let mut attribute = SliceReader::new(AnyRef::decode(&mut attributes)?.value())?;
            let kind = ObjectIdentifier::decode(&mut attribute)?;
            let value = AnyRef::decode(&mut attribute)?;
            if kind == COMMON_NAME {
                return Ok(text(value));
            }
        }
    }
    Ok(None)
}

/// A string of ASCII or UTF-8.
fn text(value: AnyRef<'_>) -> Option<String> {
    match value.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::TeletexString => {
            String::from_utf8(value.value().to_vec()).ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::first_common_name;

    /// A set of one attribute `2.5.4.N` of a string with this tag.
    fn set(attribute: u8, tag: u8, value: &[u8]) -> Vec<u8> {
        let length = |content: &[u8]| u8::try_from(content.len()).unwrap();
        let mut content = vec![0x06, 3, 0x55, 4, attribute, tag, length(value)];
        content.extend(value);
        let mut sequence = vec![0x30, length(&content)];
        sequence.extend(content);
        [vec![0x31, length(&sequence)], sequence].concat()
    }

    #[test]
    fn the_first_common_name_is_found_in_each_encoding() {
        let country = set(6, 0x13, b"DE");
        for (tag, value, name) in [
            (0x0c, "rig-ü".as_bytes(), Some("rig-ü")),
            (0x13, b"rig-1", Some("rig-1")),
            (0x16, b"rig-1", Some("rig-1")),
            (0x14, b"rig-1", Some("rig-1")),
            (0x0c, &[0xff], None),
            // UTF-16.
            (0x1e, &[0, b'a'], None),
        ] {
            let subject = [country.clone(), set(3, tag, value), set(3, 0x13, b"other")].concat();
            assert_eq!(
                first_common_name(&subject).unwrap().as_deref(),
                name,
                "{tag}"
            );
        }
        assert_eq!(first_common_name(&country), Ok(None));
        assert_eq!(first_common_name(&[]), Ok(None));
        let whole = set(3, 0x0c, b"rig-1");
        for length in 1..whole.len() {
            assert!(first_common_name(&whole[..length]).is_err(), "{length}");
        }
    }
}
