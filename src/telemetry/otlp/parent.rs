//! The caller's trace: what a request says it is a part of (W3C Trace Context, the header `traceparent`).

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

/// The header's name.
pub const HEADER: &str = "traceparent";

/// Set in the flags of a caller that keeps its own spans of the trace.
const SAMPLED: u8 = 1;

/// Whether this process tells a collector; without one nobody reads headers.
static ON: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// What the span that is being made on this thread is below.
    static NEXT: Cell<Option<RemoteParent>> = const { Cell::new(None) };
}

/// A span of somebody else's, below which a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteParent {
    /// The trace's identity; never 0.
    pub trace: u128,
    /// The span's; never 0.
    pub span: u64,
    /// Whether the trace is kept. If not, this process keeps its part of it to itself, too.
    pub sampled: bool,
}

impl RemoteParent {
    /// Reads a header of version 00. Anything else, or what isn't wholly in order, is no parent: the standard wants a new trace then.
    pub fn parse(header: &str) -> Option<Self> {
        let mut fields = header.split('-');
        let (version, trace, span, flags) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        if version != "00" || fields.next().is_some() {
            return None;
        }
        let trace = u128::from_str_radix(hex(trace, 32)?, 16).ok().filter(|trace| *trace != 0)?;
        let span = u64::from_str_radix(hex(span, 16)?, 16).ok().filter(|span| *span != 0)?;
        let flags = u8::from_str_radix(hex(flags, 2)?, 16).ok()?;
        Some(Self { trace, span, sampled: flags & SAMPLED != 0 })
    }
}

/// A field of so many digits; capitals aren't allowed.
fn hex(field: &str, digits: usize) -> Option<&str> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    (field.len() == digits && field.bytes().all(is_digit)).then_some(field)
}

/// Whether spans go anywhere.
pub fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

pub(super) fn switch_on() {
    ON.store(true, Ordering::Relaxed);
}

/// Makes a span (one, on this thread) below somebody else's.
pub fn below<T>(parent: Option<RemoteParent>, make: impl FnOnce() -> T) -> T {
    if parent.is_none() {
        return make();
    }
    NEXT.set(parent);
    let made = make();
    // A filter may have kept it from the layer.
    NEXT.set(None);
    made
}

/// What the span that is being made is below; asked once for each.
pub(super) fn take() -> Option<RemoteParent> {
    NEXT.take()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    #[test]
    fn a_header_in_order_is_understood() {
        for (flags, sampled) in [("01", true), ("00", false), ("03", true), ("02", false), ("ff", true)] {
            let parent = RemoteParent::parse(&format!("00-{TRACE}-{SPAN}-{flags}"));
            let (trace, span) = (0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736, 0x00f0_67aa_0ba9_02b7);
            assert_eq!(parent, Some(RemoteParent { trace, span, sampled }), "{flags}");
        }
    }

    #[test]
    fn anything_else_is_no_parent() {
        let capitals = TRACE.to_uppercase();
        for header in [
            String::new(),
            "00".to_owned(),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{TRACE}-{SPAN}-001"),
            format!("00-{TRACE}-{SPAN}-0g"),
            format!("00-{TRACE}-{SPAN}-+1"),
            format!("00-{TRACE}-{SPAN}-01-"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!(" 00-{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-01 "),
            format!("01-{TRACE}-{SPAN}-01"),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("0-{TRACE}-{SPAN}-01"),
            format!("00-{}-{SPAN}-01", "0".repeat(32)),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            format!("00-{capitals}-{SPAN}-01"),
            format!("00-{}-{SPAN}-01", &TRACE[1..]),
            format!("00-{TRACE}0-{SPAN}-01"),
            format!("00-+{}-{SPAN}-01", &TRACE[1..]),
            format!("00-{TRACE}-{}-01", &SPAN[1..]),
            format!("00_{TRACE}_{SPAN}_01"),
            format!("00-{}\u{e9}-{SPAN}-01", &TRACE[2..]),
        ] {
            assert_eq!(RemoteParent::parse(&header), None, "{header:?}");
        }
    }

    #[test]
    fn a_parent_is_for_one_span_and_gone_with_it() {
        let parent = RemoteParent { trace: 1, span: 2, sampled: true };
        assert_eq!(below(Some(parent), || (take(), take())), (Some(parent), None));
        assert_eq!(below(None, take), None);
        below(Some(parent), || ());
        assert_eq!(take(), None, "the span was never made");
    }
}
