//! gzip (RFC 1952): what a host of files keeps packed it answers packed, whatever was asked for. There is a bound on what comes
//! out, and what came of a file that is cut is kept.

use std::io::{ErrorKind, Read};

use flate2::bufread::GzDecoder;

/// What came of a packed file.
pub(super) struct Unpacked {
    pub(super) bytes: Vec<u8>,
    /// Whether it is all: neither the input was cut, nor was there more than was wanted.
    pub(super) whole: bool,
}

/// Whether bytes begin as a packed file does.
pub(super) fn is_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1f, 0x8b])
}

/// Unpacks what is there, `most` bytes of it at most. Nothing for what is no such file, or a broken one.
pub(super) fn gunzip(packed: &[u8], most: usize) -> Option<Unpacked> {
    let bound = u64::try_from(most).ok()?.checked_add(1)?;
    let mut bytes = Vec::new();
    let mut rest = packed;
    loop {
        let mut decoder = GzDecoder::new(rest);
        let room = bound.saturating_sub(u64::try_from(bytes.len()).ok()?);
        match decoder.by_ref().take(room).read_to_end(&mut bytes) {
            Ok(_) if bytes.len() > most => {}
            Ok(_) => {
                rest = decoder.into_inner();
                // Files may be written one after the other; what else follows is padding.
                if is_gzip(rest) {
                    continue;
                }
                return Some(Unpacked { bytes, whole: true });
            }
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {}
            Err(_) => return None,
        }
        bytes.truncate(most);
        return Some(Unpacked { bytes, whole: false });
    }
}

/// The end of what is packed, `keep` bytes of it at most, and how much comes before. Nothing for what is no such file, a broken
/// one or one that is cut, and for one of more than `most` bytes.
pub(super) fn gunzip_end(packed: &[u8], keep: usize, most: u64) -> Option<(Vec<u8>, u64)> {
    let (mut kept, mut before, mut rest) = (Vec::new(), 0_u64, packed);
    let mut piece = vec![0; 64 * 1024];
    loop {
        let mut decoder = GzDecoder::new(rest);
        loop {
            let read = decoder.read(&mut piece).ok()?;
            if read == 0 {
                break;
            }
            kept.extend_from_slice(piece.get(..read)?);
            if kept.len() > keep.saturating_mul(2) {
                before += drop_front(&mut kept, keep);
            }
            if before > most {
                return None;
            }
        }
        rest = decoder.into_inner();
        if !is_gzip(rest) {
            before += drop_front(&mut kept, keep);
            return Some((kept, before));
        }
    }
}

/// Keeps the last bytes, and says how many it dropped.
fn drop_front(bytes: &mut Vec<u8>, keep: usize) -> u64 {
    let excess = bytes.len().saturating_sub(keep);
    bytes.drain(..excess);
    excess as u64
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;

    use super::*;

    /// Made by zlib: with the codes of the format, and with codes of its own.
    const FIXED: &str = "1f8b08000000000002034bcc29c84854284b2d4a2c56c8c94f4ce14a44170000653b4a9f22000000";
    const OWN: &str = "1f8b08000000000002034d914b6e04310844f739858f60c0bff66d7a1ab734ca28b9ff2ed0915c2cab0cf8517cde3f2be599 \
         72fafdfefab8a09968ad7b6b9ea9f5bea5cc54aeb665b1ea43afadab779fbc75332d34b6eefe5eebd6c3fb0bea8f9944f139 \
         195a2d02ed74da160cc3e35a0e1806489716188658721869884c04ed884d4f18cef8aae15383bc3b762483a4b3c160a3a49a \
         836198dc3a46b06146e990a302823dc73b2cce1e642785d17c5146526c98cc8acbb067992550386769085f8c731444239e26 \
         af705cc354411422cfb942c7c349c85f8cf33ec217ff69e21e62987a85914ef91ad8439c72aca7e20f5f06742c8e020000";

    fn bytes(hex: &str) -> Vec<u8> {
        let hex: String = hex.split_whitespace().collect();
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    fn packed(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn files_of_another_program_come_out() {
        let text: String =
            (0..40_u64).map(|n| format!("line {n}: {:x} ok\n", n * n * 7_919 % 10_007)).collect::<Vec<_>>().concat();
        for (file, expected) in [(FIXED, "alpha veras load\nalpha veras load\n"), (OWN, &text)] {
            let file = bytes(file);
            let unpacked = gunzip(&file, 1 << 20).unwrap();
            assert_eq!((String::from_utf8(unpacked.bytes).unwrap().as_str(), unpacked.whole), (expected, true));
            // What is cut has given what came before, and what is broken is nothing.
            for end in 0..file.len() {
                let cut = gunzip(&file[..end], 1 << 20).unwrap();
                assert!(!cut.whole && expected.as_bytes().starts_with(&cut.bytes), "{end}");
            }
            assert_eq!(gunzip(&file, 5).unwrap().bytes, expected.as_bytes()[..5]);
            let mut broken = file.clone();
            let last = broken.len() - 5;
            broken[last] ^= 1;
            assert!(gunzip(&broken, 1 << 20).is_none());
        }
    }

    proptest! {
        #[test]
        fn files_come_out_as_they_were(content in proptest::collection::vec(any::<u8>(), 0..300), most in 0usize..400) {
            let file = packed(&content);
            let unpacked = gunzip(&file, most).unwrap();
            prop_assert_eq!(&unpacked.bytes[..], &content[..most.min(content.len())]);
            prop_assert_eq!(unpacked.whole, most >= content.len());
            // Files may be written one after the other, and padded.
            let twice = [&file[..], &file[..], &[0; 8]].concat();
            prop_assert_eq!(gunzip(&twice, 1_000).unwrap().bytes.len(), 2 * content.len());
            // The end is the same as that of the whole.
            let whole = [&content[..], &content[..]].concat();
            let before = whole.len().saturating_sub(most);
            let end = gunzip_end(&twice, most, 1_000);
            prop_assert_eq!(end, Some((whole[before..].to_vec(), before as u64)));
            prop_assert_eq!(gunzip_end(&file[..file.len() - 1], most, 1_000), None);
        }

        #[test]
        fn whatever_comes_nothing_breaks(garbage in proptest::collection::vec(any::<u8>(), 0..400), flags in any::<u8>()) {
            let file = [&[0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, 3][..], &garbage].concat();
            if let Some(unpacked) = gunzip(&file, 10_000) {
                prop_assert!(unpacked.bytes.len() <= 10_000);
            }
            prop_assert!(gunzip(&garbage, 10_000).is_none_or(|unpacked| is_gzip(&garbage) || !unpacked.whole));
        }
    }
}
