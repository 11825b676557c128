//! MongoDB's comparison rules, for the values that a query may hold.

use std::cmp::Ordering;

use bson::Bson;

use super::{Scalar, Test};

impl Test {
    /// Whether the comparison holds for a field's value; `None` when the field is missing.
    ///
    /// Values of different types are neither equal nor ordered, except that numbers compare across their types. A
    /// missing field equals `null`. An array matches if it, or one of its elements, does.
    pub fn holds_for(&self, value: Option<&Bson>) -> bool {
        match self {
            Self::Eq(wanted) => any_compares(value, wanted, Ordering::is_eq),
            Self::Ne(wanted) => !any_compares(value, wanted, Ordering::is_eq),
            Self::Gt(bound) => any_compares(value, bound, Ordering::is_gt),
            Self::Gte(bound) => any_compares(value, bound, Ordering::is_ge),
            Self::Lt(bound) => any_compares(value, bound, Ordering::is_lt),
            Self::Lte(bound) => any_compares(value, bound, Ordering::is_le),
            Self::In(list) => list.iter().any(|wanted| any_compares(value, wanted, Ordering::is_eq)),
            Self::NotIn(list) => !list.iter().any(|wanted| any_compares(value, wanted, Ordering::is_eq)),
            Self::Exists(wanted) => value.is_some() == *wanted,
        }
    }
}

fn any_compares(value: Option<&Bson>, scalar: &Scalar, accept: fn(Ordering) -> bool) -> bool {
    let value = value.unwrap_or(&Bson::Null);
    if let Bson::Array(elements) = value {
        return elements.iter().any(|element| compare(element, scalar).is_some_and(accept));
    }
    compare(value, scalar).is_some_and(accept)
}

/// How `value` stands to `scalar`; `None` when they do not compare.
fn compare(value: &Bson, scalar: &Scalar) -> Option<Ordering> {
    match (value, scalar) {
        (Bson::Null, Scalar::Null) => Some(Ordering::Equal),
        (Bson::Boolean(value), Scalar::Bool(scalar)) => Some(value.cmp(scalar)),
        // Strings compare as bytes.
        (Bson::String(value) | Bson::Symbol(value), Scalar::Text(scalar)) => {
            Some(value.as_bytes().cmp(scalar.as_bytes()))
        }
        (Bson::ObjectId(value), Scalar::Id(scalar)) => Some(value.bytes().cmp(&scalar.bytes())),
        (Bson::Int32(value), Scalar::Int(scalar)) => Some(i64::from(*value).cmp(scalar)),
        (Bson::Int64(value), Scalar::Int(scalar)) => Some(value.cmp(scalar)),
        (Bson::Int32(value), Scalar::Double(scalar)) => compare_mixed(i64::from(*value), *scalar),
        (Bson::Int64(value), Scalar::Double(scalar)) => compare_mixed(*value, *scalar),
        (Bson::Double(value), Scalar::Int(scalar)) => compare_mixed(*scalar, *value).map(Ordering::reverse),
        // A stored NaN compares with nothing that a query can hold.
        (Bson::Double(value), Scalar::Double(scalar)) => value.partial_cmp(scalar),
        _ => None,
    }
}

/// Compares exactly, though not every integer has a double.
fn compare_mixed(whole: i64, double: f64) -> Option<Ordering> {
    const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;
    if double.is_nan() {
        return None;
    }
    if double >= TWO_TO_63 {
        return Some(Ordering::Less);
    }
    if double < -TWO_TO_63 {
        return Some(Ordering::Greater);
    }
    // In range now, so that the cast is exact but for the fraction.
    let truncated = double.trunc() as i64;
    Some(whole.cmp(&truncated).then_with(|| 0.0.partial_cmp(&double.fract()).unwrap_or(Ordering::Equal)))
}
