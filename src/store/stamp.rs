//! The order of writes: what a new version of a document does to the one that is stored (`durability.md` section 2).

use super::WriteOutcome;
use crate::domain::ids::{Generation, Version, WriteId};

/// A document's place in the order of writes, and which write put it there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Generation.
    pub(super) generation: Generation,
    /// Version within it.
    pub(super) version: Version,
    /// Identity of the write.
    pub(super) write_id: WriteId,
}

/// What a document's write does to what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It belongs over it.
    Write,
    /// It doesn't; that is what became of it.
    Settled(WriteOutcome),
}

/// Orders a write against what is stored. The fence is known to be `new.generation`, and every active document was
/// sealed to it: one of an older generation is closed, or a claim that was never acknowledged, and nobody else writes
/// it.
pub(super) fn judge(stored: Option<Stamp>, new: Stamp) -> Verdict {
    let Some(stored) = stored else { return Verdict::Write };
    if stored.generation > new.generation {
        return Verdict::Settled(WriteOutcome::Fenced(stored.generation));
    }
    if stored.generation < new.generation || stored.version < new.version {
        return Verdict::Write;
    }
    if stored.version > new.version || stored.write_id == new.write_id {
        return Verdict::Settled(WriteOutcome::Superseded);
    }
    Verdict::Settled(WriteOutcome::RolledBack)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(generation: u64, version: u64, write_id: u64) -> Stamp {
        Stamp { generation: Generation(generation), version: Version(version), write_id: WriteId(write_id) }
    }

    #[test]
    fn the_order_is_generation_then_version_then_identity() {
        let verdict = |stored| judge(Some(stored), stamp(5, 7, 70));
        assert_eq!(judge(None, stamp(5, 7, 70)), Verdict::Write);
        assert_eq!(verdict(stamp(5, 6, 60)), Verdict::Write);
        assert_eq!(verdict(stamp(4, 9, 90)), Verdict::Write);
        assert_eq!(verdict(stamp(5, 7, 70)), Verdict::Settled(WriteOutcome::Superseded));
        assert_eq!(verdict(stamp(5, 8, 80)), Verdict::Settled(WriteOutcome::Superseded));
        assert_eq!(verdict(stamp(5, 7, 71)), Verdict::Settled(WriteOutcome::RolledBack));
        let newer = WriteOutcome::Fenced(Generation(6));
        assert_eq!(verdict(stamp(6, 1, 10)), Verdict::Settled(newer));
    }
}
