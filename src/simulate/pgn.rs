//! Small game files, as a worker uploads them.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use rand::Rng;

/// Openings that the generated games begin with; what follows is filler, which no server looks at.
const OPENINGS: [&str; 4] =
    ["1. e4 e5 2. Nf3 Nc6", "1. d4 d5 2. c4 e6", "1. c4 e5 2. Nc3 Nf6", "1. Nf3 d5 2. g3 c5"];
const RESULTS: [&str; 3] = ["1-0", "0-1", "1/2-1/2"];

/// A file of `games` short games of one task, gzipped, in base64; `None` only when memory can't be written.
pub fn upload(run: &str, task: u32, games: usize, rng: &mut impl Rng) -> Option<String> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    for round in 1..=games {
        let opening = OPENINGS[rng.random_range(0..OPENINGS.len())];
        let result = RESULTS[rng.random_range(0..RESULTS.len())];
        write!(
            encoder,
            "[Event \"Batch {task}: simulated\"]\n[Site \"run {run}\"]\n[Round \"{round}\"]\n\
             [White \"New\"]\n[Black \"Base\"]\n[Result \"{result}\"]\n\n\
             {opening} {{+0.{:02}/12 0.{:02}s}} {result}\n\n",
            rng.random_range(0..100),
            rng.random_range(0..100),
        )
        .ok()?;
    }
    Some(STANDARD.encode(encoder.finish().ok()?))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::sys::random::seeded;

    #[test]
    fn an_upload_is_base64_of_gzip_of_games() {
        let text = upload("6b00ebd451c6c0a12e72bc58", 3, 5, &mut seeded(1)).unwrap();
        let zipped = STANDARD.decode(text).unwrap();
        let mut pgn = String::new();
        flate2::read::GzDecoder::new(&zipped[..]).read_to_string(&mut pgn).unwrap();
        assert_eq!(pgn.matches("[Event \"Batch 3: simulated\"]").count(), 5, "{pgn}");
    }
}
