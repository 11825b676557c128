//! Integers as they are stored: `Int32` where it fits, else `Int64` (`spec/storage.md` section 1).

use bson::Bson;

/// The stored form of an integer.
pub fn int(number: i64) -> Bson {
    match i32::try_from(number) {
        Ok(small) => Bson::Int32(small),
        Err(_) => Bson::Int64(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smaller_type_is_taken_where_it_fits() {
        assert_eq!(int(2_147_483_647), Bson::Int32(i32::MAX));
        assert_eq!(int(2_147_483_648), Bson::Int64(2_147_483_648));
        assert_eq!(int(-1), Bson::Int32(-1));
    }
}
