//! Signs of a perturbation: one bit per parameter, most significant bit first, 1 for +1 and 0 for -1, the last byte
//! padded with zeros (`spec/spsa.md` section 3).

use rand::Rng;

/// Draws a sign for each of `count` parameters, independently and evenly, already packed.
pub fn draw(count: usize, rng: &mut impl Rng) -> Vec<u8> {
    let mut packed = vec![0; count.div_ceil(8)];
    rng.fill_bytes(&mut packed);
    if let Some(last) = packed.last_mut()
        && !count.is_multiple_of(8)
    {
        *last &= 0xff << (8 - count % 8);
    }
    packed
}

/// Packs signs; whatever is positive counts as +1.
pub fn pack(flips: &[i8]) -> Vec<u8> {
    let byte = |chunk: &[i8]| {
        chunk.iter().enumerate().fold(0, |byte, (i, flip)| byte | (u8::from(*flip > 0) << (7 - i)))
    };
    flips.chunks(8).map(byte).collect()
}

/// The first `count` signs, `None` when there are fewer.
pub fn unpack(packed: &[u8], count: usize) -> Option<Vec<i8>> {
    if packed.len().saturating_mul(8) < count {
        return None;
    }
    let signs =
        packed.iter().flat_map(|byte| (0..8).map(move |bit| if byte << bit & 0x80 != 0 { 1 } else { -1 }));
    Some(signs.take(count).collect())
}

/// CRC-32 of the packed signs, which ties a result to its round.
pub fn signature(packed: &[u8]) -> u32 {
    crc32fast::hash(packed)
}

/// Packed signs as Base64 text in JSON.
pub mod base64_text {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes the text.
    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    /// Reads the text.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}
