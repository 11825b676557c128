//! Reading numbers that people typed (`spec/spsa.md` section 2.2).

/// A finite number from decimal text: optional sign, digits with an optional point, optional exponent. White space
/// around it is ignored and single underscores between digits are skipped. Everything else, `inf` and `nan`
/// included, and whatever overflows a double, is `None`.
pub fn parse_finite(text: &str) -> Option<f64> {
    let text = text.trim();
    let mut plain = String::with_capacity(text.len());
    let mut previous_is_digit = false;
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '0'..='9' | '+' | '-' | '.' | 'e' | 'E' => plain.push(character),
            '_' if previous_is_digit && rest.peek().is_some_and(char::is_ascii_digit) => {}
            _ => return None,
        }
        previous_is_digit = character.is_ascii_digit();
    }
    plain.parse::<f64>().ok().filter(|number| number.is_finite())
}

/// Whether `text` is a positive integer without sign or leading zero: `[1-9]\d*`.
pub fn is_positive_integer(text: &str) -> bool {
    !text.starts_with('0') && is_digits(text)
}

/// Whether `text` is one or more ASCII digits.
pub fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_people_type_is_read() {
        let cases = [
            ("1", 1.0),
            (" 1 ", 1.0),
            ("\t.5\r", 0.5),
            ("5.", 5.0),
            ("+2E3", 2000.0),
            ("-1e-3", -0.001),
            ("1_000.5", 1000.5),
        ];
        for (text, number) in cases {
            assert_eq!(parse_finite(text), Some(number), "{text:?}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "", " ", ".", "e5", "1e", "inf", "-inf", "nan", "1e400", "_1", "1_", "1__0", "1._5", "0x10",
            "1,5",
        ] {
            assert_eq!(parse_finite(text), None, "{text:?}");
        }
    }

    #[test]
    fn positive_integers_have_no_leading_zero() {
        assert!(is_positive_integer("8"));
        assert!(is_positive_integer("2050811"));
        for text in ["", "0", "08", "-1", "+1", "1.0", "٣"] {
            assert!(!is_positive_integer(text), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_or_yields_a_non_finite_number(text in "\\PC*") {
            prop_assert!(parse_finite(&text).is_none_or(f64::is_finite));
        }
    }
}
